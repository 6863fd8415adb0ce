/*
Copyright The Replika Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package planner

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// consentList is a type of list in an annotation of a source.
type consentList struct {
	annotation string
	// Limits of a list, which anyone who owns a source can write: it is matched against every namespace or key, and is copied to
	// the status of every Replika of the source.
	maxEntries int
	isPattern  func(entry string) bool
	// example is a glob, and entry names what an entry is.
	example, entry string
}

var (
	allowedNamespacesList = consentList{
		annotation: v1alpha1.AnnotationAllowedNamespaces,
		maxEntries: 1000, isPattern: IsNamespacePattern,
		example: "team-*", entry: "the name of a namespace",
	}
	allowedKeysList = consentList{
		annotation: v1alpha1.AnnotationAllowedKeys,
		maxEntries: 200, isPattern: isKeyPattern,
		example: "tls.*", entry: "a key",
	}
)

// AllowedNamespaces returns the consent of the source: names and globs of the namespaces that are allowed to have a copy,
// sorted and without duplicates. It is nil if the source has no such annotation, and empty if it allows no namespace. A list
// with an entry that is neither a name nor a glob is an error, not a shorter list: its owner meant something by the entry.
func AllowedNamespaces(source *unstructured.Unstructured) ([]string, error) {
	return allowedNamespacesList.read(source)
}

// AllowedKeys returns the consent of the source's owner to each key: names and globs of the keys that are allowed to be copied,
// like [AllowedNamespaces]. A list that cannot be applied, or that cannot be read, is a [TemplateError].
func AllowedKeys(source *unstructured.Unstructured) ([]string, error) {
	allowed, err := allowedKeysList.read(source)
	if err == nil && allowed != nil && !hasDataKeys(source.GroupVersionKind().GroupKind()) {
		err = errors.New("only ConfigMaps and Secrets have keys; remove the annotation")
	}
	if err != nil {
		return nil, &TemplateError{
			Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true,
			Message: UnreadableConsentMessage(v1alpha1.AnnotationAllowedKeys, source, err),
		}
	}
	if allowed != nil && len(allowed) == 0 {
		return nil, &TemplateError{
			Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true, Denied: true,
			Message: "the source allows no keys in the annotation " + v1alpha1.AnnotationAllowedKeys + ": ask its owner to list the keys that may be copied",
		}
	}
	return allowed, nil
}

// CopiedKeys returns names and globs that match every key that the copies can have; nil if they can have any key. Both the spec
// and the consent of the source's owner limit them. The list of plain names is the smaller one.
func CopiedKeys(replika *v1alpha1.Replika, source *unstructured.Unstructured) []string {
	allowed, err := AllowedKeys(source)
	chosen := replika.Spec.Source.Keys
	if err == nil && allowed != nil && (len(chosen) == 0 || slices.ContainsFunc(chosen, IsGlob)) {
		return allowed
	}
	return chosen
}

// WidenCopiedKeys returns names and globs that match every key that copies can have while some of them may still be as before:
// those of the status, and those of [CopiedKeys].
func WidenCopiedKeys(status *v1alpha1.SourceStatus, copied []string) []string {
	if status == nil || status.ResourceVersion == "" {
		return copied
	}
	return UniteCopiedKeys(status.CopiedKeys, copied)
}

// UniteCopiedKeys returns names and globs that match what one of two lists of [CopiedKeys] matches. An empty list stands for every
// key.
func UniteCopiedKeys(one, other []string) []string {
	if len(one) == 0 || len(other) == 0 {
		return nil
	}
	united := slices.Concat(one, other)
	slices.Sort(united)
	if united = slices.Compact(united); len(united) > maxCopiedKeys {
		return nil
	}
	return united
}

// maxCopiedKeys is more than the maximum of spec.source.keys and of a list of allowed keys. It limits how many of them add up.
const maxCopiedKeys = 300

// KeysWithdrawn reports whether copies can have a key that the source's owner no longer allows: a key that matches what was last
// copied, according to the status, and not the source's list as it is now. A list that cannot be read withdraws nothing. The
// problem is why there is no template, or nil. If nothing is known of the copies, consent that the spec needs and that is
// missing counts as withdrawn.
func KeysWithdrawn(replika *v1alpha1.Replika, source *unstructured.Unstructured, problem *TemplateError) bool {
	allowed, err := allowedKeysList.read(source)
	if err != nil || allowed == nil || !hasDataKeys(source.GroupVersionKind().GroupKind()) {
		return false
	}
	if replika.Status.Source == nil || replika.Status.Source.ResourceVersion == "" {
		return problem != nil && problem.Denied
	}
	copied := replika.Status.Source.CopiedKeys
	if len(copied) == 0 {
		copied = []string{"*"}
	}
	// A glob that matches another one as text matches all that the other one matches.
	patterns := NewPatterns(allowed)
	return slices.ContainsFunc(copied, func(pattern string) bool { return !patterns.Match(pattern) })
}

// UnreadableConsentMessage is the message of a list that cannot be read: neither consent nor its withdrawal.
func UnreadableConsentMessage(annotation string, source *unstructured.Unstructured, err error) string {
	return fmt.Sprintf("the annotation %s of %s %s/%s cannot be read, so no copy is created, updated or deleted because of it: %s",
		annotation, source.GetKind(), source.GetNamespace(), source.GetName(), err)
}

// read returns the entries of the list, sorted and without duplicates; nil if the source has no such annotation.
func (l *consentList) read(source *unstructured.Unstructured) ([]string, error) {
	list, restricted := source.GetAnnotations()[l.annotation]
	if !restricted {
		return nil, nil
	}
	if strings.TrimSpace(list) == "" {
		return []string{}, nil
	}
	if entries := strings.Count(list, ",") + 1; entries > l.maxEntries {
		return nil, fmt.Errorf("it has %d entries; use globs such as %s to list at most %d", entries, l.example, l.maxEntries)
	}
	var allowed []string
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if !l.isPattern(entry) {
			return nil, fmt.Errorf("its entry %s is neither %s nor a glob such as %s; separate entries by commas",
				quoteEntry(entry), l.entry, l.example)
		}
		allowed = append(allowed, entry)
	}
	slices.Sort(allowed)
	return slices.Compact(allowed), nil
}

// maxQuotedLength is the length of an entry that a message quotes in full.
const maxQuotedLength = 63

// quoteEntry quotes an entry for a message, which must not grow with it.
func quoteEntry(entry string) string {
	if len(entry) <= maxQuotedLength {
		return strconv.Quote(entry)
	}
	return strconv.Quote(strings.ToValidUTF8(entry[:maxQuotedLength], "")) + "…"
}

// DenialReason returns a human-readable reason why a namespace that the Replika lists by name is not a target: its owners,
// the administrator or the source do not allow copies there. It is empty for a target namespace, and for one that is not
// listed by name, because globs and label selectors silently skip what is not allowed.
func (s *Selection) DenialReason(namespace Namespace) string {
	if !s.Names(namespace.Name) {
		return ""
	}
	switch rule, _ := s.decide(&namespace); rule {
	case RuleExcludedNamespaces:
		return "the namespace is excluded by the administrator (--excluded-namespaces): " +
			"remove it from spec.target.namespaces.replicateIn"
	case RuleOptOut:
		return "the namespace has opted out with the label " + v1alpha1.LabelOptOut + ": " +
			"remove the label, or remove the namespace from spec.target.namespaces.replicateIn"
	case RuleConsent:
		return "the source's annotation " + v1alpha1.AnnotationAllowedNamespaces + " does not allow this namespace: " +
			"add it there, or remove it from spec.target.namespaces.replicateIn"
	default:
		return ""
	}
}

// allows reports whether the source allows a copy in the namespace.
func (s *Selection) allows(namespace *Namespace) bool {
	return s.allowed == nil || s.allowed.Match(namespace.Name)
}

// optedOut reports whether the namespace's owners refuse copies by label.
func (n *Namespace) optedOut() bool { return n.Labels[v1alpha1.LabelOptOut] == v1alpha1.OptOutValue }
