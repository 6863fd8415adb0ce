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
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// standbyReconciler keeps the watches in sync with the Replikas on every instance, so that an instance that becomes the
// leader needs no list.
type standbyReconciler struct {
	*ReplikaReconciler
}

// SetupWithManager registers the controller, which needs no leader election.
func (r standbyReconciler) SetupWithManager(manager ctrl.Manager) error {
	needLeaderElection := false
	return ctrl.NewControllerManagedBy(manager).
		Named("replika-watches").
		For(&v1alpha1.Replika{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(&r.standbyEnqueuer).
		WithOptions(controller.Options{NeedLeaderElection: &needLeaderElection}).
		Complete(r)
}

// Reconcile ensures the watches of one Replika.
func (r standbyReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	replika := &v1alpha1.Replika{}
	if err := r.Get(ctx, request.NamespacedName, replika); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	mapping, err := r.Mapper.Resolve(ctx, sourceGVK(replika))
	switch {
	case errors.Is(err, tracking.ErrKindNotFound):
		r.releaseWatches(request.NamespacedName)
		return ctrl.Result{}, nil // an event about a CustomResourceDefinition ends it
	case err != nil:
		return ctrl.Result{}, err
	case kindProblem(mapping) != "":
		r.releaseWatches(request.NamespacedName)
	default:
		r.ensureWatches(replika, mapping)
	}
	return ctrl.Result{}, nil
}
