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
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxSlowWritesOfReplika is the maximum number of slow writes of one Replika, for each concurrent write.
const maxSlowWritesOfReplika = 4

// execution is a plan while it is executed.
type execution struct {
	in         *planner.Input
	plan       []planner.Action
	namespaces map[string]planner.Namespace
	resource   schema.GroupResource
	// results are those of the actions that have ended, by the index in the plan. waiting holds the indexes of all others.
	results []actionResult
	waiting map[int]bool
	// ended receives each action that has ended. It has room for all, so it holds pointers.
	ended chan *endedAction
}

type endedAction struct {
	index  int
	result actionResult
}

// executePlan executes the actions of a plan in parallel, and returns their results. It does not wait for requests that take much
// longer than the others, because a webhook hangs for example: they end later, and the Replika is then reconciled again. While
// the execution takes longer than ProgressDelay, the status says so.
func (r *ReplikaReconciler) executePlan(
	ctx context.Context, s *scope, mapping tracking.Mapping, in *planner.Input, plan []planner.Action,
) []actionResult {
	if s.dryRun != nil {
		return r.predictPlan(ctx, s, mapping, in, plan)
	}
	logPlan(ctx, mapping, plan)
	e := newExecution(mapping.Resource.GroupResource(), in, plan)
	started := r.startActions(ctx, s, mapping, e)

	progress := r.Clock.NewTimer(r.Timeouts.ProgressDelay)
	defer progress.Stop()
	slow := r.Clock.NewTimer(r.Timeouts.SlowWriteDelay)
	defer slow.Stop()
	for len(e.waiting) > 0 {
		select {
		case ended := <-e.ended:
			e.record(ended)
			slow.Reset(r.Timeouts.SlowWriteDelay)
		case <-started:
			started = nil
			slow.Reset(r.Timeouts.SlowWriteDelay)
		case <-progress.C():
			if s.many == nil {
				r.patchProgress(ctx, s, reconcilingNamespaces(plan))
			}
		case <-slow.C():
			switch {
			case started != nil:
			case r.Clients.limit.Waits(s.name): // many other Replikas write, too: nothing says that these writes are slow
				slow.Reset(r.Timeouts.SlowWriteDelay)
			default:
				r.leaveInFlight(ctx, s, mapping, e)
			}
		}
	}
	s.state.setRefusals(e.resource, e.refusals(r.Clock.Now()), in.InFlight)
	return e.results
}

func newExecution(resource schema.GroupResource, in *planner.Input, plan []planner.Action) *execution {
	e := &execution{
		in: in, plan: plan, resource: resource,
		namespaces: make(map[string]planner.Namespace, len(in.Namespaces)),
		results:    make([]actionResult, len(plan)),
		waiting:    make(map[int]bool, len(plan)),
		ended:      make(chan *endedAction, len(plan)), // an action never waits for a reader
	}
	for _, namespace := range in.Namespaces {
		e.namespaces[namespace.Name] = namespace
	}
	for i := range plan {
		e.waiting[i] = true
	}
	return e
}

func (e *execution) record(ended *endedAction) {
	e.results[ended.index] = ended.result
	delete(e.waiting, ended.index)
}

// startActions starts the actions in the background, no more than MaxConcurrentWrites at a time, not counting slow ones. The
// returned channel is closed when the last one was started. Every action gets its result, even when ctx ends: its request
// fails then.
func (r *ReplikaReconciler) startActions(ctx context.Context, s *scope, mapping tracking.Mapping, e *execution) <-chan struct{} {
	store := r.copyStore(ctx, mapping)
	writes := max(r.MaxConcurrentWrites, 1)
	limit := executor.NewFairSemaphore(writes, maxSlowWritesOfReplika*writes)
	order := e.order()
	started := make(chan struct{})
	r.detacher.active.Go(func() {
		defer close(started)
		for _, i := range order {
			execute := func() {
				action := e.plan[i]
				e.ended <- &endedAction{i, r.executeAction(ctx, s, mapping, store, e.in, e.namespaces[action.Namespace], action)}
			}
			if !e.plan[i].Type.Writes() {
				execute()
				continue
			}
			release, err := limit.Acquire(context.WithoutCancel(ctx), s.name)
			if err != nil {
				panic(err) // the context does not end
			}
			r.detacher.active.Go(func() {
				defer release()
				execute()
			})
		}
	})
	return started
}

// order returns the indexes of the actions in the order in which they start: those of copies that failed before are the last,
// because they may be slow or fail again.
func (e *execution) order() []int {
	order := make([]int, 0, len(e.plan))
	var last []int
	for i := range e.plan {
		if e.in.OutOfSync[e.plan[i].Key()] {
			last = append(last, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, last...)
}

// leaveInFlight ends the wait for the actions that have not ended. Until they do, the copies are not written again.
func (r *ReplikaReconciler) leaveInFlight(ctx context.Context, s *scope, mapping tracking.Mapping, e *execution) {
	var left []types.NamespacedName
	for i := range e.waiting {
		left = append(left, e.plan[i].Key())
		e.results[i] = actionResult{
			action: e.in.AwaitInFlight(e.plan[i]),
			result: executor.Result{Outcome: planner.Unchanged, Object: e.plan[i].Observed},
		}
	}
	clear(e.waiting)
	s.state.addInFlight(e.resource, left)
	state := s.state
	r.detacher.active.Go(func() {
		for range left {
			r.endInFlight(ctx, s.name, state, mapping, e, <-e.ended)
		}
	})
}

// endInFlight records how an action ended that no reconcile waited for.
func (r *ReplikaReconciler) endInFlight(
	ctx context.Context, name types.NamespacedName, state *replikaState, mapping tracking.Mapping, e *execution, ended *endedAction,
) {
	planned, result := &e.plan[ended.index], &ended.result
	late := &lateResult{
		copied: planned.Key(), endedAt: r.Clock.Now(), synced: !result.failed(),
		repaired: e.in.CorrectsDrift(&result.action, result.result.Outcome),
	}
	late.refusal, late.refused = e.refusal(planned, result, late.endedAt, true)
	state.endInFlight(e.resource, late)
	if late.repaired {
		r.metrics.recordRepair(name)
	}
	if ctx.Err() != nil {
		return
	}
	r.applyResult(mapping, &ended.result)
	r.enqueuer.enqueue(name)
}

// refusals returns the histories of the copies that the API server refuses, after all actions have ended.
func (e *execution) refusals(now time.Time) map[types.NamespacedName]planner.Refusal {
	refusals := map[types.NamespacedName]planner.Refusal{}
	for i := range e.results {
		if refusal, refused := e.refusal(&e.plan[i], &e.results[i], now, false); refused {
			refusals[e.plan[i].Key()] = refusal
		}
	}
	return refusals
}

func (e *execution) refusal(planned *planner.Action, ended *actionResult, now time.Time, late bool) (planner.Refusal, bool) {
	message := truncate(failureMessage(ended.result.Outcome, ended.result.Err))
	return e.in.RefusalAfter(planned, &ended.action, e.namespaces[planned.Namespace], ended.result.Outcome, message, now, late)
}
