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
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// namespaceToReplikas maps a namespace to the Replikas that select it, and to all that select by label: they may have
// selected it before its labels changed.
func (r *ReplikaReconciler) namespaceToReplikas(ctx context.Context, object client.Object) []reconcile.Request {
	namespace := r.toNamespace(object)
	return toRequests(r.listMatching(ctx, func(replika *v1alpha1.Replika) bool {
		selection, err := r.selections.compile(replika)
		return err == nil && (selection.CouldSelect(namespace) || replika.Spec.Target.Namespaces.Selector != nil)
	}))
}

// replikaToCompetingReplikas maps a Replika to the others whose copies have the same kind and name.
func (r *ReplikaReconciler) replikaToCompetingReplikas(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*v1alpha1.Replika)
	if !ok {
		return nil
	}
	return toRequests(r.listMatching(ctx, func(replika *v1alpha1.Replika) bool {
		return replika.UID != changed.UID &&
			sourceGVK(replika).GroupKind() == sourceGVK(changed).GroupKind() &&
			replika.TargetName() == changed.TargetName()
	}))
}

// handleWatchEvent enqueues the Replikas that an event of a watch is for. users are those that need the watch.
func (r *ReplikaReconciler) handleWatchEvent(ctx context.Context, event tracking.Event, users []types.NamespacedName) {
	now, aboutObject := r.Clock.Now(), event.Key != tracking.Key{}
	switch {
	case event.Watch.Type == tracking.CRDs:
		if group, found := event.CRDGroup(); found {
			r.discovery.schedule(group)
		}
	case event.Watch.Type == tracking.Copies && aboutObject:
		for _, replika := range r.replikasForCopy(ctx, event) {
			state := r.states.find(replika)
			if state == nil || !state.inBackoff(event.Watch.Resource.GroupResource(), event.Key, now) {
				r.enqueuer.enqueue(replika)
			}
		}
	case event.Watch.Type == tracking.Source:
		for _, replika := range users {
			if state := r.states.find(replika); state != nil {
				state.markSourceChanged(now)
			}
		}
		r.enqueuer.enqueue(users...)
	default:
		r.enqueuer.enqueue(users...)
	}
}

// replikasForCopy lists the Replikas that an event about a copy is for: those that its marks name and, unless one of these
// still selects the namespace, all whose copies have this name. A claimant must not be faster than the owner of a copy that
// another client deleted.
func (r *ReplikaReconciler) replikasForCopy(ctx context.Context, event tracking.Event) []types.NamespacedName {
	owned := false
	candidates := r.listMatching(ctx, func(replika *v1alpha1.Replika) bool {
		if replika.Spec.Source.Group != event.Watch.Resource.Group || replika.TargetName() != event.Key.Name {
			return false
		}
		owned = owned || slices.Contains(event.Owners, client.ObjectKeyFromObject(replika)) &&
			r.desiresCopy(ctx, replika, event.Watch.Resource.GroupResource(), event.Key.Namespace)
		return true
	})
	if owned {
		return event.Owners
	}
	return append(event.Owners, candidates...)
}

// desiresCopy reports whether the Replika selects the namespace for a copy of the resource, as far as the caches know.
func (r *ReplikaReconciler) desiresCopy(
	ctx context.Context, replika *v1alpha1.Replika, resource schema.GroupResource, name string,
) bool {
	mapping, cached := r.Mapper.Cached(sourceGVK(replika))
	claimant, claims := planner.NewClaimant(replika, r.selections.compile)
	namespace := namespaceMetadata()
	return cached && mapping.Resource.GroupResource() == resource && claims &&
		r.Get(ctx, client.ObjectKey{Name: name}, namespace) == nil &&
		planner.Claimants{claimant}.Claims(claimant.Replika, claimant.Kind, replika.TargetName(), r.toNamespace(namespace))
}

// listMatching lists the names of the Replikas that match, from the cache.
func (r *ReplikaReconciler) listMatching(ctx context.Context, matches func(*v1alpha1.Replika) bool) []types.NamespacedName {
	list := &v1alpha1.ReplikaList{}
	if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to list Replikas from the cache")
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

func toRequests(replikas []types.NamespacedName) []reconcile.Request {
	requests := make([]reconcile.Request, len(replikas))
	for i, replika := range replikas {
		requests[i].NamespacedName = replika
	}
	return requests
}

// enqueuer is a source of a controller that adds Replikas to its queue. Before the controller has started it drops them:
// every Replika is reconciled then anyway.
type enqueuer struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start implements source.Source.
func (e *enqueuer) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = queue
	return nil
}

func (e *enqueuer) enqueue(replikas ...types.NamespacedName) {
	e.mu.Lock()
	queue := e.queue
	e.mu.Unlock()
	if queue == nil {
		return
	}
	for _, request := range toRequests(replikas) {
		queue.Add(request)
	}
}
