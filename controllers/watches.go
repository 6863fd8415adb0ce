package controllers

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// SetupWithManager registers the controller: a Replika is looked at when its spec changes, when a namespace that it may
// select changes, and when a rival changes or goes.
func (r *ReplikaReconciler) SetupWithManager(manager ctrl.Manager) error {
	r.Watches.Set(tracking.User{Purpose: purposeKinds}, tracking.AllCRDs())
	onStandby := true // it watches too, namespaces above all, so that a takeover needs no list
	err := ctrl.NewControllerManagedBy(manager).
		Named("replika").
		For(&v1alpha1.Replika{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Replika{}, handler.EnqueueRequestsFromMapFunc(r.rivalsOf),
			builder.WithPredicates(predicate.GenerationChangedPredicate{}, predicate.Funcs{CreateFunc: appeared})).
		WatchesMetadata(namespaceMetadata(), handler.EnqueueRequestsFromMapFunc(r.selecting),
			builder.WithPredicates(namespaceChanged())).
		WatchesRawSource(&r.wakeUp).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: max(r.MaxConcurrentReconciles, 1),
			EnableWarmup:            &onStandby,
		}).
		Complete(r)
	if err != nil {
		return err
	}
	standby := false
	return ctrl.NewControllerManagedBy(manager).
		Named("replika-watches").
		For(&v1alpha1.Replika{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(&r.wakeUpFollower).
		WithOptions(controller.Options{NeedLeaderElection: &standby}).
		Complete(follower{r})
}

// appeared lets through what is created, and not what was there when the operator started: each Replika is looked at then
// anyway.
func appeared(create event.CreateEvent) bool { return !create.IsInInitialList }

// namespaceChanged lets through what selection depends on.
func namespaceChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: appeared,
		UpdateFunc: func(update event.UpdateEvent) bool {
			return !maps.Equal(update.ObjectOld.GetLabels(), update.ObjectNew.GetLabels()) ||
				(update.ObjectOld.GetDeletionTimestamp() == nil) != (update.ObjectNew.GetDeletionTimestamp() == nil)
		},
	}
}

// selecting lists the Replikas that may care about a namespace: those that select it, and those that select by label, as
// the labels that they matched may just have been taken off.
func (r *ReplikaReconciler) selecting(ctx context.Context, object client.Object) []reconcile.Request {
	namespace := r.asNamespace(object)
	return r.requests(ctx, func(replika *v1alpha1.Replika) bool {
		selection, err := planner.NewSelection(replika)
		return err == nil && (selection.CouldSelect(namespace) || replika.Spec.Target.Namespaces.Selector != nil)
	})
}

// rivalsOf lists the other Replikas that make copies of the same kind and name.
func (r *ReplikaReconciler) rivalsOf(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*v1alpha1.Replika)
	if !ok {
		return nil
	}
	return r.requests(ctx, func(replika *v1alpha1.Replika) bool {
		return replika.UID != changed.UID &&
			replika.Spec.Source.Group == changed.Spec.Source.Group &&
			replika.Spec.Source.Kind == changed.Spec.Source.Kind &&
			replika.TargetName() == changed.TargetName()
	})
}

// requests asks for a look at each Replika that matches.
func (r *ReplikaReconciler) requests(ctx context.Context, matches func(*v1alpha1.Replika) bool) []reconcile.Request {
	var requests []reconcile.Request
	for _, name := range r.named(ctx, matches) {
		requests = append(requests, reconcile.Request{NamespacedName: name})
	}
	return requests
}

// named lists the Replikas that match, from the cache.
func (r *ReplikaReconciler) named(ctx context.Context, matches func(*v1alpha1.Replika) bool) []types.NamespacedName {
	list := &v1alpha1.ReplikaList{}
	if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "could not list the Replikas from the cache")
		return nil
	}
	var names []types.NamespacedName
	for i := range list.Items {
		if replika := &list.Items[i]; matches(replika) {
			names = append(names, client.ObjectKeyFromObject(replika))
		}
	}
	return names
}
