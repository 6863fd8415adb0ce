package controllers

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// moment is how long a pass may take before the status says that it is under way.
const moment = 2 * time.Second

// watchPatience is how long a pass waits for a watch that has just been asked for before it goes on without.
const watchPatience = 10 * time.Second

// replicate plans and carries out what makes the copies of the kind equal to the template.
func (p *pass) replicate(ctx context.Context, kind tracking.Mapping, template *planner.Template) {
	input, err := p.input(ctx, kind)
	if err != nil {
		p.hinderCopies(kind, err)
		return
	}
	input.Template = template
	if p.unwanted {
		p.report.counted = true // no copy is desired any more, so what was last counted no longer stands
	} else {
		if input.Selection, err = planner.NewSelection(p.replika); err != nil {
			p.hinder(obstacle{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%s; correct it", err)})
			return
		}
		p.report.missing = input.Selection.MissingNames(input.Namespaces)
	}
	if template != nil {
		p.report.deny(input)
	}
	p.memory.forgetContests(input.Synchronization)
	p.carryOut(ctx, kind, input)
	p.memory.behind = p.behind
	p.watchObstacles(ctx, kind)
}

// input gathers what a plan for the Replika's copies of the kind depends on, as if it wanted none.
func (p *pass) input(ctx context.Context, kind tracking.Mapping) (*planner.Input, error) {
	namespaces, err := p.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	rivals, err := p.rivals(ctx)
	if err != nil {
		return nil, err
	}
	copies, err := p.observe(ctx, kind)
	if err != nil {
		return nil, err
	}
	return &planner.Input{
		Replika:           p.name,
		Kind:              kind.GroupKind(),
		Name:              p.replika.TargetName(),
		SourceNamespace:   p.replika.SourceNamespace(),
		ConflictPolicy:    p.replika.Spec.Target.ConflictPolicy,
		ImmutableFields:   p.replika.Spec.Target.ImmutableFields,
		DeletionPolicy:    p.replika.Spec.DeletionPolicy,
		Namespaces:        namespaces,
		Observed:          copies,
		Claimants:         rivals,
		TemplateUnchanged: p.templateKnown,
		Contests:          p.memory.contests,
		Now:               time.Now(),
		Synchronization:   p.replika.Spec.Synchronization.Time.Duration,
	}, nil
}

// observe tells which copies stand where: as their watch tells or, when that cannot be had, by a list.
func (p *pass) observe(ctx context.Context, kind tracking.Mapping) ([]*planner.Observed, error) {
	if view := p.view(ctx, kind); view != nil {
		p.lost = view.PopRemovedByOthers(p.name) // first: what is lost from now on is for the next pass
		return view.ListFor(p.name, p.replika.TargetName()), nil
	}
	return p.Reader.List(ctx, kind.Resource, p.name.Name)
}

// view is what the watch tells of the kind's copies; nil when it cannot be had.
func (p *pass) view(ctx context.Context, kind tracking.Mapping) *tracking.CopyStore {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	view, _ := p.Watches.Copies(ctx, kind.Resource)
	return view
}

// rivals are all Replikas that claim objects.
func (p *pass) rivals(ctx context.Context) (planner.Claimants, error) {
	list := &v1alpha1.ReplikaList{}
	if err := p.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the Replikas: %w", err)
	}
	var claimants []planner.Claimant
	for i := range list.Items {
		if claimant, claims := planner.NewClaimant(&list.Items[i]); claims {
			claimants = append(claimants, claimant)
		}
	}
	return planner.SortClaimants(claimants), nil
}

// carryOut carries the plan out, in parallel, and reports what came of it. A pass that takes longer than a moment says so
// in the status while it goes on.
func (p *pass) carryOut(ctx context.Context, kind tracking.Mapping, input *planner.Input) {
	namespaces := make(map[string]planner.Namespace, len(input.Namespaces))
	for _, namespace := range input.Namespaces {
		namespaces[namespace.Name] = namespace
	}
	view := p.view(ctx, kind)
	plan := planner.Plan(input)
	results := make([]settled, len(plan))

	group := &errgroup.Group{}
	group.SetLimit(max(p.MaxConcurrentWrites, 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range plan {
			group.Go(func() error {
				results[i] = p.settle(ctx, kind, view, input, namespaces[plan[i].Namespace], plan[i])
				return nil
			})
		}
		_ = group.Wait() // no function of the group returns an error
	}()

	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		p.announceProgress(ctx, len(plan))
		<-done
	}
	for i := range results {
		p.tally(&results[i])
	}
}

// tally reports an action that is over. One that repaired a copy counts as a round of its contest.
func (p *pass) tally(over *settled) {
	action := &over.action
	if action.RetryAfter > 0 {
		p.leaveAlone(action.Key(), action.RetryAfter)
	}
	p.report.count(over)
	if over.result.Outcome == planner.KindGone {
		p.Kinds.InvalidateGroup(p.sourceKind().Group)
	}
	if over.result.Outcome != planner.Done {
		p.fallBehind(over)
		return
	}
	if action.Type == planner.HandOver {
		p.wake(action.NewOwner)
	}
	if !p.isRepair(action) {
		return
	}
	repairsMetric.WithLabelValues(p.name.Namespace, p.name.Name).Inc()
	if contest := p.memory.repaired(action.Key()); contest.Contested() {
		p.leaveAlone(action.Key(), contest.Backoff(time.Now(), p.replika.Spec.Synchronization.Time.Duration))
		p.report.contested(action.Namespace)
	}
}

// fallBehind notes a copy that could not be brought in line, unless it was for somebody who changes it at the same time.
func (p *pass) fallBehind(over *settled) {
	switch over.result.Outcome {
	case planner.Unchanged, planner.Stale:
	default:
		if p.behind == nil {
			p.behind = map[types.NamespacedName]bool{}
		}
		p.behind[over.action.Key()] = true
	}
}

// isRepair tells whether the action put right what somebody else did to a copy.
func (p *pass) isRepair(action *planner.Action) bool {
	if !p.templateKnown || action.Template == nil || p.memory.behind[action.Key()] {
		return false
	}
	if action.Observed != nil && action.Observed.OwnedBy(p.name) {
		return true
	}
	_, again := p.memory.contests[action.Key()]
	return again || p.lost[action.Key()]
}

// leaveAlone notes that a contested copy is not looked at for so long.
func (p *pass) leaveAlone(contested types.NamespacedName, hold time.Duration) {
	if p.held == nil {
		p.held = map[types.NamespacedName]time.Time{}
	}
	p.held[contested] = time.Now().Add(hold)
}

// settled is an action that is over, as it was last planned, and what came of it.
type settled struct {
	action planner.Action
	result executor.Result
}

// settle carries one action out and what follows from its outcome, until nothing more is to be done about the object.
func (p *pass) settle(
	ctx context.Context, kind tracking.Mapping, view *tracking.CopyStore,
	input *planner.Input, namespace planner.Namespace, action planner.Action,
) settled {
	namespace.Name = action.Namespace // one that is not in the list has no more to tell
	for attempt := 1; ; attempt++ {
		result := p.do(ctx, kind, view, &action)
		if action.Type.Writes() {
			measureWrite(action.Type, result)
		}
		next, more := input.NextAction(action, namespace, result.Outcome, result.Object, attempt)
		if !more {
			return settled{action: action, result: result}
		}
		action = next
	}
}

// do sends what the action needs, if anything, and lays the answer over what the watch told.
func (p *pass) do(ctx context.Context, kind tracking.Mapping, view *tracking.CopyStore, action *planner.Action) executor.Result {
	if view == nil || !action.Type.Writes() {
		return p.send(ctx, kind, action)
	}
	end := view.BeginWrite(action.Key())
	result := p.send(ctx, kind, action)
	now := result.Object
	if action.Type == planner.Release && result.Outcome == planner.Done {
		now = nil // it is nobody's copy any more
	}
	end(now, result.Outcome == planner.Done || result.Outcome == planner.Stale)
	return result
}
