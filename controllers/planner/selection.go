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
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Namespace is the part of a namespace that selection depends on.
type Namespace struct {
	Name string
	UID  types.UID
	// Labels can lack the one that has the namespace's name (corev1.LabelMetadataName): every namespace has it.
	Labels map[string]string
	// Terminating namespaces are never targets: nothing can be created in them, and their objects are deleted with them.
	Terminating bool
	// Excluded namespaces are never targets: the administrator excludes them for all Replikas.
	Excluded bool
}

// Selection is the compiled `spec.target.namespaces` of one Replika. It selects the target namespaces.
type Selection struct {
	sourceNamespace string
	// includesSource is true if the source's own namespace is a target, too.
	includesSource bool
	matchAll       bool
	include        *Patterns
	// includesDefault is true if include has the namespace default because the spec selects nothing, see [NamesAndGlobs].
	includesDefault bool
	// selector is nil if the spec has none.
	selector labels.Selector
	exclude  *Patterns
	// allowed are the names and globs that the source allows, as recorded in the status. If nil, all are allowed.
	allowed *Patterns
}

// NewSelection compiles the selectors of a Replika, and the source's consent as its status records it. It fails on an
// invalid label selector. The schema rejects those, but a stored Replika can be older than the schema.
func NewSelection(replika *v1alpha1.Replika) (*Selection, error) {
	targets := replika.Spec.Target.Namespaces
	selection := &Selection{
		sourceNamespace: replika.SourceNamespace(),
		includesSource:  includesSourceNamespace(replika),
		matchAll:        targets.MatchAll,
		include:         NewPatterns(NamesAndGlobs(&targets)),
		includesDefault: selectsNothing(&targets),
		exclude:         NewPatterns(targets.ExcludeFrom),
	}
	if source := replika.Status.Source; source != nil {
		selection = selection.Restrict(source.AllowedNamespaces)
	}
	if targets.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(targets.Selector.AsMetaV1())
		if err != nil {
			return nil, fmt.Errorf("spec.target.namespaces.selector: %w", err)
		}
		selection.selector = selector
	}
	return selection, nil
}

// NamesAndGlobs returns replicateIn or, if the spec selects nothing at all, the namespace default. The schema refuses such a spec, but
// a stored Replika can be older: the releases before 0.5.0 copied to that namespace.
func NamesAndGlobs(targets *v1alpha1.TargetNamespaces) []string {
	if selectsNothing(targets) {
		return []string{metav1.NamespaceDefault}
	}
	return targets.ReplicateIn
}

func selectsNothing(targets *v1alpha1.TargetNamespaces) bool {
	return !targets.MatchAll && targets.Selector == nil && len(targets.ReplicateIn) == 0
}

// Restrict returns the selection with what a source allows: names and globs, or nil if it allows all namespaces.
func (s *Selection) Restrict(allowed []string) *Selection {
	restricted := *s
	restricted.allowed = nil
	if len(allowed) > 0 {
		restricted.allowed = NewPatterns(allowed)
	}
	return &restricted
}

// RestrictToNone returns the selection with a source that allows no namespace.
func (s *Selection) RestrictToNone() *Selection {
	restricted := *s
	restricted.allowed = NewPatterns(nil)
	return &restricted
}

// includesSourceNamespace reports whether the source's own namespace is a target. It must be named: a glob, a label selector or
// matchAll would include it by accident. The copy must have another name, or it would be the source.
func includesSourceNamespace(replika *v1alpha1.Replika) bool {
	targets := replika.Spec.Target.Namespaces
	return !targets.MatchAll && replika.TargetName() != replika.Spec.Source.Name &&
		slices.Contains(targets.ReplicateIn, replika.SourceNamespace())
}

// Selects reports whether the namespace is a target. The source's own namespace is one only if the spec names it, and the copy
// has another name. A namespace is a target only if the administrator, the namespace's owners and the source allow copies in it.
func (s *Selection) Selects(namespace Namespace) bool {
	_, selected := s.decide(&namespace)
	return selected
}

// Names reports whether the spec selects the namespace by its name.
func (s *Selection) Names(namespace string) bool {
	return !s.matchAll && s.include.has(namespace)
}

// requires reports whether the namespace must exist: replicateIn lists its name. Globs and label selectors select from the
// existing namespaces, so they require none.
func (s *Selection) requires(namespace string) bool {
	return s.Names(namespace) && !s.exclude.Match(namespace)
}

// MissingNames returns the names in replicateIn for which no namespace exists, sorted and without duplicates.
func (s *Selection) MissingNames(namespaces []Namespace) []string {
	if s.matchAll {
		return nil
	}
	exists := make(map[string]bool, len(namespaces))
	for _, namespace := range namespaces {
		exists[namespace.Name] = true
	}
	var missing []string
	for name := range s.include.names {
		if !exists[name] && s.requires(name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// CouldSelect reports whether the Replika selects the namespace or would select it if no consent were missing and it were
// not terminating. A change of such a namespace can change the plan.
func (s *Selection) CouldSelect(namespace Namespace) bool {
	unrestricted := Namespace{Name: namespace.Name, Labels: maps.Clone(namespace.Labels)}
	delete(unrestricted.Labels, v1alpha1.LabelOptOut)
	selection := *s
	selection.allowed = nil
	return selection.Selects(unrestricted)
}

// ChangedBy reports whether the namespace becomes a target, or ceases to be one, when it changes, or is a target that was created anew. What
// the source allows does not matter: it depends on the name alone.
func (s *Selection) ChangedBy(before, after Namespace) bool {
	selection := *s
	selection.allowed = nil
	was, is := selection.Selects(before), selection.Selects(after)
	return was != is || is && before.UID != after.UID
}
