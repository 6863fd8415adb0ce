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
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// CacheOptions returns the options of the manager's cache, which has Replikas and the metadata of Namespaces. It keeps nothing that the
// operator does not need: the cache holds all namespaces.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{namespaceMetadata(): {Transform: reduceNamespace}},
	}
}

// reduceNamespace drops everything of a namespace's metadata but its identity and the labels that say more than its name. Equal labels
// share their text. A streaming list applies it twice: what is reduced has no creation time, unlike any namespace.
func reduceNamespace(object any) (any, error) {
	namespace, ok := object.(*metav1.PartialObjectMetadata)
	if !ok || namespace.CreationTimestamp.IsZero() {
		return object, nil
	}
	reduced := namespaceMetadata()
	reduced.Name, reduced.UID = namespace.Name, namespace.UID
	reduced.ResourceVersion, reduced.DeletionTimestamp = namespace.ResourceVersion, namespace.DeletionTimestamp
	for key, value := range namespace.Labels {
		if key == corev1.LabelMetadataName {
			continue
		}
		if reduced.Labels == nil {
			reduced.Labels = make(map[string]string, len(namespace.Labels))
		}
		reduced.Labels[unique.Make(key).Value()] = unique.Make(value).Value()
	}
	return reduced, nil
}

// namespaceMetadata returns an empty Namespace of which only the metadata is read; one informer serves the watch, gets and
// lists.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// cachedNamespaces returns a function that lists the metadata of all namespaces from the store of the informer. A list of the client
// would copy it.
func cachedNamespaces(informers cache.Informers) func(context.Context) ([]any, error) {
	return func(ctx context.Context) ([]any, error) {
		informer, err := informers.GetInformer(ctx, namespaceMetadata())
		if err != nil {
			return nil, err
		}
		shared, ok := informer.(toolscache.SharedInformer)
		if !ok {
			return nil, fmt.Errorf("%T has no store", informer)
		}
		return shared.GetStore().List(), nil
	}
}

// listNamespaces lists all namespaces.
func (r *ReplikaReconciler) listNamespaces(ctx context.Context) ([]planner.Namespace, error) {
	objects, err := r.Namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	namespaces := make([]planner.Namespace, 0, len(objects))
	for _, object := range objects {
		if namespace, ok := object.(client.Object); ok {
			namespaces = append(namespaces, r.toNamespace(namespace))
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
	namespace := namespaceMetadata()
	if r.Get(ctx, types.NamespacedName{Name: s.name.Namespace}, namespace) != nil || namespace.DeletionTimestamp == nil {
		return nil
	}
	return namespace
}
