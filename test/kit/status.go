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

package kit

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// longestMessage is the limit of an event's note. Conditions keep to the same limit.
const longestMessage = 1024

// abnormalConditions maps the reason of Ready to the condition that must be true beside it; "" for none.
var abnormalConditions = map[string]string{
	v1alpha1.ReasonSynced:                  "",
	v1alpha1.ReasonSuspended:               "",
	v1alpha1.ReasonDryRun:                  "",
	v1alpha1.ReasonProgressing:             v1alpha1.ConditionReconciling,
	v1alpha1.ReasonSourceNotFound:          v1alpha1.ConditionReconciling,
	v1alpha1.ReasonKeyNotFound:             v1alpha1.ConditionReconciling,
	v1alpha1.ReasonKindNotFound:            v1alpha1.ConditionReconciling,
	v1alpha1.ReasonTargetNamespaceNotFound: v1alpha1.ConditionReconciling,
	v1alpha1.ReasonForbidden:               v1alpha1.ConditionReconciling,
	v1alpha1.ReasonCopiesFailed:            v1alpha1.ConditionReconciling,
	v1alpha1.ReasonSourceNotAllowed:        v1alpha1.ConditionStalled,
	v1alpha1.ReasonKeyConflict:             v1alpha1.ConditionStalled,
	v1alpha1.ReasonTooMany:                 v1alpha1.ConditionStalled,
	v1alpha1.ReasonServiceAccountRequired:  v1alpha1.ConditionStalled,
	v1alpha1.ReasonKindNotAllowed:          v1alpha1.ConditionStalled,
}

var failureReasons = []string{
	v1alpha1.FailureConflict, v1alpha1.FailureForbidden, v1alpha1.FailureQuotaExceeded, v1alpha1.FailureImmutable,
	v1alpha1.FailureRejected, v1alpha1.FailureContested, v1alpha1.FailureUnavailable,
}

// refusalReasons are those of one of many sources that cannot be copied.
var refusalReasons = []string{
	v1alpha1.ReasonSourceNotAllowed, v1alpha1.ReasonKeyNotFound, v1alpha1.ReasonKeyConflict, v1alpha1.ReasonForbidden,
	v1alpha1.FailureUnavailable,
}

// Ready returns the Replika's condition Ready. Before the first status it is empty, so that a test that polls can read it.
func Ready(replika *v1alpha1.Replika) *metav1.Condition {
	if ready := Condition(replika, v1alpha1.ConditionReady); ready != nil {
		return ready
	}
	return &metav1.Condition{}
}

// Condition returns the Replika's condition of that type; nil for none.
func Condition(replika *v1alpha1.Replika, conditionType string) *metav1.Condition {
	return meta.FindStatusCondition(replika.Status.Conditions, conditionType)
}

// Failures returns the reasons of the Replika's failures, by namespace, or by namespace/source with many sources.
func Failures(replika *v1alpha1.Replika) map[string]string {
	reasons := map[string]string{}
	for _, failure := range replika.Status.Failures {
		place := failure.Namespace
		if failure.Name != "" {
			place += "/" + failure.Name
		}
		reasons[place] = failure.Reason
	}
	return reasons
}

// StatusViolations lists where the status breaks the contract that users and tools rely on (the conventions of kstatus). A
// current status must be of the spec as it is now; any other may be of an earlier one, or empty.
func StatusViolations(replika *v1alpha1.Replika, current bool) []string {
	status := &replika.Status
	var found violations
	found.check(status.ObservedGeneration <= replika.Generation, "observedGeneration %d is greater than generation %d",
		status.ObservedGeneration, replika.Generation)
	if current {
		found.check(status.ObservedGeneration == replika.Generation, "observedGeneration %d is not generation %d",
			status.ObservedGeneration, replika.Generation)
		found.check(len(status.Conditions) > 0, "no conditions")
	}
	if status.ObservedGeneration > 0 || len(status.Conditions) > 0 {
		found = append(found, conditionViolations(status)...)
	}
	return append(found, countViolations(status)...)
}

type violations []string

func (v *violations) check(kept bool, format string, args ...any) {
	if !kept {
		*v = append(*v, fmt.Sprintf(format, args...))
	}
}

// conditionViolations checks each condition by itself.
func conditionViolations(status *v1alpha1.ReplikaStatus) violations {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return violations{"no condition Ready"}
	}
	var found violations
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		// During a reconcile the conditions are about its generation, and the status still about the last one that was finished.
		found.check(condition.ObservedGeneration == status.ObservedGeneration ||
			ready.Reason == v1alpha1.ReasonProgressing && condition.ObservedGeneration > status.ObservedGeneration,
			"%s has observedGeneration %d, the status %d", condition.Type, condition.ObservedGeneration, status.ObservedGeneration)
		found.check(condition.Message != "" && len(condition.Message) <= longestMessage, "the message of %s has %d bytes",
			condition.Type, len(condition.Message))
	}
	return append(found, pairingViolations(status, ready)...)
}

// pairingViolations checks the reason of Ready, and the condition beside it.
func pairingViolations(status *v1alpha1.ReplikaStatus, ready *metav1.Condition) violations {
	beside, known := abnormalConditions[ready.Reason]
	if !known {
		return violations{fmt.Sprintf("Ready has the unknown reason %q", ready.Reason)}
	}
	var found violations
	switch ready.Reason {
	case v1alpha1.ReasonSuspended:
	case v1alpha1.ReasonDryRun:
		found.check(ready.Status == metav1.ConditionUnknown && status.Planned != nil, "Ready is %s in a dry run, planned %+v", ready.Status, status.Planned)
	default:
		found.check((ready.Status == metav1.ConditionTrue) == (ready.Reason == v1alpha1.ReasonSynced) &&
			(ready.Status != metav1.ConditionUnknown || ready.Reason == v1alpha1.ReasonProgressing),
			"Ready is %s with the reason %s", ready.Status, ready.Reason)
	}
	found.check(beside == "" || meta.FindStatusCondition(status.Conditions, beside) != nil,
		"beside Ready=%s (%s), %s is missing", ready.Status, ready.Reason, beside)
	for i := range status.Conditions {
		switch condition := &status.Conditions[i]; {
		case condition.Type == v1alpha1.ConditionReady:
		case condition.Type != beside:
			found.check(false, "beside Ready=%s (%s) there is %s", ready.Status, ready.Reason, condition.Type)
		default:
			found.check(condition.Status == metav1.ConditionTrue && condition.Reason == ready.Reason && condition.Message == ready.Message,
				"%s differs from Ready: %+v", condition.Type, condition)
		}
	}
	return found
}

// nameless reports whether a failure for the reason can be without a namespace.
func nameless(reason string) bool {
	return reason == v1alpha1.FailureForbidden || reason == v1alpha1.FailureUnavailable
}

// countViolations checks the counts of copies and the list of failures.
func countViolations(status *v1alpha1.ReplikaStatus) violations {
	copies := v1alpha1.CopiesStatus{}
	if status.Copies != nil {
		copies = *status.Copies
	}
	var found violations
	found.check(copies.Synced <= copies.Desired, "%d copies are desired, but %d are synced", copies.Desired, copies.Synced)
	// A failure without a namespace stands for several copies.
	listed, unnamed := len(status.Failures), slices.ContainsFunc(status.Failures, func(failure v1alpha1.Failure) bool { return failure.Namespace == "" })
	sources := v1alpha1.SourcesStatus{}
	if status.Sources != nil {
		sources = *status.Sources
	}
	found.check(sources.Synced+sources.Refused <= sources.Matched, "more sources than match: %+v", sources)
	wanted := min(int(copies.Failed+sources.Refused), v1alpha1.MaxFailures)
	found.check(listed == wanted || unnamed && listed < wanted, "%d copies failed and %d sources are refused, but %d failures are listed",
		copies.Failed, sources.Refused, listed)
	found.check(slices.IsSortedFunc(status.Failures, func(a, b v1alpha1.Failure) int { return cmp.Compare(a.Namespace, b.Namespace) }),
		"the failures are not sorted by namespace: %v", status.Failures)
	for _, failure := range status.Failures {
		ofSource := failure.Namespace == "" && failure.Name != "" && slices.Contains(refusalReasons, failure.Reason)
		ofCopy := (failure.Namespace != "" || nameless(failure.Reason)) && slices.Contains(failureReasons, failure.Reason)
		found.check((ofSource || ofCopy) && failure.Message != "" && len(failure.Message) <= longestMessage,
			"a failure has an empty field, too long a message or an unknown reason: %+v", failure)
	}
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return found
	}
	switch ready.Reason {
	case v1alpha1.ReasonSynced:
		found.check(status.Copies != nil && copies.Synced == copies.Desired && copies.Failed == 0, "Ready with %+v", status.Copies)
		found.check(sources.Synced == sources.Matched, "Ready with %+v", sources)
	case v1alpha1.ReasonTargetNamespaceNotFound:
		found.check(status.Copies != nil && copies.Synced == copies.Desired && copies.Failed == 0,
			"only a namespace is missing, but the counts are %+v", status.Copies)
	case v1alpha1.ReasonCopiesFailed:
		found.check(copies.Failed > 0 || sources.Refused > 0, "copies failed, but none is counted")
		found.check(copies.Synced+copies.Failed >= copies.Desired, "a copy is neither synced nor failed: %+v", status.Copies)
	default:
	}
	return found
}
