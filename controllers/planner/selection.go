package planner

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Namespace is what selection needs to know of a namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
	// Terminating namespaces are never targets: nothing can be created there, and what they hold goes with them.
	Terminating bool
	// Vetoed namespaces are never targets either: the administrator wants no copies there.
	Excluded bool
}

// Selection is a compiled `spec.target.namespaces`: it tells the target namespaces of one Replika.
type Selection struct {
	sourceNamespace string
	matchAll        bool
	include         []string
	selector        labels.Selector
	exclude         []string
	// allowed are the namespaces that the source allows, as the status has it; none for all.
	allowed []string
}

// NewSelection compiles the selectors of a Replika, and what its status says of the source's consent. It fails on a label
// selector that no label can satisfy, which the schema refuses; a Replika may be older than the schema.
func NewSelection(replika *v1alpha1.Replika) (*Selection, error) {
	targets := replika.Spec.Target.Namespaces
	selection := &Selection{
		sourceNamespace: replika.SourceNamespace(),
		matchAll:        targets.MatchAll,
		include:         targets.ReplicateIn,
		selector:        labels.Nothing(),
		exclude:         targets.ExcludeFrom,
	}
	if replika.Status.Source != nil {
		selection.allowed = replika.Status.Source.AllowedNamespaces
	}
	if targets.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(targets.Selector.LabelSelector())
		if err != nil {
			return nil, fmt.Errorf("spec.target.namespaces.selector: %w", err)
		}
		selection.selector = selector
	}
	return selection, nil
}

// Selects tells whether the namespace is a target. The source's own namespace never is, whatever the spec says, and no
// namespace is without the consent of all whom it concerns.
func (s *Selection) Selects(namespace Namespace) bool {
	if namespace.Name == s.sourceNamespace || namespace.Terminating || MatchesAny(s.exclude, namespace.Name) {
		return false
	}
	if namespace.Excluded || namespace.optedOut() || !s.allows(namespace) {
		return false
	}
	return s.matchAll || MatchesAny(s.include, namespace.Name) || s.selector.Matches(labels.Set(namespace.Labels))
}

// Missing lists, sorted and once each, the plain names that the Replika asks for and that no namespace bears.
// Globs and label selectors ask for nothing in particular, so nothing of theirs is ever missing.
func (s *Selection) MissingNames(namespaces []Namespace) []string {
	if s.matchAll {
		return nil
	}
	var missing []string
	for _, name := range s.include {
		exists := slices.ContainsFunc(namespaces, func(n Namespace) bool { return n.Name == name })
		if !exists && !strings.Contains(name, "*") && !MatchesAny(s.exclude, name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Concerns tells whether the Replika would look at the namespace if nobody kept copies out of it: a change of that is news.
func (s *Selection) CouldSelect(namespace Namespace) bool {
	open := Namespace{Name: namespace.Name, Labels: maps.Clone(namespace.Labels)}
	delete(open.Labels, v1alpha1.LabelOptOut)
	unrestricted := *s
	unrestricted.allowed = nil
	return unrestricted.Selects(open)
}

// MatchesAny tells whether one of the globs matches the name. The schema allows `*` and the characters of a namespace
// name only, so [path.Match] knows no other special character here; a malformed pattern matches nothing.
func MatchesAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		matched, err := path.Match(glob, name)
		return err == nil && matched
	})
}
