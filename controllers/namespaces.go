package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers/planner"
)

// namespaceMetadata is a Namespace of which only the metadata is kept; one informer serves the watch and the lists.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// namespaces lists all namespaces, from the cache.
func (r *ReplikaReconciler) namespaces(ctx context.Context) ([]planner.Namespace, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the namespaces: %w", err)
	}
	namespaces := make([]planner.Namespace, len(list.Items))
	for i := range list.Items {
		namespaces[i] = r.asNamespace(&list.Items[i])
	}
	return namespaces, nil
}

func (r *ReplikaReconciler) asNamespace(object client.Object) planner.Namespace {
	return planner.Namespace{
		Name:        object.GetName(),
		Labels:      object.GetLabels(),
		Terminating: object.GetDeletionTimestamp() != nil,
		Excluded:    planner.MatchesAny(r.Policy.ExcludedNamespaces, object.GetName()),
	}
}
