package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// finish ends a pass: it says what came of it, in the status only if that is news.
func (p *pass) finish(ctx context.Context) error {
	p.memories.hold(p.name, p.held)
	p.describe()
	p.measure()
	p.tellChanges(ctx)
	p.tellReadiness(ctx)
	return p.writeStatus(ctx)
}

// nextLook tells when to look again although nothing happened: after the synchronization time, or sooner when something
// failed that may be over in a moment. The error is what the pass failed with, if it could not be finished; it goes no
// further, because the queue's own delays know nothing of the synchronization time.
func (p *pass) nextLook(ctx context.Context, err error) (ctrl.Result, error) {
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("the pass could not be finished; trying again", "error", err.Error())
	}
	synchronization := p.replika.Spec.Synchronization.Time.Duration
	deleting := p.replika.DeletionTimestamp != nil
	failed := err != nil || p.report.transient || (p.obstacle != nil && p.obstacle.Transient)
	switch {
	case deleting:
		p.memory.failures++
		synchronization = min(synchronization, deletionRetry)
		return ctrl.Result{RequeueAfter: planner.RetryDelay(p.memory.failures, synchronization)}, nil
	case failed:
		p.memory.failures++
		return ctrl.Result{RequeueAfter: planner.RetryDelay(p.memory.failures, synchronization)}, nil
	case p.replika.Spec.Suspend:
		return ctrl.Result{}, nil // only a change of the spec ends it
	default:
		p.memory.failures = 0
		return ctrl.Result{RequeueAfter: p.untilContestMoves(synchronization)}, nil
	}
}

// untilContestMoves is the synchronization time or, if that is sooner, the time until a contested copy may be repaired
// again, or a contest is over.
func (p *pass) untilContestMoves(synchronization time.Duration) time.Duration {
	next := synchronization
	for _, until := range p.held {
		next = min(next, max(time.Until(until), time.Millisecond))
	}
	for _, contest := range p.memory.contests {
		if end := contest.ExpiresIn(time.Now(), synchronization); contest.Contested() && end > 0 {
			next = min(next, end)
		}
	}
	return next
}

// describe fills the status from what the pass gathered.
func (p *pass) describe() {
	status := &p.replika.Status
	status.ObservedGeneration = p.replika.Generation
	if p.replika.Spec.Suspend && p.replika.DeletionTimestamp == nil {
		p.describeSuspension()
		return
	}
	if p.obstacle == nil || p.report.counted || p.report.failed > 0 {
		status.Copies = &v1alpha1.CopiesStatus{
			Desired: p.report.desired, Synced: p.report.synced, Failed: p.report.failed,
		}
		failures := p.report.sorted()
		status.Failures = failures[:min(len(failures), v1alpha1.MaxFailures)]
	} // else nothing was counted, and what was last counted stands
	switch {
	case p.obstacle != nil:
		p.setReady(metav1.ConditionFalse, p.obstacle.Reason, p.obstacle.Message, p.obstacle.Stalled)
	case p.report.failed > 0:
		p.setReady(metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed, p.summarizeFailures(), false)
	case len(p.report.missing) > 0:
		p.setReady(metav1.ConditionFalse, v1alpha1.ReasonTargetNamespaceNotFound, p.summarizeMissing(), false)
	default:
		p.setReady(metav1.ConditionTrue, v1alpha1.ReasonSynced, p.summarizeSync(), false)
	}
}

// describeSuspension leaves Ready as it was, and says why it no longer moves.
func (p *pass) describeSuspension() {
	before := meta.FindStatusCondition(p.replika.Status.Conditions, v1alpha1.ConditionReady)
	ready := metav1.ConditionUnknown
	if before != nil {
		ready = before.Status
	}
	p.setCondition(v1alpha1.ConditionReady, ready, v1alpha1.ReasonSuspended, "spec.suspend is true: nothing is touched until it is false")
	meta.RemoveStatusCondition(&p.replika.Status.Conditions, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(&p.replika.Status.Conditions, v1alpha1.ConditionStalled)
}

// setReady sets the condition Ready and, as kstatus wants it, Reconciling or Stalled beside it while it is not True.
func (p *pass) setReady(ready metav1.ConditionStatus, reason, message string, stalled bool) {
	p.setCondition(v1alpha1.ConditionReady, ready, reason, message)
	beside, other := v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
	if stalled {
		beside, other = other, beside
	}
	meta.RemoveStatusCondition(&p.replika.Status.Conditions, other)
	if ready == metav1.ConditionTrue {
		meta.RemoveStatusCondition(&p.replika.Status.Conditions, beside)
		return
	}
	p.setCondition(beside, metav1.ConditionTrue, reason, message)
}

func (p *pass) setCondition(conditionType string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&p.replika.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             reason,
		Message:            shorten(message),
		ObservedGeneration: p.replika.Generation,
	})
}

// announceProgress says, in the middle of a long pass, that it is under way. That it could not be said is no reason to
// stop; the pass's end is told in any case.
func (p *pass) announceProgress(ctx context.Context, actions int) {
	ready := metav1.ConditionUnknown
	if meta.IsStatusConditionFalse(p.replika.Status.Conditions, v1alpha1.ConditionReady) {
		ready = metav1.ConditionFalse
	}
	p.replika.Status.ObservedGeneration = p.replika.Generation
	p.setReady(ready, v1alpha1.ReasonProgressing, fmt.Sprintf("working on %d namespaces", actions), false)
	if err := p.writeStatus(ctx); err != nil {
		ctrl.LoggerFrom(ctx).Info("could not announce the progress", "error", err.Error())
	}
}

// writeStatus writes the status if it changed since it was last written.
func (p *pass) writeStatus(ctx context.Context) error {
	if equality.Semantic.DeepEqual(p.before.Status, p.replika.Status) {
		return nil
	}
	status := p.replika.Status.DeepCopy()
	base := p.replika.DeepCopy()
	base.Status = p.before.Status
	if err := p.Status().Patch(ctx, p.replika, client.MergeFrom(base)); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		return fmt.Errorf("write the status of Replika %s: %w", p.name, err)
	}
	p.before.Status = *status
	p.memory.written = p.replika.DeepCopy()
	return nil
}

func (p *pass) summarizeSync() string {
	if p.report.desired == 0 {
		return fmt.Sprintf("no namespace is selected for copies of %s", p.sourceTitle())
	}
	message := fmt.Sprintf("%s is copied to %s", p.sourceTitle(), plural(int(p.report.desired), "namespace"))
	if p.unwatched {
		message += fmt.Sprintf("; the operator may not watch this kind, so changes are noticed every %s only",
			p.replika.Spec.Synchronization.Time.Duration)
	}
	return message
}

func (p *pass) summarizeMissing() string {
	return "waiting for namespaces in spec.target.namespaces.replicateIn that do not exist: " + strings.Join(p.report.missing, ", ")
}

// summarizeFailures names the failing namespaces by reason; each one's message is in the list of failures.
func (p *pass) summarizeFailures() string {
	failures := p.report.sorted()
	named := make([]string, 0, len(failures))
	for _, failure := range failures {
		named = append(named, fmt.Sprintf("%s (%s)", failure.Namespace, failure.Reason))
	}
	return fmt.Sprintf("%s failed, see status.failures: %s", plural(len(failures), "copy"), strings.Join(named, ", "))
}

func (p *pass) sourceTitle() string {
	return fmt.Sprintf("%s %s/%s", p.replika.Spec.Source.Kind, p.replika.SourceNamespace(), p.replika.Spec.Source.Name)
}

// hinderCopies notes that the copies of a kind could not be looked at.
func (p *pass) hinderCopies(kind tracking.Mapping, err error) {
	outcome := executor.Classify(err)
	switch outcome {
	case planner.KindGone:
		p.Kinds.Invalidate(kind.GroupVersionKind)
		p.hinder(obstacle{Reason: v1alpha1.ReasonKindNotFound, Message: fmt.Sprintf("the API server no longer serves %s; waiting for it", kind.Kind)})
	case planner.Forbidden:
		p.hinder(obstacle{Reason: v1alpha1.ReasonForbidden, Message: err.Error()})
	default:
		p.hinder(obstacle{
			Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("the copies among %s cannot be read; trying again", kind.Resource.GroupResource()),
			Transient: outcome.Transient(),
		})
	}
}
