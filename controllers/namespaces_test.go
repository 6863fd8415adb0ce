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

package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

func TestNewInformer(t *testing.T) {
	for name, test := range map[string]struct {
		object  client.Object
		indexed bool
	}{
		"Namespaces": {namespaceMetadata(), false},
		"Replikas":   {&v1alpha1.Replika{}, true},
	} {
		indexers := toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc}
		informer := CacheOptions().NewInformer(&toolscache.ListWatch{}, test.object, 0, indexers)
		if _, indexed := informer.GetIndexer().GetIndexers()[toolscache.NamespaceIndex]; indexed != test.indexed {
			t.Errorf("%s are indexed by namespace: %t", name, indexed)
		}
	}
}

// What is kept of a namespace is all that a plan needs, and nothing else that takes memory.
func TestReduceNamespace(t *testing.T) {
	deleted := metav1.NewTime(time.Unix(1, 0))
	namespace := namespaceMetadata()
	namespace.ObjectMeta = metav1.ObjectMeta{
		Name: "team-a", UID: types.UID("uid"), ResourceVersion: "7", DeletionTimestamp: &deleted, CreationTimestamp: deleted,
		Labels:        map[string]string{"kubernetes.io/metadata.name": "team-a", "team": "a"},
		Annotations:   map[string]string{"note": "long"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Finalizers:    []string{"example.com/finalizer"},
	}
	before := new(ReplikaReconciler).toNamespace(namespace)
	once, err := reduceNamespace(namespace)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := reduceNamespace(once) // a streaming list applies it before the queue does
	if err != nil {
		t.Fatal(err)
	}
	reduced, ok := twice.(client.Object)
	if !ok {
		t.Fatalf("%T cannot be in the cache", twice)
	}
	if key, err := toolscache.MetaNamespaceKeyFunc(reduced); err != nil || key != "team-a" || reduced.GetResourceVersion() != "7" {
		t.Errorf("stored as %s in version %s, error %v", key, reduced.GetResourceVersion(), err)
	}
	if kind := reduced.GetObjectKind().GroupVersionKind().Kind; kind != "Namespace" {
		t.Errorf("is a %s", kind)
	}
	delete(before.Labels, "kubernetes.io/metadata.name")
	for _, object := range []runtime.Object{reduced, reduced.DeepCopyObject()} {
		object, ok := object.(client.Object)
		if !ok {
			t.Fatalf("%T is no object", object)
		}
		if diff := cmp.Diff(before, new(ReplikaReconciler).toNamespace(object)); diff != "" {
			t.Errorf("a plan sees a difference: -before +after:\n%s", diff)
		}
	}
	if other, err := reduceNamespace("other"); err != nil || other != "other" {
		t.Errorf("got %v, %v for an object of another type", other, err)
	}
}

// Selectors see the label with the name of the namespace, which the cache does not keep.
func TestReduceNamespace_SelectionByName(t *testing.T) {
	namespace := planner.Namespace{Name: "team-a"}
	for label, want := range map[string]bool{"team-a": true, "team-b": false} {
		replika := replikasByTeam(1)[0]
		replika.Spec.Target.Namespaces.Selector.MatchLabels = map[string]string{"kubernetes.io/metadata.name": label}
		selection, err := planner.NewSelection(&replika)
		if err != nil {
			t.Fatal(err)
		}
		if got := selection.Selects(namespace); got != want {
			t.Errorf("selects by the name %s: %t, want %t", label, got, want)
		}
		cache := compileAll(t, []v1alpha1.Replika{replika})
		if got := len(cache.affected(func(types.NamespacedName, *planner.Selection) bool { return true }, namespace)) > 0; got != want {
			t.Errorf("is affected by the name %s: %t, want %t", label, got, want)
		}
	}
}
