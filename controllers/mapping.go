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
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// targetIndex is the index of Replikas by the API group and the name of their copies.
const targetIndex = "target"

// indexTargets adds the index to the cache of Replikas.
func indexTargets(ctx context.Context, indexer client.FieldIndexer) error {
	return indexer.IndexField(ctx, &v1alpha1.Replika{}, targetIndex, func(object client.Object) []string {
		replika, ok := object.(*v1alpha1.Replika)
		if !ok {
			return nil
		}
		return targetKeys(replika)
	})
}

// targetKeys returns the keys of the Replika in the index.
func targetKeys(replika *v1alpha1.Replika) []string {
	var keys []string
	for _, name := range targetNames(replika) {
		keys = append(keys, targetKey(replika.Spec.Source.Group, name))
	}
	return keys
}

func targetKey(group, name string) string { return group + "/" + name }

// anyName stands for all names that copies can have. No object has this name.
const anyName = "/"

// targetNames returns the names of the Replika's copies, as far as its spec says.
func targetNames(replika *v1alpha1.Replika) []string {
	if !replika.HasManySources() {
		return []string{replika.TargetName()}
	}
	var names []string
	for _, name := range replika.Spec.Source.Names {
		if strings.Contains(name, "*") {
			return []string{anyName}
		}
		names = append(names, replika.TargetNameOf(name))
	}
	if names == nil {
		return []string{anyName}
	}
	return names
}

// namespaceHandler enqueues the Replikas whose plan an event of a namespace can change: those that select it or could select
// it when it is created or deleted, and those for which it becomes a target, or ceases to be one, when it is updated. An admission
// policy can depend on its labels, so those whose copies were refused there are enqueued as well.
func (r *ReplikaReconciler) namespaceHandler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	couldSelect := func(object client.Object, queue queue) {
		namespace := r.toNamespace(object)
		r.enqueueAffected(queue, func(_ types.NamespacedName, selection *planner.Selection) bool {
			return selection.CouldSelect(namespace)
		}, namespace)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, created event.CreateEvent, queue queue) { couldSelect(created.Object, queue) },
		UpdateFunc: func(_ context.Context, updated event.UpdateEvent, queue queue) {
			before, after := r.toNamespace(updated.ObjectOld), r.toNamespace(updated.ObjectNew)
			r.enqueueAffected(queue, func(name types.NamespacedName, selection *planner.Selection) bool {
				return selection.ChangedBy(before, after) || r.states.refusedIn(name, after.Name)
			}, before, after)
		},
		DeleteFunc: func(_ context.Context, deleted event.DeleteEvent, queue queue) { couldSelect(deleted.Object, queue) },
	}
}

// enqueueAffected enqueues the Replikas whose selection matches, among those that can select the namespace in one of its states,
// to plan the namespace.
func (r *ReplikaReconciler) enqueueAffected(
	queue workqueue.TypedRateLimitingInterface[reconcile.Request],
	matches func(types.NamespacedName, *planner.Selection) bool, states ...planner.Namespace,
) {
	affected := r.selections.affected(matches, states...)
	r.states.markChanged(states[0].Name, affected...)
	for _, request := range toRequests(affected) {
		queue.Add(request)
	}
}

// replikaToCompetingReplikas maps a Replika to the others whose copies have the same kind and name.
func (r *ReplikaReconciler) replikaToCompetingReplikas(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*v1alpha1.Replika)
	if !ok {
		return nil
	}
	names := []string{changed.TargetName()}
	if changed.HasManySources() {
		names = nil
		if state := r.states.find(client.ObjectKeyFromObject(changed)); state != nil {
			names = state.copyNames()
		}
	}
	competing := map[types.NamespacedName]bool{}
	for _, name := range names {
		for _, replika := range r.cachedTargeting(ctx, changed.Spec.Source.Group, name) {
			if replika.UID != changed.UID && sourceGVK(&replika).GroupKind() == sourceGVK(changed).GroupKind() {
				competing[client.ObjectKeyFromObject(&replika)] = true
			}
		}
	}
	return toRequests(slices.Collect(maps.Keys(competing)))
}

// handleWatchEvent enqueues the Replikas that an event of a watch is for. users are those that need the watch.
func (r *ReplikaReconciler) handleWatchEvent(ctx context.Context, event tracking.Event, users []types.NamespacedName) {
	aboutObject := event.Key != tracking.Key{}
	switch {
	case event.Watch.Type == tracking.CRDs:
		if group, found := event.CRDGroup(); found {
			r.discovery.schedule(group)
		}
	case event.Watch.Type == tracking.Source:
		r.sourceReads.changed(sourceObject{
			event.Watch.Resource.GroupResource(), tracking.Key{Namespace: event.Watch.Namespace, Name: event.Watch.Name},
		})
		r.states.markSourceChanged(r.Clock.Now(), users...)
		r.enqueuer.enqueue(users...)
	case event.Watch.Type == tracking.Sources:
		concerned := r.markSourcesChanged(event, users)
		r.enqueuer.enqueue(concerned...)
	case event.Watch.Type == tracking.Copies && aboutObject:
		replikas := r.replikasForCopy(ctx, event)
		r.states.markCopyChanged(event.Key, replikas...)
		r.enqueuer.enqueue(r.withoutBackoff(event, replikas)...)
	case aboutObject:
		r.states.markCopyChanged(event.Key, users...)
		r.enqueuer.enqueue(users...)
	default:
		r.states.markAllChanged(users...) // the watch may have missed changes
		r.enqueuer.enqueue(users...)
	}
}

// markSourcesChanged records a change for those of the Replikas with many sources that an event of the metadata of their namespace
// concerns, and returns them: the object is or was one of the sources, or its labels say that it can be one now. An event of the watch
// itself concerns all.
func (r *ReplikaReconciler) markSourcesChanged(event tracking.Event, users []types.NamespacedName) (concerned []types.NamespacedName) {
	now := r.Clock.Now()
	for _, user := range users {
		state := r.states.find(user)
		if state == nil || event.Key == (tracking.Key{}) || state.sourceChanged(now, event.Key.Name, event.Labels) {
			concerned = append(concerned, user)
		}
	}
	r.states.markSourceChanged(now, concerned...)
	return concerned
}

// stateOfSource returns the state of the source whose copies have the name, see findSource.
func (r *ReplikaReconciler) stateOfSource(replika types.NamespacedName, copyName string) (source *sourceState, known bool) {
	if state := r.states.find(replika); state != nil {
		return state.findSource(copyName)
	}
	return nil, false
}

// claimantOf returns the claim of the Replika to copies with the name, or false if it has none. Which sources a Replika with many has is
// not known before its first reconcile. Until then it keeps its copies, and takes over none.
func (r *ReplikaReconciler) claimantOf(replika *v1alpha1.Replika, name string) (planner.Claimant, bool) {
	if !replika.HasManySources() {
		return planner.NewClaimant(replika, r.selections.compile)
	}
	sourceName, possible := planner.SourceOfCopy(replika, name)
	if !possible {
		return planner.Claimant{}, false
	}
	source, known := r.stateOfSource(client.ObjectKeyFromObject(replika), name)
	if known && source == nil || !known && !r.couldHaveSource(replika, sourceName) {
		return planner.Claimant{}, false
	}
	single := planner.ForSource(replika, sourceName, v1alpha1.ReplikaStatus{})
	if known {
		single.Status, _ = source.lastStatus(sourceIdentityOf(single))
	}
	return planner.NewClaimant(single, func(single *v1alpha1.Replika) (*planner.Selection, error) {
		selection, err := r.selections.compile(replika)
		if err != nil || !known {
			return selection, err
		}
		return source.restrict(selection, single.Status.Source), nil
	})
}

// couldHaveSource reports whether an object of this name can be one of the Replika's many sources.
func (*ReplikaReconciler) couldHaveSource(replika *v1alpha1.Replika, name string) bool {
	selector, err := planner.NewSourceSelector(schema.GroupResource{}, replika)
	return err == nil && selector.CouldMatch(name)
}

// withoutBackoff drops the Replikas that do not repair the copy of the event for now.
func (r *ReplikaReconciler) withoutBackoff(event tracking.Event, replikas []types.NamespacedName) []types.NamespacedName {
	now := r.Clock.Now()
	return slices.DeleteFunc(slices.Clone(replikas), func(replika types.NamespacedName) bool {
		state := r.states.find(replika)
		return state != nil && state.inBackoff(event.Watch.Resource.GroupResource(), event.Key, now)
	})
}

// replikasForCopy lists the Replikas that an event about a copy is for: those that its marks name and, unless one of these
// still selects the namespace, all whose copies have this name. A claimant must not be faster than the owner of a copy that
// another client deleted.
//
// The result of a write is only for the owners: those who wait for the object learn of it in another way.
func (r *ReplikaReconciler) replikasForCopy(ctx context.Context, event tracking.Event) []types.NamespacedName {
	if event.OfWrite {
		return event.Owners
	}
	owned := false
	targeting := r.cachedTargeting(ctx, event.Watch.Resource.Group, event.Key.Name)
	candidates := namesOf(targeting, func(replika *v1alpha1.Replika) bool {
		owned = owned || slices.Contains(event.Owners, client.ObjectKeyFromObject(replika)) &&
			r.desiresCopy(ctx, replika, event.Watch.Resource.GroupResource(), event.Key)
		if !replika.HasManySources() {
			return true // the index has it under this name
		}
		_, claims := r.claimantOf(replika, event.Key.Name)
		return claims
	})
	if owned {
		return event.Owners
	}
	return append(event.Owners, candidates...)
}

// desiresCopy reports whether the Replika claims a copy of the resource with this name and namespace, as far as the caches know.
func (r *ReplikaReconciler) desiresCopy(
	ctx context.Context, replika *v1alpha1.Replika, resource schema.GroupResource, copied tracking.Key,
) bool {
	mapping, cached := r.Mapper.Cached(sourceGVK(replika))
	claimant, claims := r.claimantOf(replika, copied.Name)
	namespace, exists, err := r.getNamespace(ctx, copied.Namespace)
	return cached && mapping.Resource.GroupResource() == resource && claims && err == nil && exists &&
		planner.Claimants{claimant}.Claims(claimant.Replika, claimant.Kind, copied.Name, namespace)
}

// listReplikas lists Replikas from the cache; they must not be changed.
func (r *ReplikaReconciler) listReplikas(ctx context.Context, options ...client.ListOption) []v1alpha1.Replika {
	list := &v1alpha1.ReplikaList{}
	if err := r.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to list Replikas from the cache")
		return nil
	}
	return list.Items
}

// listTargeting lists the Replikas whose copies are of the API group and have the name, or can have it, as far as their specs say; they
// must not be changed.
func (r *ReplikaReconciler) listTargeting(ctx context.Context, group, name string) ([]v1alpha1.Replika, error) {
	var replikas []v1alpha1.Replika
	for _, key := range []string{targetKey(group, name), targetKey(group, anyName)} {
		list := &v1alpha1.ReplikaList{}
		if err := r.List(ctx, list, client.MatchingFields{targetIndex: key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing Replikas: %w", err)
		}
		replikas = append(replikas, list.Items...)
	}
	return replikas, nil
}

// cachedTargeting is like listTargeting, and only logs an error.
func (r *ReplikaReconciler) cachedTargeting(ctx context.Context, group, name string) []v1alpha1.Replika {
	replikas, err := r.listTargeting(ctx, group, name)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to list Replikas from the cache")
	}
	return replikas
}

// namesOf returns the names of the Replikas that match.
func namesOf(replikas []v1alpha1.Replika, matches func(*v1alpha1.Replika) bool) []types.NamespacedName {
	var names []types.NamespacedName
	for i := range replikas {
		if matches(&replikas[i]) {
			names = append(names, client.ObjectKeyFromObject(&replikas[i]))
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

// current returns the queue; nil before the controller has started.
func (e *enqueuer) current() workqueue.TypedRateLimitingInterface[reconcile.Request] {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.queue
}

func (e *enqueuer) enqueue(replikas ...types.NamespacedName) {
	queue := e.current()
	if queue == nil {
		return
	}
	for _, request := range toRequests(replikas) {
		queue.Add(request)
	}
}

// waiting returns the number of Replikas that wait for a worker.
func (e *enqueuer) waiting() int {
	queue := e.current()
	if queue == nil {
		return 0
	}
	return queue.Len()
}

func (e *enqueuer) enqueueAfter(replika types.NamespacedName, after time.Duration) {
	if queue := e.current(); queue != nil {
		queue.AddAfter(reconcile.Request{NamespacedName: replika}, after)
	}
}
