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

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// reconcileCopies plans and executes what brings the copies in sync with the template.
func (r *ReplikaReconciler) reconcileCopies(ctx context.Context, s *scope, mapping tracking.Mapping, src source) error {
	s.results.counted = src.NoneDesired || src.KeysWithdrawn // nothing is desired, so the last counts no longer apply
	plan, err := r.planCopies(ctx, s, mapping, src)
	if err != nil {
		return err
	}
	checkpoint := plan.checkpoint
	s.results.carryOver(checkpoint)
	if src.Template != nil {
		s.results.recordDenied(plan.in)
	}
	r.executeCopies(ctx, s, mapping, plan)
	s.results.mutated, s.results.mutatedFields = checkpoint.Mutated()
	if s.many == nil {
		r.watchConflictingObjects(s.name, mapping, s)
	}
	r.recordMissed(ctx, s, plan)
	if plan.store != nil && src.Template != nil {
		if verifyCheckpoints && s.dryRun == nil {
			r.verifyCheckpoint(ctx, s, mapping, plan)
		}
		s.state.setCheckpoint(checkpoint, plan.store)
	}
	return nil
}

// executeCopies executes the plan, and records the results in those of the reconcile and in the checkpoint.
func (r *ReplikaReconciler) executeCopies(ctx context.Context, s *scope, mapping tracking.Mapping, plan *copyPlan) {
	checkpoint, outOfSync := plan.checkpoint, map[types.NamespacedName]bool{}
	var inFlight []types.NamespacedName
	s.conflicts = false
	r.executePlan(ctx, s, mapping, plan.parts, func(in *planner.Input, result *actionResult) {
		r.recordResult(s, mapping, in, result)
		checkpoint.Record(in, &result.action, result.result.Outcome, result.result.Object)
		s.conflicts = s.conflicts || result.hasForeignObject()
		switch {
		case result.action.InFlight:
			inFlight = append(inFlight, result.action.Key())
		case result.failed() || result.action.Refused:
			outOfSync[result.action.Key()] = true
		case in.CorrectsDrift(&result.action, result.result.Outcome) && r.recordDriftCorrection(s, &result.action):
			checkpoint.RecordContested(result.action.Namespace)
		}
	})
	s.state.setOutOfSync(outOfSync, inFlight)
}

// planInput collects what a plan for all of the Replika's copies of a kind depends on, as if no copies were desired.
func (r *ReplikaReconciler) planInput(ctx context.Context, s *scope, mapping tracking.Mapping) (*planner.Input, error) {
	in := r.newInput(s, mapping)
	return in, r.readAll(ctx, s, mapping, r.copyStore(ctx, mapping), in)
}

// readAll adds all namespaces, copies and claimants to the input. Without a store, the copies are read from the API server.
func (r *ReplikaReconciler) readAll(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore, in *planner.Input,
) (err error) {
	if in.Observed, err = r.listCopies(ctx, s, mapping, store); err != nil {
		return err
	}
	if in.Namespaces, err = r.listNamespaces(ctx); err != nil { // after the copies: a namespace is older than what is in it
		return err
	}
	in.Claimants, err = r.listClaimants(ctx, mapping.Group, in.Name, in.Observed)
	return err
}

// newInput returns the input of a plan for no namespace.
func (r *ReplikaReconciler) newInput(s *scope, mapping tracking.Mapping) *planner.Input {
	now, synchronization := r.Clock.Now(), s.replika.Spec.Synchronization.Time.Duration
	in := &planner.Input{
		Replika:         s.name,
		Kind:            mapping.GroupKind(),
		Name:            s.replika.TargetName(),
		SourceNamespace: s.replika.SourceNamespace(),
		SourceName:      s.sourceNameAmong(mapping.GroupKind()),
		Impersonated:    s.identity != operatorIdentity,
		ConflictPolicy:  s.replika.Spec.Target.ConflictPolicy,
		ImmutableFields: s.replika.Spec.Target.ImmutableFields,
		DeletionPolicy:  s.replika.Spec.DeletionPolicy,
		Contests:        s.state.currentContests(now, synchronization),
		Now:             now,
		Synchronization: synchronization,
		Generation:      s.replika.Generation,
		RetryRefused:    s.anew,
		InFlight:        s.state.currentInFlight(mapping.Resource.GroupResource()),
		OutOfSync:       s.state.currentOutOfSync(),
	}
	in.Sources = s.sourceSelectorAmong(mapping)
	if s.replika.DeletionTimestamp == nil { // the retries of a cleanup are limited by its timeout
		in.Refusals = s.state.currentRefusals(mapping.Resource.GroupResource())
	}
	return in
}

// listCopies returns the copies from the store of their watch or, without one, from the API server.
func (r *ReplikaReconciler) listCopies(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore,
) ([]*planner.Observed, error) {
	name := s.replika.TargetName()
	switch {
	case store == nil && s.many != nil:
		return slices.Clone(s.many.polled[name]), nil
	case store == nil:
		return r.pollCopies(ctx, s, mapping)
	case s.many != nil: // the copies of the other sources have other names
		return r.withoutStaleObjects(ctx, s, mapping, store.ListNamed(name)), nil
	default:
		return r.withoutStaleObjects(ctx, s, mapping, store.ListFor(s.name, name)), nil
	}
}

// pollCopies lists the copies by a request. It returns errListsBusy if too many other Replikas do so.
func (r *ReplikaReconciler) pollCopies(ctx context.Context, s *scope, mapping tracking.Mapping) ([]*planner.Observed, error) {
	if err := r.acquireListPermit(s, mapping.Resource); err != nil {
		return nil, err
	}
	defer s.releaseListPermit(mapping.Resource)
	return r.Lister.List(ctx, mapping.Resource, s.name)
}

// acquireListPermit acquires the permit for a list of the copies, unless the reconcile has it. It returns errListsBusy if there is none left.
func (r *ReplikaReconciler) acquireListPermit(s *scope, resource schema.GroupVersionResource) error {
	if s.listPermits[resource] != nil {
		return nil
	}
	release, acquired := r.Lister.TryAcquire(resource)
	if !acquired {
		return errListsBusy
	}
	if s.listPermits == nil {
		s.listPermits = map[schema.GroupVersionResource]func(){}
	}
	s.listPermits[resource] = release
	return nil
}

// releaseListPermit releases the permit, if the reconcile still has it.
func (s *scope) releaseListPermit(resource schema.GroupVersionResource) {
	if release := s.listPermits[resource]; release != nil {
		release()
		delete(s.listPermits, resource)
	}
}

// listCopiesIn returns those of the copies that are in the namespaces, from the store of their watch.
func (r *ReplikaReconciler) listCopiesIn(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore, namespaces []string,
) []*planner.Observed {
	name := s.replika.TargetName()
	if s.many != nil {
		return r.withoutStaleObjects(ctx, s, mapping, store.ListNamedIn(name, namespaces))
	}
	return r.withoutStaleObjects(ctx, s, mapping, store.ListForIn(s.name, name, namespaces))
}

// withoutStaleObjects drops the stored foreign objects unless they are watched: they may be gone. A create shows whether they
// are still there.
func (r *ReplikaReconciler) withoutStaleObjects(
	ctx context.Context, s *scope, mapping tracking.Mapping, objects []*planner.Observed,
) []*planner.Observed {
	if r.conflictingObjectsWatched(ctx, s, mapping) {
		return objects
	}
	return slices.DeleteFunc(objects, func(object *planner.Observed) bool { return !tracking.IsWatched(object) })
}

// copyStore returns the store of the kind's copies; nil when their watch is not available.
func (r *ReplikaReconciler) copyStore(ctx context.Context, mapping tracking.Mapping) *tracking.CopyStore {
	ctx, cancel := context.WithTimeout(ctx, r.Timeouts.WatchSyncTimeout)
	defer cancel()
	store, _ := r.Watches.Copies(ctx, mapping.Resource)
	return store
}

// listClaimants returns the Replikas that claim objects of the API group with the name, or with that of one of the copies.
func (r *ReplikaReconciler) listClaimants(
	ctx context.Context, group, name string, copies []*planner.Observed,
) (planner.Claimants, error) {
	names := map[string]bool{name: true}
	for _, object := range copies {
		names[object.Name] = true
	}
	var claimants []planner.Claimant
	for name := range names {
		replikas, err := r.listTargeting(ctx, group, name)
		if err != nil {
			return nil, err
		}
		for i := range replikas {
			if claimant, claims := r.claimantOf(&replikas[i], name); claims {
				claimants = append(claimants, claimant)
			}
		}
	}
	return planner.SortClaimants(claimants), nil
}

// actionResult is an action, as it was last planned, and its result.
type actionResult struct {
	action planner.Action
	result executor.Result
}

// failed reports whether the copy is not in sync, other than for a concurrent change, which the next reconcile sees.
func (a *actionResult) failed() bool {
	switch a.result.Outcome {
	case planner.Done, planner.Unchanged, planner.Stale:
		return false
	default:
		return true
	}
}

// hasForeignObject reports whether an object is where the copy should be that only a watch of conflicting objects reports.
func (a *actionResult) hasForeignObject() bool {
	return a.result.Outcome != planner.Done && a.action.Observed != nil && !tracking.IsWatched(a.action.Observed)
}

// executeAction executes an action and what follows from its outcome, until nothing is left to do about the object.
func (r *ReplikaReconciler) executeAction(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore,
	in *planner.Input, namespace planner.Namespace, action planner.Action,
) actionResult {
	namespace.Name = action.Namespace // the list may not have it yet
	for attempt := 1; ; attempt++ {
		result := r.writeAndRecord(ctx, s, mapping, store, in, &action)
		if s.dryRun == nil && action.Type.Writes() && action.Type != planner.LookUp {
			r.metrics.recordWrite(action.Type, result.Outcome)
			ctrl.LoggerFrom(ctx).V(2).Info("Wrote copy", "copy", action.Key(), "action", action.Type, "outcome", result.Outcome)
		}
		next, more := in.NextAction(action, namespace, result.Outcome, result.Object, attempt)
		if !more {
			return actionResult{action: action, result: result}
		}
		action = next
	}
}

// writeAndRecord executes an action, and records the response: for the plan of the next reconcile, it is newer than what a watch
// has delivered, and only it shows whether the API server has changed what was written.
func (r *ReplikaReconciler) writeAndRecord(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore, in *planner.Input, action *planner.Action,
) executor.Result {
	switch {
	case s.dryRun != nil:
		return r.predictAction(ctx, s, mapping, in, action)
	case !action.Type.Writes():
		return r.writeAs(ctx, s, mapping, action)
	case store == nil:
		result := r.writeAs(ctx, s, mapping, action)
		if result.Object != nil {
			r.Lister.RecordWrite(s.name, mapping.Resource, result.Object)
		}
		return result
	}
	endWrite := store.BeginWrite(s.name, action.Key()) // the watch will deliver the response again
	result := r.writeAs(ctx, s, mapping, action)
	object := result.Object
	if action.Type == planner.Release && result.Outcome == planner.Done {
		object = nil // it is no longer a copy
	}
	endWrite(object, object != nil || result.Outcome == planner.Done || result.Outcome == planner.Stale)
	return result
}

// executeAndRecord executes a plan that prunes copies, and adds the results to those of the reconcile.
func (r *ReplikaReconciler) executeAndRecord(
	ctx context.Context, s *scope, mapping tracking.Mapping, plan *parts,
) {
	r.executePlan(ctx, s, mapping, plan, func(in *planner.Input, result *actionResult) { r.recordResult(s, mapping, in, result) })
}

// recordResult adds the result of an action to the results.
func (r *ReplikaReconciler) recordResult(s *scope, mapping tracking.Mapping, in *planner.Input, result *actionResult) {
	action := &result.action
	s.results.add(in, result)
	if s.dryRun != nil {
		return
	}
	if action.RetryAfter > 0 {
		s.results.backOff(action.Key(), r.Clock.Now().Add(action.RetryAfter))
	}
	r.applyResult(mapping, result)
}

// applyResult does what follows from the result of an action for others than the Replika.
func (r *ReplikaReconciler) applyResult(mapping tracking.Mapping, result *actionResult) {
	action := &result.action
	if result.result.Outcome == planner.KindGone {
		r.Mapper.InvalidateGroup(mapping.Group)
	}
	if action.Type == planner.HandOver && result.result.Outcome == planner.Done {
		r.enqueuer.enqueue(action.NewOwner)
	}
}

// recordDriftCorrection counts a repair. A copy that is repaired again and again is contested, and backed off.
func (r *ReplikaReconciler) recordDriftCorrection(s *scope, action *planner.Action) (contested bool) {
	now := r.Clock.Now()
	r.metrics.recordRepair(s.name)
	contest := s.state.recordRepair(action.Key(), now)
	if !contest.Contested() {
		return false
	}
	s.results.backOff(action.Key(), now.Add(contest.Backoff(now, s.replika.Spec.Synchronization.Time.Duration)))
	s.results.markContested(action.Namespace)
	return true
}
