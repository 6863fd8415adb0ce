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
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// reconcileCopies plans and executes what brings the copies in sync with the template.
func (r *ReplikaReconciler) reconcileCopies(ctx context.Context, s *scope, mapping tracking.Mapping, src source) error {
	in, removed, err := r.planInput(ctx, s, mapping)
	if err != nil {
		return r.copiesNotReady(mapping, err)
	}
	in.Template, in.TemplateUnchanged = src.Template, src.Unchanged
	if src.NoneDesired {
		s.results.counted = true // nothing is desired, so the last counts no longer apply
	} else {
		if in.Selection, err = r.selections.compile(s.replika); err != nil {
			return &notReadyError{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%s; correct it", err)}
		}
		s.results.missingNamespaces = in.Selection.MissingNames(in.Namespaces)
	}
	if src.Template != nil {
		s.results.recordDenied(in)
	}
	outOfSync := map[types.NamespacedName]bool{}
	for _, result := range r.executePlan(ctx, s, mapping, in, planner.Plan(in)) {
		r.recordResult(s, mapping, in, &result)
		if result.failed() || result.action.Refused {
			outOfSync[result.action.Key()] = true
			continue
		}
		if s.isDriftCorrection(&result, in, removed) {
			r.recordDriftCorrection(s, &result.action)
		}
	}
	s.state.setOutOfSync(outOfSync)
	r.watchConflictingObjects(ctx, s, mapping)
	return nil
}

// planInput collects what a plan for the Replika's copies of a kind depends on, as if no copies were desired. It returns, too,
// which copies another client removed since the last call.
func (r *ReplikaReconciler) planInput(
	ctx context.Context, s *scope, mapping tracking.Mapping,
) (in *planner.Input, removed map[types.NamespacedName]bool, err error) {
	namespaces, err := r.listNamespaces(ctx)
	if err != nil {
		return nil, nil, err
	}
	claimants, err := r.listClaimants(ctx)
	if err != nil {
		return nil, nil, err
	}
	copies, removed, err := r.listCopies(ctx, s, mapping)
	if err != nil {
		return nil, nil, err
	}
	now, synchronization := r.Clock.Now(), s.replika.Spec.Synchronization.Time.Duration
	in = &planner.Input{
		Replika:         s.name,
		Kind:            mapping.GroupKind(),
		Name:            s.replika.TargetName(),
		SourceNamespace: s.replika.SourceNamespace(),
		Impersonated:    s.identity != operatorIdentity,
		ConflictPolicy:  s.replika.Spec.Target.ConflictPolicy,
		ImmutableFields: s.replika.Spec.Target.ImmutableFields,
		DeletionPolicy:  s.replika.Spec.DeletionPolicy,
		Namespaces:      namespaces,
		Observed:        copies,
		Claimants:       claimants,
		Contests:        s.state.currentContests(now, synchronization),
		Now:             now,
		Synchronization: synchronization,
		Generation:      s.replika.Generation,
	}
	if s.replika.DeletionTimestamp == nil { // the retries of a cleanup are limited by its timeout
		in.Refusals = s.state.currentRefusals(mapping.Resource.GroupResource())
	}
	return in, removed, nil
}

// listCopies returns the copies from the store of their watch or, without a watch, from the API server.
func (r *ReplikaReconciler) listCopies(
	ctx context.Context, s *scope, mapping tracking.Mapping,
) (copies []*planner.Observed, removed map[types.NamespacedName]bool, err error) {
	store := r.copyStore(ctx, mapping)
	if store == nil {
		copies, err = r.Lister.List(ctx, mapping.Resource, s.name.Name)
		return copies, nil, err
	}
	removed = store.PopRemovedByOthers(s.name) // first: what is removed from now on is for the next reconcile
	return store.ListFor(s.name, s.replika.TargetName()), removed, nil
}

// copyStore returns the store of the kind's copies; nil when their watch is not available.
func (r *ReplikaReconciler) copyStore(ctx context.Context, mapping tracking.Mapping) *tracking.CopyStore {
	ctx, cancel := context.WithTimeout(ctx, r.Timeouts.WatchSyncTimeout)
	defer cancel()
	store, _ := r.Watches.Copies(ctx, mapping.Resource)
	return store
}

// listClaimants returns all Replikas that claim objects.
func (r *ReplikaReconciler) listClaimants(ctx context.Context) (planner.Claimants, error) {
	list := &v1alpha1.ReplikaList{}
	if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Replikas: %w", err)
	}
	var claimants []planner.Claimant
	for i := range list.Items {
		if claimant, claims := planner.NewClaimant(&list.Items[i], r.selections.compile); claims {
			claimants = append(claimants, claimant)
		}
	}
	return planner.SortClaimants(claimants), nil
}

// executePlan executes the actions of a plan in parallel. While it takes longer than ProgressDelay, the status says so.
func (r *ReplikaReconciler) executePlan(
	ctx context.Context, s *scope, mapping tracking.Mapping, in *planner.Input, plan []planner.Action,
) []actionResult {
	logPlan(ctx, mapping, plan)
	store := r.copyStore(ctx, mapping)
	namespaces := make(map[string]planner.Namespace, len(in.Namespaces))
	for _, namespace := range in.Namespaces {
		namespaces[namespace.Name] = namespace
	}
	results := make([]actionResult, len(plan))
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Every action gets its result, even when ctx ends: its request fails then.
		workqueue.ParallelizeUntil(context.WithoutCancel(ctx), max(r.MaxConcurrentWrites, 1), len(plan), func(i int) {
			results[i] = r.executeAction(ctx, s, mapping, store, in, namespaces[plan[i].Namespace], plan[i])
		})
	}()

	timer := r.Clock.NewTimer(r.Timeouts.ProgressDelay)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C():
		r.patchProgress(ctx, s, plan)
		<-done
	}
	s.state.setRefusals(mapping.Resource.GroupResource(), refusalsAfter(in, namespaces, plan, results, r.Clock.Now()))
	return results
}

// refusalsAfter returns the histories of the copies that the API server refuses, after a plan with these results.
func refusalsAfter(
	in *planner.Input, namespaces map[string]planner.Namespace, plan []planner.Action, results []actionResult, now time.Time,
) map[types.NamespacedName]planner.Refusal {
	refusals := map[types.NamespacedName]planner.Refusal{}
	for i := range results {
		last, result := &results[i].action, &results[i].result
		message := truncate(failureMessage(result.Outcome, result.Err))
		if refusal, refused := in.RefusalAfter(&plan[i], last, namespaces[last.Namespace], result.Outcome, message, now); refused {
			refusals[last.Key()] = refusal
		}
	}
	return refusals
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

// executeAction executes an action and what follows from its outcome, until nothing is left to do about the object.
func (r *ReplikaReconciler) executeAction(
	ctx context.Context, s *scope, mapping tracking.Mapping, store *tracking.CopyStore,
	in *planner.Input, namespace planner.Namespace, action planner.Action,
) actionResult {
	namespace.Name = action.Namespace // the list may not have it yet
	for attempt := 1; ; attempt++ {
		var result executor.Result
		if store == nil || !action.Type.Writes() {
			result = r.writeAs(ctx, s, mapping, &action)
		} else {
			// The response is newer than what the watch delivered, and the watch will deliver it again.
			endWrite := store.BeginWrite(action.Key())
			result = r.writeAs(ctx, s, mapping, &action)
			object := result.Object
			if action.Type == planner.Release && result.Outcome == planner.Done {
				object = nil // it is no longer a copy
			}
			endWrite(object, result.Outcome == planner.Done || result.Outcome == planner.Stale)
		}
		if action.Type.Writes() && action.Type != planner.LookUp {
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

// recordResult adds the result of an action to the results.
func (r *ReplikaReconciler) recordResult(s *scope, mapping tracking.Mapping, in *planner.Input, result *actionResult) {
	action := &result.action
	s.results.add(in, result)
	if action.RetryAfter > 0 {
		s.results.backOff(action.Key(), r.Clock.Now().Add(action.RetryAfter))
	}
	if result.result.Outcome == planner.KindGone {
		r.Mapper.InvalidateGroup(mapping.Group)
	}
	if action.Type == planner.HandOver && result.result.Outcome == planner.Done {
		r.enqueuer.enqueue(action.NewOwner)
	}
}

// isDriftCorrection reports whether the action repaired what another client did to a copy.
func (s *scope) isDriftCorrection(result *actionResult, in *planner.Input, removed map[types.NamespacedName]bool) bool {
	action, key := &result.action, result.action.Key()
	if result.result.Outcome != planner.Done || !in.TemplateUnchanged || action.Template == nil || s.state.isOutOfSync(key) {
		return false
	}
	if action.Observed != nil && action.Observed.OwnedBy(s.name) {
		return true
	}
	_, repairedBefore := in.Contests[key]
	return repairedBefore || removed[key]
}

// recordDriftCorrection counts a repair. A copy that is repaired again and again is contested, and backed off.
func (r *ReplikaReconciler) recordDriftCorrection(s *scope, action *planner.Action) {
	now := r.Clock.Now()
	r.metrics.recordRepair(s.name)
	if contest := s.state.recordRepair(action.Key(), now); contest.Contested() {
		s.results.backOff(action.Key(), now.Add(contest.Backoff(now, s.replika.Spec.Synchronization.Time.Duration)))
		s.results.markContested(action.Namespace)
	}
}

// logPlan logs how many actions of each type a plan has.
func logPlan(ctx context.Context, mapping tracking.Mapping, plan []planner.Action) {
	log := ctrl.LoggerFrom(ctx).V(1)
	if len(plan) == 0 || !log.Enabled() {
		return
	}
	counts := map[planner.ActionType]int{}
	for i := range plan {
		counts[plan[i].Type]++
	}
	log.Info("Planned actions", "resource", mapping.Resource.GroupResource(), "actions", counts)
}
