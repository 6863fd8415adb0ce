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
	"maps"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// ignoreInitialList drops the objects that existed when the operator started: every Replika is reconciled then anyway.
func ignoreInitialList(create event.CreateEvent) bool { return !create.IsInInitialList }

// ownMetadataLost drops updates of a Replika other than those that take its finalizer or an entry of its inventory off. A PUT
// of the user's manifest does (kubectl replace, Argo CD with Replace=true, Helm with --force).
func ownMetadataLost() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(update event.UpdateEvent) bool {
			before, hadMetadata := update.ObjectOld.(*v1alpha1.Replika)
			after, hasMetadata := update.ObjectNew.(*v1alpha1.Replika)
			if !hadMetadata || !hasMetadata || after.DeletionTimestamp != nil {
				return false
			}
			lostFinalizer := controllerutil.ContainsFinalizer(before, v1alpha1.Finalizer) &&
				!controllerutil.ContainsFinalizer(after, v1alpha1.Finalizer)
			return lostFinalizer || !containsAll(annotatedInventory(after), annotatedInventory(before))
		},
	}
}

// namespaceSelectionChanged drops updates of a namespace on which no selection depends. After a gap in the watch, an update can be that
// of a namespace which was created anew, without the copies.
func namespaceSelectionChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: ignoreInitialList,
		UpdateFunc: func(update event.UpdateEvent) bool {
			return update.ObjectOld.GetUID() != update.ObjectNew.GetUID() ||
				!maps.Equal(update.ObjectOld.GetLabels(), update.ObjectNew.GetLabels()) ||
				(update.ObjectOld.GetDeletionTimestamp() == nil) != (update.ObjectNew.GetDeletionTimestamp() == nil)
		},
	}
}

// reconcileRequested drops updates of a Replika other than those that request a reconcile by a new value of the annotation.
func reconcileRequested() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(update event.UpdateEvent) bool {
			before := update.ObjectOld.GetAnnotations()[v1alpha1.AnnotationRequestedAt]
			after := update.ObjectNew.GetAnnotations()[v1alpha1.AnnotationRequestedAt]
			return after != "" && after != before
		},
	}
}
