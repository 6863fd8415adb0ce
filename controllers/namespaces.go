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
	"context"
	"fmt"
	"maps"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// CacheOptions returns the options of the manager's cache, which has Replikas and Namespaces. It keeps nothing that the operator does not
// need: the cache holds all namespaces.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{namespaceMetadata(): {Transform: reduceNamespace}},
		NewInformer:      newInformer,
	}
}

// newInformer returns an informer. That of Namespaces, which are in no namespace, has no index by namespace, which would hold every key once
// more.
func newInformer(
	lister toolscache.ListerWatcher, object runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	if object.GetObjectKind().GroupVersionKind() == namespaceMetadata().GroupVersionKind() {
		delete(indexers, toolscache.NamespaceIndex)
	}
	return toolscache.NewSharedIndexInformer(lister, object, resync, indexers)
}

// namespaceMetadata returns an empty Namespace of which only the metadata is watched.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// reducedNamespace is what the cache keeps of a Namespace, in less than half of the memory that its metadata needs. The client of the
// manager cannot read it: [namespaceStore] does.
type reducedNamespace struct {
	// Object has the other methods of [client.Object]. What they return is not kept.
	metav1.Object

	name, resourceVersion string
	uid                   types.UID
	labels                map[string]string
	deletedAt             *metav1.Time
}

var notKept metav1.Object = &metav1.ObjectMeta{}

// reduceNamespace drops everything of a namespace's metadata but its identity and the labels that say more than its name. Equal labels
// share their text. A streaming list applies it twice.
func reduceNamespace(object any) (any, error) {
	namespace, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	reduced := &reducedNamespace{
		Object: notKept, name: namespace.Name, resourceVersion: namespace.ResourceVersion, uid: namespace.UID, deletedAt: namespace.DeletionTimestamp,
	}
	for key, value := range namespace.Labels {
		if key == corev1.LabelMetadataName {
			continue
		}
		if reduced.labels == nil {
			reduced.labels = make(map[string]string, len(namespace.Labels))
		}
		reduced.labels[unique.Make(key).Value()] = unique.Make(value).Value()
	}
	return reduced, nil
}

// GetName implements [metav1.Object].
func (n *reducedNamespace) GetName() string { return n.name }

// GetResourceVersion implements [metav1.Object].
func (n *reducedNamespace) GetResourceVersion() string { return n.resourceVersion }

// GetUID implements [metav1.Object].
func (n *reducedNamespace) GetUID() types.UID { return n.uid }

// GetLabels implements [metav1.Object].
func (n *reducedNamespace) GetLabels() map[string]string { return n.labels }

// GetDeletionTimestamp implements [metav1.Object].
func (n *reducedNamespace) GetDeletionTimestamp() *metav1.Time { return n.deletedAt }

// GetObjectKind implements [runtime.Object].
func (*reducedNamespace) GetObjectKind() schema.ObjectKind {
	return namespaceMetadata().GetObjectKind()
}

// DeepCopyObject implements [runtime.Object].
func (n *reducedNamespace) DeepCopyObject() runtime.Object {
	copied := *n
	copied.labels, copied.deletedAt = maps.Clone(n.labels), n.deletedAt.DeepCopy()
	return &copied
}

// cachedNamespaces returns a function that returns the store of the informer of the manager's cache, once it has synced.
func cachedNamespaces(informers cache.Informers) func(context.Context) (toolscache.Store, error) {
	return func(ctx context.Context) (toolscache.Store, error) {
		informer, err := informers.GetInformer(ctx, namespaceMetadata())
		if err != nil {
			return nil, err
		}
		shared, ok := informer.(toolscache.SharedInformer)
		if !ok {
			return nil, fmt.Errorf("%T has no store", informer)
		}
		return shared.GetStore(), nil
	}
}

// listNamespaces lists all namespaces.
func (r *ReplikaReconciler) listNamespaces(ctx context.Context) ([]planner.Namespace, error) {
	store, err := r.Namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	objects := store.List()
	namespaces := make([]planner.Namespace, 0, len(objects))
	for _, object := range objects {
		if namespace, ok := object.(client.Object); ok {
			namespaces = append(namespaces, r.toNamespace(namespace))
		}
	}
	return namespaces, nil
}

// getNamespace returns a namespace, or false if it does not exist.
func (r *ReplikaReconciler) getNamespace(ctx context.Context, name string) (planner.Namespace, bool, error) {
	store, err := r.Namespaces(ctx)
	if err != nil {
		return planner.Namespace{}, false, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	object, _, err := store.GetByKey(name)
	if err != nil {
		return planner.Namespace{}, false, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	namespace, exists := object.(client.Object) // nil is none
	if !exists {
		return planner.Namespace{}, false, nil
	}
	return r.toNamespace(namespace), true, nil
}

// getNamespaces returns those of the namespaces that exist.
func (r *ReplikaReconciler) getNamespaces(ctx context.Context, names []string) ([]planner.Namespace, error) {
	var namespaces []planner.Namespace
	for _, name := range names {
		namespace, exists, err := r.getNamespace(ctx, name)
		if err != nil {
			return nil, err
		}
		if exists {
			namespaces = append(namespaces, namespace)
		}
	}
	return namespaces, nil
}

func (r *ReplikaReconciler) toNamespace(object client.Object) planner.Namespace {
	return planner.Namespace{
		Name:        object.GetName(),
		UID:         object.GetUID(),
		Labels:      object.GetLabels(),
		Terminating: object.GetDeletionTimestamp() != nil,
		Excluded:    r.excluded.Match(object.GetName()),
	}
}

// terminatingNamespace returns the namespace of a Replika that is being deleted with it; nil for any other Replika.
func (r *ReplikaReconciler) terminatingNamespace(ctx context.Context, s *scope) *metav1.PartialObjectMetadata {
	if s.replika.DeletionTimestamp == nil {
		return nil
	}
	namespace, exists, err := r.getNamespace(ctx, s.name.Namespace)
	if err != nil || !exists || !namespace.Terminating {
		return nil
	}
	object := namespaceMetadata()
	object.Name, object.UID = namespace.Name, namespace.UID
	return object
}
