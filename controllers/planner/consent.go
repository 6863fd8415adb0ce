package planner

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// namespacePattern is what the schema allows in replicateIn too. Anything else in a list of allowed namespaces allows
// nothing.
var namespacePattern = regexp.MustCompile(`^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$`)

// AllowedNamespaces reads the source's consent: names and globs of the namespaces that may have a copy, sorted and once
// each. It is nil when the source says nothing, and empty when it allows no namespace.
func AllowedNamespaces(source *unstructured.Unstructured) []string {
	list, given := source.GetAnnotations()[v1alpha1.AnnotationAllowedNamespaces]
	if !given {
		return nil
	}
	allowed := []string{}
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); namespacePattern.MatchString(entry) {
			allowed = append(allowed, entry)
		}
	}
	slices.Sort(allowed)
	return slices.Compact(allowed)
}

// Denied tells, for people, why a namespace that the Replika asks for by its plain name is no target because somebody else
// does not want copies there. It is empty for a target, and for one that was not asked for by name: globs and label
// selectors ask for what may be had.
func (s *Selection) DenialReason(namespace Namespace) string {
	if s.matchAll || namespace.Terminating || namespace.Name == s.sourceNamespace ||
		!slices.Contains(s.include, namespace.Name) || MatchesAny(s.exclude, namespace.Name) {
		return ""
	}
	switch {
	case namespace.Excluded:
		return "the administrator keeps copies out of this namespace (--excluded-namespaces): " +
			"take it off spec.target.namespaces.replicateIn"
	case namespace.optedOut():
		return "the namespace carries the label " + v1alpha1.LabelOptOut + ", which keeps copies out: " +
			"have it taken off, or take the namespace off spec.target.namespaces.replicateIn"
	case !s.allows(namespace):
		return "the source's annotation " + v1alpha1.AnnotationAllowedNamespaces + " does not list this namespace: " +
			"have it added there, or take it off spec.target.namespaces.replicateIn"
	default:
		return ""
	}
}

// consents tells whether the source allows a copy in the namespace.
func (s *Selection) allows(namespace Namespace) bool {
	return len(s.allowed) == 0 || MatchesAny(s.allowed, namespace.Name)
}

// optedOut tells whether the namespace's owners want no copies.
func (n Namespace) optedOut() bool { return n.Labels[v1alpha1.LabelOptOut] == v1alpha1.OptOutValue }
