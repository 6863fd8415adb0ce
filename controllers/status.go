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
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// dropFormerSource removes what the status says of a source that the spec no longer names: nothing of it applies to the new one,
// which may not exist. The copies of a suspended Replika stay, and their counts with them.
func (s *scope) dropFormerSource() {
	same, known := s.state.statusIsOf(sourceIdentityOf(s.replika))
	if !known {
		// Before this operator started, any part of the spec can have changed.
		same = s.replika.Status.ObservedGeneration == s.replika.Generation
	}
	if same {
		return
	}
	s.replika.Status.Source, s.replika.Status.Sources = nil, nil
	if !s.suspended() {
		s.replika.Status.Copies, s.replika.Status.Failures = nil, nil
	}
}

// setStatus computes the status from what the reconcile read and did.
func (r *ReplikaReconciler) setStatus(s *scope) {
	status, results := &s.replika.Status, &s.results
	status.ObservedGeneration = s.replika.Generation
	if s.anew {
		status.LastHandledRequest = v1alpha1.HandledRequest(s.replika.Annotations[v1alpha1.AnnotationRequestedAt])
	}
	status.Planned = nil
	if s.suspended() && s.dryRun == nil {
		s.setSuspended()
		return
	}
	results.failPending()
	if s.notReady == nil || results.counted || results.failed > 0 || len(results.refused) > 0 {
		status.Copies = &v1alpha1.CopiesStatus{Desired: results.desired, Synced: results.synced, Failed: results.failed}
		failures := results.sortedFailures()
		status.Failures = failures[:min(len(failures), v1alpha1.MaxFailures)]
	} // else nothing was counted, and the last counts still apply
	switch {
	case s.dryRun != nil:
		s.setDryRun()
	case s.notReady != nil:
		s.setReady(metav1.ConditionFalse, s.notReady.Reason, s.notReady.Message, s.notReady.Stalled)
	case results.failed > 0, len(results.refused) > 0:
		s.setReady(metav1.ConditionFalse, v1alpha1.ReasonCopiesFailed, s.failuresMessage(), false)
	case len(results.pending) > 0:
		s.setReady(s.readyInProgress(), v1alpha1.ReasonProgressing, s.pendingMessage(), false)
	case len(results.missingNamespaces) > 0:
		s.setReady(metav1.ConditionFalse, v1alpha1.ReasonTargetNamespaceNotFound,
			"namespaces in spec.target.namespaces.replicateIn not found: "+strings.Join(results.missingNamespaces, ", "), false)
	default:
		s.setReady(metav1.ConditionTrue, v1alpha1.ReasonSynced, s.syncedMessage(), false)
	}
}

// setSuspended keeps the value of Ready, and reports why it does not change. The counts of the copies stay as they were, too.
func (s *scope) setSuspended() {
	ready := metav1.ConditionUnknown
	if condition := meta.FindStatusCondition(s.replika.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		ready = condition.Status
	}
	message := "reconciliation is suspended (spec.suspend)"
	if s.results.failed > 0 {
		message += "; copies without consent could not be removed: " + s.results.failedNamespaces()
	}
	s.setCondition(v1alpha1.ConditionReady, ready, v1alpha1.ReasonSuspended, message)
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, v1alpha1.ConditionStalled)
}

// setReady sets the condition Ready and, by the conventions of kstatus, either Reconciling or Stalled while it is not True.
func (s *scope) setReady(ready metav1.ConditionStatus, reason, message string, stalled bool) {
	s.setCondition(v1alpha1.ConditionReady, ready, reason, message)
	companion, other := v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
	if stalled {
		companion, other = other, companion
	}
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, other)
	if ready == metav1.ConditionTrue {
		meta.RemoveStatusCondition(&s.replika.Status.Conditions, companion)
		return
	}
	s.setCondition(companion, metav1.ConditionTrue, reason, message)
}

// formerCondition is the only condition of the releases before 0.5.0.
const formerCondition = "SourceSynced"

func (s *scope) setCondition(conditionType string, status metav1.ConditionStatus, reason, message string) {
	meta.RemoveStatusCondition(&s.replika.Status.Conditions, formerCondition)
	meta.SetStatusCondition(&s.replika.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		Reason:             reason,
		Message:            truncate(message),
		ObservedGeneration: s.replika.Generation,
	})
}

// patchProgress reports, during a long reconcile, that it is in progress. observedGeneration stays: the reconcile of this
// generation is not finished. An error is only logged, because the end of the reconcile is reported in any case.
func (r *ReplikaReconciler) patchProgress(ctx context.Context, s *scope, message string) {
	if s.suspended() || s.dryRun != nil {
		return
	}
	s.setReady(s.readyInProgress(), v1alpha1.ReasonProgressing, message, false)
	if err := r.patchStatus(ctx, s); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to update status with progress")
	}
}

// readyInProgress returns the value of Ready while the result is not known: it does not become False for that.
func (s *scope) readyInProgress() metav1.ConditionStatus {
	if meta.IsStatusConditionFalse(s.replika.Status.Conditions, v1alpha1.ConditionReady) {
		return metav1.ConditionFalse
	}
	return metav1.ConditionUnknown
}

// patchStatus writes the status if it changed since it was last written. The response is not read back: it may have a newer
// spec, which this reconcile did not see, and other goroutines read the Replika during a patch of the progress.
func (r *ReplikaReconciler) patchStatus(ctx context.Context, s *scope) error {
	s.replika.Status.Inventory = resourceNames(s.state.currentInventory())
	if equality.Semantic.DeepEqual(s.original.Status, s.replika.Status) {
		return nil
	}
	patched, base := s.replika.DeepCopy(), s.replika.DeepCopy()
	base.Status = s.original.Status
	if err := r.Status().Patch(ctx, patched, client.MergeFrom(base)); err != nil {
		return client.IgnoreNotFound(err)
	}
	s.original.Status = *s.replika.Status.DeepCopy()
	s.state.recordWrite(patched)
	return nil
}

func (s *scope) syncedMessage() string {
	if s.results.desired == 0 {
		return "no namespaces are selected for " + s.sourceTitle()
	}
	message := fmt.Sprintf("%s is in sync in %s", s.sourceTitle(), plural(int(s.results.desired), "namespace"))
	if sources := s.replika.Status.Sources; sources != nil {
		message = fmt.Sprintf("%s of %s (kind %s, namespace %s) in sync%s", plural(int(s.results.desired), "copy"),
			plural(int(sources.Matched), "source"), s.replika.Spec.Source.Kind, s.replika.SourceNamespace(), missingSources(s.results.missingSources))
	}
	if s.results.mutated > 0 {
		message += fmt.Sprintf("; the API server, a webhook or a policy changes %s of %s",
			strings.Join(s.results.mutatedFields, ", "), plural(s.results.mutated, "copy"))
	}
	if reason := s.pollingReason(); reason != "" {
		message += fmt.Sprintf("; %s, so changes are detected only every %s", reason, s.replika.Spec.Synchronization.Time.Duration)
	}
	if synchronization := s.replika.Spec.Synchronization.Time; synchronization.Invalid != "" {
		message += fmt.Sprintf("; spec.synchronization.time %q is not a duration from 1s to 8760h: %s is used", synchronization.Invalid, synchronization.Duration)
	}
	return message
}

// pendingMessage names the namespaces in which a write has not been answered yet.
func (s *scope) pendingMessage() string {
	var names []string
	for _, pending := range s.results.pending {
		if pending.in.Reveals(pending.action, pending.action.Reason) {
			names = append(names, pending.action.Namespace)
		}
	}
	message := fmt.Sprintf("waiting for %s: the API server, or a webhook it calls, has not responded yet",
		plural(len(s.results.pending), "copy"))
	if len(names) > 0 {
		slices.Sort(names)
		message += " in " + strings.Join(slices.Compact(names), ", ")
	}
	return message
}

// failuresMessage names the failing namespaces by reason. The list of failures has their messages.
func (s *scope) failuresMessage() string {
	var parts []string
	if refused := len(s.results.refused); refused > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s cannot be copied", refused, plural(int(s.replika.Status.Sources.Matched), "source")))
	}
	if s.results.failed > 0 {
		parts = append(parts, plural(int(s.results.failed), "copy")+" failed to sync")
	}
	return fmt.Sprintf("%s, see status.failures: %s", strings.Join(parts, " and "), s.results.failedNamespaces())
}
