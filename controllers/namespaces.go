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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// namespaceMetadata returns an empty Namespace of which only the metadata is read; one informer serves the watch, gets and
// lists.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// listNamespaces lists all namespaces from the cache.
func (r *ReplikaReconciler) listNamespaces(ctx context.Context) ([]planner.Namespace, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	namespaces := make([]planner.Namespace, len(list.Items))
	for i := range list.Items {
		namespaces[i] = r.toNamespace(&list.Items[i])
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
