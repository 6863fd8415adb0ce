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
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// SourceSelector is the compiled `spec.source.names` or `spec.source.selector` of a Replika with many sources.
type SourceSelector struct {
	resource schema.GroupResource
	kind     schema.GroupKind
	// names are the names and globs; nil with a label selector.
	names  *Patterns
	labels labels.Selector
}

// NewSourceSelector compiles the selectors of a Replika whose sources are objects of the resource. It fails on an invalid label
// selector. The schema rejects those, but a stored Replika can be older than the schema.
func NewSourceSelector(resource schema.GroupResource, replika *v1alpha1.Replika) (*SourceSelector, error) {
	source := &replika.Spec.Source
	selector := &SourceSelector{
		resource: resource,
		kind:     schema.GroupKind{Group: source.Group, Kind: source.Kind},
		labels:   labels.Everything(),
	}
	if source.Selector == nil {
		selector.names = NewPatterns(source.Names)
		return selector, nil
	}
	var err error
	if selector.labels, err = metav1.LabelSelectorAsSelector(source.Selector.AsMetaV1()); err != nil {
		return nil, fmt.Errorf("spec.source.selector: %w", err)
	}
	if selector.labels.Empty() {
		selector.labels = labels.Nothing() // an empty selector would select everything by accident
	}
	return selector, nil
}

// LabelSelector returns the label selector for a list of the sources. It is empty with names.
func (s *SourceSelector) LabelSelector() string { return s.labels.String() }

// MatchesNothing reports whether no object can match.
func (s *SourceSelector) MatchesNothing() bool {
	_, selectable := s.labels.Requirements()
	return !selectable
}

// Matches reports whether the object, of which at least the metadata is known, is one of the sources.
func (s *SourceSelector) Matches(object metav1.Object) bool {
	if s.Names(object.GetName()) {
		return true
	}
	return s.CouldMatch(object.GetName()) && s.labels.Matches(labels.Set(object.GetLabels())) && !s.neverTaken(object)
}

// Names reports whether the spec names the source, other than by a glob. It names none if s is nil.
func (s *SourceSelector) Names(name string) bool {
	return s != nil && s.names != nil && s.names.has(name)
}

// CouldMatch reports whether an object of this name can be one of the sources.
func (s *SourceSelector) CouldMatch(name string) bool {
	return !s.MatchesNothing() && (s.names == nil || s.names.Match(name))
}

// MissingNames returns the plain names for which there is no source, sorted and without duplicates.
func (s *SourceSelector) MissingNames(sources map[string]string) []string {
	if s.names == nil {
		return nil
	}
	var missing []string
	for name := range s.names.names {
		if _, found := sources[name]; !found {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// MatchesEvent reports whether an object of this name had or has labels with which it can be one of the sources.
func (s *SourceSelector) MatchesEvent(name string, versions []labels.Set) bool {
	return s.CouldMatch(name) && slices.ContainsFunc(versions, func(set labels.Set) bool { return s.labels.Matches(set) })
}

// neverTaken reports whether neither a glob nor a label selector takes the object as a source: it is a copy, a token Secret or a
// release of Helm, or somebody else creates it in every namespace.
func (s *SourceSelector) neverTaken(object metav1.Object) bool {
	return s.isCopy(object) || isPerNamespace(s.kind, object.GetName()) ||
		s.kind == secretKind && isTokenOrRelease(object) || s.kind == configMapKind && isHelmRelease(object)
}

func (s *SourceSelector) isCopy(object metav1.Object) bool {
	self := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	_, marks := readMarks(s.resource, self, object.GetAnnotations())
	return marks != MarksAbsent || object.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue
}

const (
	// serviceAccountNameAnnotation is on every token Secret of a ServiceAccount (corev1.ServiceAccountNameKey).
	serviceAccountNameAnnotation = "kubernetes.io/service-account.name"
	// bootstrapTokenPrefix begins the names of bootstrap token Secrets, which the API server requires.
	bootstrapTokenPrefix = "bootstrap-token-"
	// helmReleaseType is the type of the Secrets in which Helm stores releases, and helmReleasePrefix begins their names.
	helmReleaseType   = "helm.sh/release.v1"
	helmReleasePrefix = "sh.helm.release.v1."
)

// isTokenOrRelease reports whether a Secret holds a token or a release of Helm: by its type, if the object has one, else by what
// the metadata shows.
func isTokenOrRelease(secret metav1.Object) bool {
	if object, whole := secret.(*unstructured.Unstructured); whole {
		secretType, _, _ := unstructured.NestedString(object.Object, "type")
		if secretType == helmReleaseType || slices.Contains(tokenSecretTypes, secretType) {
			return true
		}
	}
	_, ofServiceAccount := secret.GetAnnotations()[serviceAccountNameAnnotation]
	bootstrap := secret.GetNamespace() == metav1.NamespaceSystem && strings.HasPrefix(secret.GetName(), bootstrapTokenPrefix)
	return ofServiceAccount || bootstrap || isHelmRelease(secret)
}

func isHelmRelease(object metav1.Object) bool {
	return strings.HasPrefix(object.GetName(), helmReleasePrefix)
}

// isPerNamespace reports whether the cluster or a service mesh creates an object of its own in every namespace.
func isPerNamespace(kind schema.GroupKind, name string) bool {
	return isInEveryNamespace(kind, name) || kind == configMapKind && name == "istio-ca-root-cert"
}

// FormerSource returns the name of the source of a copy that no source has any more, if the copy would be this source's if it still
// existed; false if the Replika gave the copy another name, or named other sources.
func (s *SourceSelector) FormerSource(replika *v1alpha1.Replika, copied *Observed) (source string, former bool) {
	from := copied.Origin.Value().Source
	return from.Name, from.Namespace == replika.SourceNamespace() && s.CouldMatch(from.Name) && replika.TargetNameOf(from.Name) == copied.Name
}

// ForSource returns a Replika of one of many sources: with its name instead of the selectors, and with the status. Of all else, it shares
// the memory.
func ForSource(replika *v1alpha1.Replika, source string, status v1alpha1.ReplikaStatus) *v1alpha1.Replika {
	single := *replika
	single.Spec.Source.Name, single.Spec.Source.Names, single.Spec.Source.Selector = source, nil, nil
	single.Status = status
	return &single
}

// SourceOfCopy returns the name of the source whose copies a Replika with many sources gives the name, or false if there is none.
func SourceOfCopy(replika *v1alpha1.Replika, name string) (source string, possible bool) {
	source, hasPrefix := strings.CutPrefix(name, replika.Spec.Target.NamePrefix)
	source, hasSuffix := strings.CutSuffix(source, replika.Spec.Target.NameSuffix)
	return source, hasPrefix && hasSuffix && source != ""
}
