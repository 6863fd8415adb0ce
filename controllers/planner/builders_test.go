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
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The default fixture: Replika ops/sync copies ConfigMap vault/settings.
var (
	replikaKey      = types.NamespacedName{Namespace: "ops", Name: "sync"}
	otherReplikaKey = types.NamespacedName{Namespace: "dev", Name: "sync"}
)

func newReplika(changes ...func(*v1alpha1.Replika)) *v1alpha1.Replika {
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: replikaKey.Namespace, Name: replikaKey.Name, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ReplikaSpec{
			Source: v1alpha1.SourceSpec{Version: "v1", Kind: "ConfigMap", Namespace: "vault", Name: "settings"},
			Target: v1alpha1.TargetSpec{Namespaces: v1alpha1.TargetNamespaces{MatchAll: true}},
		},
		Status: v1alpha1.ReplikaStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSynced},
		}},
	}
	for _, change := range changes {
		change(replika)
	}
	return replika
}

func withName(name types.NamespacedName) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Namespace, r.Name = name.Namespace, name.Name }
}

func withCreationTime(second int64) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.CreationTimestamp = metav1.NewTime(time.Unix(second, 0)) }
}

func withTargetNamespaces(namespaces ...string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{ReplicateIn: namespaces}
	}
}

func withDeletion(r *v1alpha1.Replika) {
	now := metav1.NewTime(time.Unix(9, 0))
	r.DeletionTimestamp = &now
}

// withSourceDeleted sets the status of a Replika whose source and copies are deleted.
func withSourceDeleted(r *v1alpha1.Replika) {
	r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
	r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonSourceNotFound}}
}

// withNotReady sets the Ready condition to False.
func withNotReady(reason string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) {
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason}}
	}
}

// withAllowedNamespaces sets the source's consent in the status.
func withAllowedNamespaces(namespaces ...string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Status.Source = &v1alpha1.SourceStatus{AllowedNamespaces: namespaces} }
}

func optOutLabels(value string) map[string]string {
	return map[string]string{v1alpha1.LabelOptOut: value}
}

// newObject returns a ConfigMap with one entry.
func newObject(namespace, name string, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"namespace": namespace, "name": name, "uid": "uid-1", "resourceVersion": "1"},
		"data":       map[string]any{"mode": "fast"},
	}}
	for _, change := range changes {
		change(object)
	}
	return object
}

func withField(value any, path ...string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
			panic(err)
		}
	}
}

func withLabels(keys map[string]string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetLabels(mergeMaps(o.GetLabels(), keys)) }
}

func withAnnotations(keys map[string]string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetAnnotations(mergeMaps(o.GetAnnotations(), keys)) }
}

func withoutAnnotation(key string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		delete(annotations, key)
		o.SetAnnotations(annotations)
	}
}

func withTerminating(o *unstructured.Unstructured) {
	now := metav1.NewTime(time.Unix(9, 0))
	o.SetDeletionTimestamp(&now)
	o.SetFinalizers([]string{"example.com/finalizer"})
}

func withController(o *unstructured.Unstructured) {
	yes := true
	o.SetOwnerReferences([]metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "owner", UID: "uid-owner", Controller: &yes},
	})
}

// withOwner sets an owner reference without a controller.
func withOwner(o *unstructured.Unstructured) {
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "uid-owner"}})
}

// withLegacyLabels sets the labels that the 2022 release set on its copies.
func withLegacyLabels(replika string) func(*unstructured.Unstructured) {
	return withLabels(map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: v1alpha1.PartOf(replika),
	})
}

func mustTemplate(t testing.TB, replika *v1alpha1.Replika, source *unstructured.Unstructured) *Template {
	t.Helper()
	template, err := NewCleaner().NewTemplate(resourceOf(source), replika, source)
	if err != nil {
		t.Fatalf("template: %v", err)
	}
	return template
}

// newCopy returns the copy that the template renders for the namespace.
func newCopy(t testing.TB, template *Template, namespace string, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	t.Helper()
	rendered, err := template.Render(namespace)
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(rendered); err != nil {
		t.Fatalf("decode: %v", err)
	}
	object.SetUID("uid-1")
	object.SetResourceVersion("1")
	for _, change := range changes {
		change(object)
	}
	return object
}

// resourceOf returns the resource of the object's kind.
func resourceOf(object *unstructured.Unstructured) schema.GroupResource {
	resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	return resource.GroupResource()
}

func mustObserve(t testing.TB, object *unstructured.Unstructured) *Observed {
	t.Helper()
	observed, err := NewCleaner().Observe(resourceOf(object), object)
	if err != nil {
		t.Fatalf("observe: %v", err)
	}
	return observed
}

func mustSelection(t testing.TB, replika *v1alpha1.Replika) *Selection {
	t.Helper()
	selection, err := NewSelection(replika)
	if err != nil {
		t.Fatalf("selection: %v", err)
	}
	return selection
}

func newClaimants(replikas ...*v1alpha1.Replika) Claimants {
	var all []Claimant
	for _, replika := range replikas {
		if claimant, claims := NewClaimant(replika, NewSelection); claims {
			all = append(all, claimant)
		}
	}
	return SortClaimants(all)
}

// newKeys returns a map with one entry for each key.
func newKeys(keys ...string) map[string]string {
	values := map[string]string{}
	for _, key := range keys {
		values[key] = "some value"
	}
	return values
}

// naiveMatch is a simple reference implementation of globs: `*` matches any characters.
func naiveMatch(glob, name string) bool {
	if glob == "" {
		return name == ""
	}
	if glob[0] == '*' {
		return naiveMatch(glob[1:], name) || name != "" && naiveMatch(glob, name[1:])
	}
	return name != "" && glob[0] == name[0] && naiveMatch(glob[1:], name[1:])
}

// naiveNamesSource reports whether the spec wants a copy in the source's own namespace.
func naiveNamesSource(replika *v1alpha1.Replika) bool {
	if replika.Spec.Target.Namespaces.MatchAll || replika.TargetName() == replika.Spec.Source.Name {
		return false
	}
	for _, name := range replika.Spec.Target.Namespaces.ReplicateIn {
		if name == replika.SourceNamespace() {
			return true
		}
	}
	return false
}

// naiveSelects is a simple reference implementation of [Selection.Selects].
func naiveSelects(replika *v1alpha1.Replika, namespace Namespace) bool {
	targets := replika.Spec.Target.Namespaces
	if namespace.Terminating || namespace.Name == replika.SourceNamespace() && !naiveNamesSource(replika) || namespace.Labels[v1alpha1.LabelOptOut] == "true" {
		return false
	}
	if source := replika.Status.Source; source != nil && len(source.AllowedNamespaces) > 0 {
		if !slices.ContainsFunc(source.AllowedNamespaces, func(glob string) bool { return naiveMatch(glob, namespace.Name) }) {
			return false
		}
	}
	for _, glob := range targets.ExcludeFrom {
		if naiveMatch(glob, namespace.Name) {
			return false
		}
	}
	if targets.MatchAll {
		return true
	}
	for _, glob := range targets.ReplicateIn {
		if naiveMatch(glob, namespace.Name) {
			return true
		}
	}
	if targets.Selector == nil {
		return false
	}
	for key, value := range targets.Selector.MatchLabels {
		if namespace.Labels[key] != value {
			return false
		}
	}
	return true
}

func sortedKeys[V any](m map[types.NamespacedName]V) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(m), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
