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
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// maxAllowedNamespaces limits a list of allowed namespaces, which anyone who owns a source can write: it is matched against every namespace,
// and is copied to the status of every Replika of the source.
const maxAllowedNamespaces = 1000

// AllowedNamespaces returns the consent of the source: names and globs of the namespaces that are allowed to have a copy,
// sorted and without duplicates. It is nil if the source has no such annotation, and empty if it allows no namespace. A list
// with an entry that is neither a name nor a glob is an error, not a shorter list: its owner meant something by the entry.
func AllowedNamespaces(source *unstructured.Unstructured) ([]string, error) {
	list, restricted := source.GetAnnotations()[v1alpha1.AnnotationAllowedNamespaces]
	if !restricted {
		return nil, nil
	}
	if strings.TrimSpace(list) == "" {
		return []string{}, nil
	}
	if entries := strings.Count(list, ",") + 1; entries > maxAllowedNamespaces {
		return nil, fmt.Errorf("it has %d entries; use globs such as team-* to list at most %d", entries, maxAllowedNamespaces)
	}
	var allowed []string
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if !IsNamespacePattern(entry) {
			return nil, fmt.Errorf("its entry %s is neither the name of a namespace nor a glob such as team-*; separate entries by commas",
				quoteEntry(entry))
		}
		allowed = append(allowed, entry)
	}
	slices.Sort(allowed)
	return slices.Compact(allowed), nil
}

// quoteEntry quotes an entry for a message, which must not grow with it.
func quoteEntry(entry string) string {
	if len(entry) <= maxPatternLength {
		return strconv.Quote(entry)
	}
	return strconv.Quote(strings.ToValidUTF8(entry[:maxPatternLength], "")) + "…"
}

// DenialReason returns a human-readable reason why a namespace that the Replika lists by name is not a target: its owners,
// the administrator or the source do not allow copies there. It is empty for a target namespace, and for one that is not
// listed by name, because globs and label selectors silently skip what is not allowed.
func (s *Selection) DenialReason(namespace Namespace) string {
	if namespace.Terminating || namespace.Name == s.sourceNamespace || !s.Names(namespace.Name) || s.exclude.Match(namespace.Name) {
		return ""
	}
	switch {
	case namespace.Excluded:
		return "the namespace is excluded by the administrator (--excluded-namespaces): " +
			"remove it from spec.target.namespaces.replicateIn"
	case namespace.optedOut():
		return "the namespace has opted out with the label " + v1alpha1.LabelOptOut + ": " +
			"remove the label, or remove the namespace from spec.target.namespaces.replicateIn"
	case !s.allows(namespace):
		return "the source's annotation " + v1alpha1.AnnotationAllowedNamespaces + " does not allow this namespace: " +
			"add it there, or remove it from spec.target.namespaces.replicateIn"
	default:
		return ""
	}
}

// allows reports whether the source allows a copy in the namespace.
func (s *Selection) allows(namespace Namespace) bool {
	return s.allowed == nil || s.allowed.Match(namespace.Name)
}

// optedOut reports whether the namespace's owners refuse copies by label.
func (n Namespace) optedOut() bool { return n.Labels[v1alpha1.LabelOptOut] == v1alpha1.OptOutValue }
