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
	"slices"
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
	// changes counts the actions that changed an object, by type.
	changes  map[planner.ActionType]int
	failures []v1alpha1.Failure
	// pending are the copies whose first write has not been answered yet. They count as failed only beside failed ones.
	pending []v1alpha1.Failure
	// missingNamespaces are the namespaces that the spec names and that do not exist.
	missingNamespaces []string
	// transient is true when a retry may succeed.
	transient bool
	// mutated counts the copies that are in sync although the API server stores them with other content, and mutatedFields
	// names the top-level fields.
	mutated       int
	mutatedFields map[string]bool
	// backoffUntil holds the times until which contested copies are not repaired.
	backoffUntil map[types.NamespacedName]time.Time
}

// add adds the result of one action.
func (r *results) add(finished *actionResult) {
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
	switch {
	case action.InFlight && !action.Refused:
		r.pending = append(r.pending, v1alpha1.Failure{Namespace: action.Namespace, Reason: action.Reason, Message: action.Message})
	case action.Type == planner.Conflict, action.Type == planner.Wait:
		r.fail(action.Namespace, action.Reason, action.Message)
	case result.Outcome == planner.Done, result.Outcome == planner.Unchanged:
		if desired {
			r.synced++
			r.recordMutation(finished)
		}
		if result.Outcome == planner.Done {
			r.recordChange(action.Type)
		}
	default:
		r.transient = r.transient || result.Outcome.Transient()
		r.fail(action.Namespace, result.Outcome.FailureReason(), failureMessage(result.Outcome, result.Err))
	}
}

// recordMutation adds a copy that is changed on admission.
func (r *results) recordMutation(finished *actionResult) {
	template, object := finished.action.Template, finished.result.Object
	if object == nil || object.AcceptedDigests != template.Digests || object.Digests == template.Digests {
		return
	}
	r.mutated++
	if r.mutatedFields == nil {
		r.mutatedFields = map[string]bool{}
	}
	for _, field := range template.Digests.Differing(object.Digests) {
		r.mutatedFields[field] = true
	}
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

func (r *results) recordChange(action planner.ActionType) {
	if r.changes == nil {
		r.changes = map[planner.ActionType]int{}
	}
	r.changes[action]++
}

// incomplete counts the copies that are not as they should be.
func (r *results) incomplete() int { return int(r.failed) + len(r.pending) }

// failPending counts the pending copies as failed if others failed.
func (r *results) failPending() {
	if r.failed == 0 {
		return
	}
	for _, pending := range r.pending {
		r.fail(pending.Namespace, pending.Reason, pending.Message)
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

// sortedFailures returns the failures by namespace.
func (r *results) sortedFailures() []v1alpha1.Failure {
	slices.SortFunc(r.failures, func(a, b v1alpha1.Failure) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return r.failures
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
