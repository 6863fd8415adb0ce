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

// Package controllers implements the Replika controller: it keeps the copies of every Replika in sync with their source.
package controllers

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// ReplikaReconciler keeps the copies of every Replika in sync with their source.
type ReplikaReconciler struct {
	// Client reads Replikas from the manager's cache, and writes them.
	client.Client
	// Namespaces returns a store of all Namespaces, by name. They must not be changed.
	Namespaces func(context.Context) (toolscache.Store, error)
	// Clients read sources, live, and write copies, impersonating the ServiceAccount of a Replika.
	Clients *Clients
	// Mapper maps the kind of a source to its resource.
	Mapper *tracking.Mapper
	// Watches send events about sources and copies. Lister lists what no watch delivers.
	Watches  *tracking.Watches
	Lister   *tracking.Lister
	Cleaner  *planner.Cleaner
	Recorder events.EventRecorder
	Clock    clock.Clock
	// Policy is set by the administrator and applies to every Replika.
	Policy Policy
	// Timeouts must be complete, see [Timeouts.withDefaults].
	Timeouts Timeouts
	// MaxConcurrentReconciles is the maximum number of Replikas reconciled concurrently; 1 by default.
	MaxConcurrentReconciles int
	// MaxConcurrentWrites is the maximum number of concurrent writes of one Replika; 1 by default. The limit across all
	// Replikas is shared by the Clients.
	MaxConcurrentWrites int

	metrics *metricSet
	states  stateStore
	// excluded are the namespaces that the policy excludes.
	excluded    *planner.Patterns
	selections  selectionCache
	sourceReads sourceReads
	// enqueuer adds Replikas to the queue of this controller, standbyEnqueuer to that of the standby controller.
	enqueuer, standbyEnqueuer enqueuer
	discovery                 *discoveryRefresher
	detacher                  *detacher
}

// SetupWithManager registers the controller. A Replika is reconciled when its spec changes or it loses its finalizer, when the annotation
// requests it, when a namespace that it may select changes, when a Replika with the same targets changes or is deleted, and when a watch reports a change of its
// source or copies.
func (r *ReplikaReconciler) SetupWithManager(manager ctrl.Manager) error {
	// The standby warms up the caches, too, so that a takeover needs no list.
	warmup := true
	return ctrl.NewControllerManagedBy(manager).
		Named("replika").
		For(&v1alpha1.Replika{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, ownMetadataLost(), reconcileRequested()))).
		Watches(&v1alpha1.Replika{}, handler.EnqueueRequestsFromMapFunc(r.replikaToCompetingReplikas),
			builder.WithPredicates(predicate.GenerationChangedPredicate{}, predicate.Funcs{CreateFunc: ignoreInitialList})).
		WatchesMetadata(namespaceMetadata(), r.namespaceHandler(),
			builder.WithPredicates(namespaceSelectionChanged())).
		WatchesRawSource(&r.enqueuer).
		// Here, because an informer that exists before the caches start keeps the manager from stopping until it has synced.
		WatchesRawSource(ctrlsource.Func(func(ctx context.Context, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			return indexTargets(ctx, manager.GetFieldIndexer())
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: max(r.MaxConcurrentReconciles, 1),
			EnableWarmup:            &warmup,
		}).
		Complete(r.detacher)
}

// Reconcile brings the copies of one Replika in sync with its source and reports the result in the status.
func (r *ReplikaReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	replika := &v1alpha1.Replika{}
	if err := r.Get(ctx, request.NamespacedName, replika); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s, err := r.newScope(replika)
	if err != nil {
		return ctrl.Result{}, err
	}
	switch {
	case s.replika.DeletionTimestamp != nil:
		err = r.reconcileDelete(ctx, s)
	case s.replika.Spec.Mode == v1alpha1.ModeDryRun:
		s.dropFormerSource()
		err = r.finish(ctx, s, r.reconcileDryRun(ctx, s))
	case s.replika.Spec.Suspend:
		s.dropFormerSource()
		err = r.finish(ctx, s, r.reconcileSuspended(ctx, s))
	default:
		s.dropFormerSource()
		err = r.finish(ctx, s, r.reconcileNormal(ctx, s))
	}
	return r.requeue(ctx, s, err)
}

// reconcileNormal brings the copies in sync: kind, watches, inventory, source, copies. It returns a *notReadyError for what
// the status reports; any other error means that the reconcile was aborted.
func (r *ReplikaReconciler) reconcileNormal(ctx context.Context, s *scope) error {
	if err := r.Policy.requireServiceAccount(s.identity); err != nil {
		r.releaseWatches(s.name)
		return err
	}
	mapping, err := r.resolveKind(ctx, s)
	if err != nil {
		if !isTransient(err) {
			r.releaseWatches(s.name)
		}
		_, pruneErr := r.pruneFormerKinds(ctx, s, mapping)
		return firstError(ctx.Err(), err, pruneErr)
	}
	r.ensureWatches(s.replika, mapping)
	s.state.useResource(mapping.Resource.GroupResource())
	if err := r.addToInventory(ctx, s, mapping); err != nil {
		return err
	}
	s.watchState = r.waitForWatchSync(ctx, s, mapping)
	if !r.copiesWatched(mapping) { // before anything is read that would be outdated after a wait for the list
		if err := r.acquireListPermit(s, mapping.Resource); err != nil {
			return err
		}
		defer s.releaseListPermit(mapping.Resource)
	}
	pruned, pruneErr := r.pruneFormerKinds(ctx, s, mapping)
	sync := r.syncCopies
	if s.replika.HasManySources() {
		sync = r.syncSources
	}
	err = firstError(ctx.Err(), pruneErr, sync(ctx, s, mapping))
	if err == nil && pruned {
		s.state.trimInventory(mapping.Resource.GroupResource())
	}
	return err
}

// syncCopies reads the source and brings the copies in sync with it. If nothing can have changed, it does neither.
func (r *ReplikaReconciler) syncCopies(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	s.state.forgetSources()
	if checkpoint := r.upToDateCheckpoint(ctx, s, mapping); checkpoint != nil {
		s.results.carryOver(checkpoint)
		return nil
	}
	observedAt := s.state.popSourceChangedAt()
	src, sourceErr := r.reconcileSource(ctx, s, mapping)
	copiesErr := r.reconcileCopies(ctx, s, mapping, src)

	err := firstError(ctx.Err(), sourceErr, copiesErr)
	if err == nil {
		s.recordFormerKeysGone(src)
	}
	r.recordPropagation(s, observedAt, src, err)
	return err
}

// reconcileDelete cleans up the copies of a Replika that is being deleted, then removes the finalizer.
func (r *ReplikaReconciler) reconcileDelete(ctx context.Context, s *scope) error {
	if !controllerutil.ContainsFinalizer(s.replika, v1alpha1.Finalizer) {
		return nil
	}
	err := r.cleanUp(ctx, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || s.results.incomplete() > 0 {
		if !r.cleanupTimedOut(s, err) {
			return r.finish(ctx, s, err)
		}
		r.recordOrphanedCopies(ctx, s, err)
	}
	s.state.popPostponed().addTo(s)
	r.recordChanges(ctx, s)
	return client.IgnoreNotFound(r.patchMetadata(ctx, s, func(replika *v1alpha1.Replika) {
		controllerutil.RemoveFinalizer(replika, v1alpha1.Finalizer)
	}))
}

// finish ends a reconcile: it computes the status from the results, and records metrics and events. An err that is not a
// *notReadyError aborted the reconcile: the results are incomplete, and nothing is reported.
func (r *ReplikaReconciler) finish(ctx context.Context, s *scope, err error) error {
	var notReady *notReadyError
	if err != nil && !errors.As(err, &notReady) {
		return err
	}
	s.notReady = notReady
	s.state.setBackoff(s.results.backoffUntil)
	postponed := s.state.popPostponed()
	postponed.addTo(s)
	r.setStatus(s)
	r.metrics.record(s)
	if postponed == nil && r.postponeReport(s) {
		return nil
	}
	r.recordChanges(ctx, s)
	r.recordPlan(s)
	r.recordReadyTransition(ctx, s)
	if err := r.patchStatus(ctx, s); err != nil {
		if postponed != nil {
			s.state.postponeReport(newPostponedReport(s, nil)) // its events were sent
		}
		return fmt.Errorf("updating status: %w", err)
	}
	if err := r.trimAnnotatedInventory(ctx, s); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !s.suspended() {
		s.state.recordStatusOf(sourceIdentityOf(s.replika))
	}
	return nil
}
