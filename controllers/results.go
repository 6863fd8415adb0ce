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
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// results summarizes the actions of one reconcile.
type results struct {
	// counted is true when the copies were listed, so that the counts mean something.
	counted bool
	desired int32
	synced  int32
	failed  int32
	// planned is what would be done; nil unless this is a dry run. What would be done is then neither in sync nor failed.
	planned *plannedActions
	// changes counts the actions that changed an object, by type.
	changes  map[planner.ActionType]int
	failures []v1alpha1.Failure
	// refused are the sources, of many, that cannot be copied.
	refused []v1alpha1.Failure
	// pending are the copies whose first write has not been answered yet. They count as failed only beside failed ones.
	pending []pendingCopy
	// hidden counts, by reason, the failures in namespaces that the Replika's ServiceAccount cannot know.
	hidden map[string]int
	// missingNamespaces are the namespaces that the spec names and that do not exist.
	missingNamespaces []string
	// missingSources are the names of sources that the spec names and that do not exist.
	missingSources []string
	// transient is true when a retry may succeed.
	transient bool
	// mutated counts the copies that are in sync although the API server stores them with other content, and mutatedFields
	// names the top-level fields, sorted.
	mutated       int
	mutatedFields []string
	// backoffUntil holds the times until which contested copies are not repaired.
	backoffUntil map[types.NamespacedName]time.Time
}

// newResults returns empty results, of a dry run if there is one.
func newResults(dryRun *dryRun) results {
	if dryRun == nil {
		return results{}
	}
	return results{planned: &plannedActions{}}
}

// pendingCopy is a copy whose first write has not been answered yet, and the input of its plan.
type pendingCopy struct {
	in     *planner.Input
	action *planner.Action
}

// add adds the result of one action of the plan that was made of the input.
func (r *results) add(in *planner.Input, finished *actionResult) {
	action, result := &finished.action, &finished.result
	if result.Outcome == planner.NamespaceGone {
		// A namespace that is being deleted is no target.
		return
	}
	desired := action.Desired && action.Template != nil
	if desired {
		r.counted = true
		r.desired++
	}
	if r.planned != nil {
		r.planned.add(in, finished)
	}
	switch {
	case action.InFlight && !action.Refused:
		r.pending = append(r.pending, pendingCopy{in, action})
	case action.Type == planner.Conflict, action.Type == planner.Wait:
		r.failAction(in, action, action.Reason, action.Message)
	case result.Outcome == planner.Done && r.planned != nil:
	case result.Outcome == planner.Done, result.Outcome == planner.Unchanged:
		if desired {
			r.synced++
		}
		if result.Outcome == planner.Done {
			r.recordChanges(action.Type, 1)
		}
	default:
		r.transient = r.transient || result.Outcome.Transient()
		r.failAction(in, action, result.Outcome.FailureReason(), failureMessage(result.Outcome, result.Err))
	}
}

// failAction adds a failed action, without the name of the namespace if the Replika's ServiceAccount cannot know it.
func (r *results) failAction(in *planner.Input, action *planner.Action, reason, message string) {
	if in.Reveals(action, reason) {
		r.fail(action.Namespace, reason, message)
		return
	}
	r.failed++
	r.hide(reason, 1)
}

// hide counts failures in namespaces that are not named.
func (r *results) hide(reason string, count int) {
	if r.hidden == nil {
		r.hidden = map[string]int{}
	}
	r.hidden[reason] += count
}

// carryOver adds what is known of the namespaces that are not planned this time.
func (r *results) carryOver(checkpoint *planner.Checkpoint) {
	inSync := int32(checkpoint.InSync()) //nolint:gosec // no cluster has that many namespaces
	r.desired += inSync
	r.synced += inSync
	r.counted = r.counted || inSync > 0
	r.missingNamespaces = checkpoint.Missing()
	r.mutated, r.mutatedFields = checkpoint.Mutated()
}

// merge adds the results of one of many sources.
func (r *results) merge(source string, one *results) {
	r.counted = r.counted || one.counted
	r.desired += one.desired
	r.synced += one.synced
	r.failed += one.failed
	r.transient = r.transient || one.transient
	r.pending = append(r.pending, one.pending...)
	if one.planned != nil {
		r.planned.merge(one.planned)
	}
	for action, count := range one.changes {
		r.recordChanges(action, count)
	}
	for _, failure := range one.failures {
		failure.Name = source
		r.failures = append(r.failures, failure)
	}
	for reason, count := range one.hidden {
		r.hide(reason, count)
	}
	for contested, until := range one.backoffUntil {
		r.backOff(contested, until)
	}
	r.missingNamespaces = sortedUnion(r.missingNamespaces, one.missingNamespaces)
	r.mutated += one.mutated
	r.mutatedFields = sortedUnion(r.mutatedFields, one.mutatedFields)
}

func sortedUnion(one, other []string) []string {
	if len(other) == 0 || slices.Equal(one, other) {
		return one
	}
	united := slices.Concat(one, other)
	slices.Sort(united)
	return slices.Compact(united)
}

// refuse adds one of many sources that cannot be copied.
func (r *results) refuse(source string, because *notReadyError) {
	reason := because.Reason
	if reason == v1alpha1.ReasonProgressing { // it could not be read
		reason = v1alpha1.FailureUnavailable
	}
	r.transient = r.transient || because.Transient
	r.refused = append(r.refused, v1alpha1.Failure{Name: source, Reason: reason, Message: truncate(because.Message)})
}

// recordDenied adds the namespaces that the spec names and that do not accept copies.
func (r *results) recordDenied(in *planner.Input) {
	if in.Selection == nil {
		return
	}
	for _, namespace := range in.Namespaces {
		if reason := in.Selection.DenialReason(namespace); reason != "" {
			r.desired++
			r.fail(namespace.Name, v1alpha1.FailureForbidden, reason)
		}
	}
}

func (r *results) recordChanges(action planner.ActionType, count int) {
	if r.changes == nil {
		r.changes = map[planner.ActionType]int{}
	}
	r.changes[action] += count
}

// incomplete counts the copies that are not as they should be.
func (r *results) incomplete() int { return int(r.failed) + len(r.pending) }

// failPending counts the pending copies as failed if others failed.
func (r *results) failPending() {
	if r.failed == 0 {
		return
	}
	for _, pending := range r.pending {
		r.failAction(pending.in, pending.action, pending.action.Reason, pending.action.Message)
	}
	r.pending = nil
}

func (r *results) fail(namespace, reason, message string) {
	r.failed++
	r.failures = append(r.failures, v1alpha1.Failure{Namespace: namespace, Reason: reason, Message: truncate(message)})
}

// backOff records until when a contested copy is not repaired.
func (r *results) backOff(contested types.NamespacedName, until time.Time) {
	if r.backoffUntil == nil {
		r.backoffUntil = map[types.NamespacedName]time.Time{}
	}
	r.backoffUntil[contested] = until
}

// markContested counts a copy that was repaired as failed: it is in sync, but hardly for long.
func (r *results) markContested(namespace string) {
	r.synced--
	r.fail(namespace, v1alpha1.FailureContested, planner.ContestedMessage)
}

// sortedFailures returns the failures by namespace. Sources that cannot be copied, and failures in namespaces that are not named, come
// first.
func (r *results) sortedFailures() []v1alpha1.Failure {
	failures := slices.Concat(r.refused, r.failures)
	for reason, count := range r.hidden {
		failures = append(failures, v1alpha1.Failure{Reason: reason, Message: hiddenMessage(reason, count)})
	}
	slices.SortFunc(failures, func(a, b v1alpha1.Failure) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return failures
}

// failedNamespaces lists the failing namespaces with the reasons; of many sources also the source, or only the source if it cannot be
// copied.
func (r *results) failedNamespaces() string {
	failures := r.sortedFailures()
	named := make([]string, 0, len(failures))
	for _, failure := range failures {
		title := failure.Namespace
		switch {
		case failure.Namespace == "" && failure.Name == "":
			title = plural(r.hidden[failure.Reason], "unnamed namespace")
		case failure.Namespace == "":
			title = "source " + failure.Name
		case failure.Name != "":
			title = failure.Name + " in " + failure.Namespace
		}
		named = append(named, fmt.Sprintf("%s (%s)", title, failure.Reason))
	}
	return strings.Join(named, ", ")
}

// hiddenMessage returns the message of the failures in namespaces that are not named.
func hiddenMessage(reason string, count int) string {
	namespaces := plural(count, "namespace") + " that the spec selects by a glob, by labels or by matchAll, and that are not named, " +
		"because the ServiceAccount has no known permission there"
	if reason == v1alpha1.FailureForbidden {
		return "the ServiceAccount is not allowed to write the copy in " + namespaces
	}
	return failureMessage(planner.Unavailable, nil) + "; this is about " + namespaces
}

// failureMessage returns the message of a failure. It must not change while nothing else does, so the text of a network
// error, which has port numbers, is left out.
func failureMessage(outcome planner.Outcome, err error) string {
	switch outcome {
	case planner.Unavailable:
		return "the API server, or a webhook it calls, failed or did not respond; retrying"
	case planner.Stale:
		return "the object was modified concurrently; retrying"
	case planner.KindGone:
		return "the kind is no longer served by the API server"
	default:
		if err == nil {
			return string(outcome)
		}
		return err.Error()
	}
}
