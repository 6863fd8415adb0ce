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
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxSlowWritesOfReplika is the maximum number of slow writes of one Replika, for each concurrent write.
const maxSlowWritesOfReplika = 4

// execution is a plan while it is executed.
type execution struct {
	resource schema.GroupResource
	// store is that of the copies; nil if they are not watched.
	store *tracking.CopyStore
	// limit is that of the Replika's concurrent writes.
	limit *executor.FairSemaphore
	// progress expires when the status says that the execution lasts, with the message.
	progress clock.Timer
	message  string
	// refusals are the histories of the copies that the API server refuses.
	refusals map[types.NamespacedName]planner.Refusal
	// inFlight are the copies whose writes were in flight before, and those whose writes this execution no longer waits for.
	inFlight map[types.NamespacedName]bool
}

// partExecution is a part of a plan while it is executed.
type partExecution struct {
	*execution
	in         *planner.Input
	plan       []planner.Action
	namespaces map[string]planner.Namespace
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

// executePlan executes the parts of a plan one after another, and calls record with each result. It does not wait for requests that
// take much longer than the others, because a webhook hangs for example: they end later, and the Replika is then reconciled again.
// While the execution takes longer than ProgressDelay, the status says so.
func (r *ReplikaReconciler) executePlan(
	ctx context.Context, s *scope, mapping tracking.Mapping, plan *parts, record func(*planner.Input, *actionResult),
) {
	if s.dryRun != nil {
		r.predictPlan(ctx, s, mapping, plan, record)
		return
	}
	plan.log(ctx, mapping)
	writes := max(r.MaxConcurrentWrites, 1)
	e := &execution{
		resource: mapping.Resource.GroupResource(),
		store:    r.copyStore(ctx, mapping),
		limit:    r.Clients.limit.Within(writes, maxSlowWritesOfReplika*writes),
		progress: r.Clock.NewTimer(r.Timeouts.ProgressDelay),
		message:  "reconciling " + plural(plan.namespaces, "namespace"),
		refusals: map[types.NamespacedName]planner.Refusal{},
		inFlight: maps.Clone(plan.inputs[0].InFlight),
	}
	defer e.progress.Stop()
	for in, actions := range plan.each() {
		part := newPartExecution(e, in, actions)
		r.executePart(ctx, s, mapping, part)
		part.recordRefusals(r.Clock.Now())
		for i := range part.results {
			record(in, &part.results[i])
		}
		if len(plan.inputs) > 1 {
			clear(in.Observed) // the writes have replaced them
		}
	}
	s.state.setRefusals(e.resource, e.refusals, e.inFlight)
}

func newPartExecution(e *execution, in *planner.Input, plan []planner.Action) *partExecution {
	p := &partExecution{
		execution: e, in: in, plan: plan,
		namespaces: in.NamespacesByName(),
		results:    make([]actionResult, len(plan)),
		waiting:    make(map[int]bool, len(plan)),
		ended:      make(chan *endedAction, len(plan)), // an action never waits for a reader
	}
	for i := range plan {
		p.waiting[i] = true
	}
	return p
}

// executePart executes the actions of a part in parallel, until all have their results.
func (r *ReplikaReconciler) executePart(ctx context.Context, s *scope, mapping tracking.Mapping, p *partExecution) {
	started := r.startActions(ctx, s, mapping, p)
	slow := r.Clock.NewTimer(r.Timeouts.SlowWriteDelay)
	defer slow.Stop()
	for len(p.waiting) > 0 {
		select {
		case ended := <-p.ended:
			p.record(ended)
			slow.Reset(r.Timeouts.SlowWriteDelay)
		case <-started:
			started = nil
			slow.Reset(r.Timeouts.SlowWriteDelay)
		case <-p.progress.C():
			if s.many == nil {
				r.patchProgress(ctx, s, p.message)
			}
		case <-slow.C():
			switch {
			case started != nil:
			case r.Clients.limit.Waits(s.name): // many other Replikas write, too: nothing says that these writes are slow
				slow.Reset(r.Timeouts.SlowWriteDelay)
			default:
				r.leaveInFlight(ctx, s, mapping, p)
			}
		}
	}
}

func (p *partExecution) record(ended *endedAction) {
	p.results[ended.index] = ended.result
	delete(p.waiting, ended.index)
}

// startActions starts the actions in the background, no more than MaxConcurrentWrites at a time, not counting slow ones. The
// returned channel is closed when the last one was started. Every action gets its result, even when ctx ends: its request
// fails then.
func (r *ReplikaReconciler) startActions(ctx context.Context, s *scope, mapping tracking.Mapping, p *partExecution) <-chan struct{} {
	order := p.order()
	started := make(chan struct{})
	r.detacher.active.Go(func() {
		defer close(started)
		for _, i := range order {
			execute := func() {
				action := p.plan[i]
				p.ended <- &endedAction{i, r.executeAction(ctx, s, mapping, p.store, p.in, p.namespaces[action.Namespace], action)}
			}
			if !p.plan[i].Type.Writes() {
				execute()
				continue
			}
			release, err := p.limit.Acquire(context.WithoutCancel(ctx), s.name)
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
func (p *partExecution) order() []int {
	order := make([]int, 0, len(p.plan))
	var last []int
	for i := range p.plan {
		if p.in.OutOfSync[p.plan[i].Key()] {
			last = append(last, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, last...)
}

// leaveInFlight ends the wait for the actions that have not ended. Until they do, the copies are not written again.
func (r *ReplikaReconciler) leaveInFlight(ctx context.Context, s *scope, mapping tracking.Mapping, p *partExecution) {
	var left []types.NamespacedName
	for i := range p.waiting {
		left = append(left, p.plan[i].Key())
		p.inFlight[p.plan[i].Key()] = true
		p.results[i] = actionResult{
			action: p.in.AwaitInFlight(p.plan[i]),
			result: executor.Result{Outcome: planner.Unchanged, Object: p.plan[i].Observed},
		}
	}
	clear(p.waiting)
	s.state.addInFlight(p.resource, left)
	state := s.state
	r.detacher.active.Go(func() {
		for range left {
			r.endInFlight(ctx, s.name, state, mapping, p, <-p.ended)
		}
	})
}

// endInFlight records how an action ended that no reconcile waited for.
func (r *ReplikaReconciler) endInFlight(
	ctx context.Context, name types.NamespacedName, state *replikaState, mapping tracking.Mapping, p *partExecution, ended *endedAction,
) {
	planned, result := &p.plan[ended.index], &ended.result
	late := &lateResult{
		copied: planned.Key(), endedAt: r.Clock.Now(), synced: !result.failed(),
		repaired: p.in.CorrectsDrift(&result.action, result.result.Outcome),
	}
	late.refusal, late.refused = p.refusal(planned, result, late.endedAt, true)
	state.endInFlight(p.resource, late)
	if late.repaired {
		r.metrics.recordRepair(name)
	}
	if ctx.Err() != nil {
		return
	}
	r.applyResult(mapping, &ended.result)
	r.enqueuer.enqueue(name)
}

// recordRefusals adds the histories of the copies that the API server refuses, after all actions have ended.
func (p *partExecution) recordRefusals(now time.Time) {
	for i := range p.results {
		if refusal, refused := p.refusal(&p.plan[i], &p.results[i], now, false); refused {
			p.refusals[p.plan[i].Key()] = refusal
		}
	}
}

func (p *partExecution) refusal(planned *planner.Action, ended *actionResult, now time.Time, late bool) (planner.Refusal, bool) {
	message := truncate(failureMessage(ended.result.Outcome, ended.result.Err))
	return p.in.RefusalAfter(planned, &ended.action, p.namespaces[planned.Namespace], ended.result.Outcome, message, now, late)
}
