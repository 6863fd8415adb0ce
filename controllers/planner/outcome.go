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

package planner

import (
	"fmt"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Outcome is the result of an action, classified once from the API server's response.
type Outcome string

const (
	// Done means that the object is in the state that the action requires.
	Done Outcome = "done"
	// Unchanged means that nothing had to be written.
	Unchanged Outcome = "unchanged"
	// Stale means that the object differs from the observed state that the action was planned for. Its current state was read.
	Stale Outcome = "conflict"
	// Immutable means that the update would change an immutable field: the API server rejected it, or kept the former value.
	Immutable Outcome = "immutable"
	// Rejected means that validation or admission rejects the object.
	Rejected Outcome = "rejected"
	// Forbidden means that a permission is missing.
	Forbidden Outcome = "forbidden"
	// QuotaExceeded means that the namespace's quota is used up.
	QuotaExceeded Outcome = "quota exceeded"
	// NamespaceGone means that the namespace is terminating or deleted.
	NamespaceGone Outcome = "namespace gone"
	// KindGone means that the API server no longer serves the kind.
	KindGone Outcome = "kind gone"
	// Unavailable means that the API server, or a webhook that it calls, did not respond or returned an internal error. It
	// is unknown whether the request took effect.
	Unavailable Outcome = "unavailable"
)

// Transient reports whether a retry can succeed although nothing else changes, so that the action is retried with backoff.
// All other outcomes change only with the spec or the cluster.
func (o Outcome) Transient() bool {
	return o == Unavailable || o == Stale
}

// Refused reports whether the API server refuses the copy until something else changes.
func (o Outcome) Refused() bool {
	return o == Immutable || o == Rejected || o == Forbidden || o == QuotaExceeded
}

// FailureReason returns the failure reason for the Replika's status, or "" if the outcome is not a failure of the copy.
func (o Outcome) FailureReason() string {
	switch o {
	case Immutable:
		return v1alpha1.FailureImmutable
	case Rejected:
		return v1alpha1.FailureRejected
	case Forbidden:
		return v1alpha1.FailureForbidden
	case QuotaExceeded:
		return v1alpha1.FailureQuotaExceeded
	case Stale:
		return v1alpha1.FailureContested
	case Unavailable, KindGone:
		return v1alpha1.FailureUnavailable
	case Done, Unchanged, NamespaceGone:
		return ""
	default:
		panic(fmt.Sprintf("outcome %q has no failure reason", o))
	}
}

// maxReplans limits how often one reconcile replans an object that keeps changing.
const maxReplans = 3

// NextAction returns the action after one with the given outcome, or false if nothing more can be done in this reconcile.
// current is the object's state after the action, and attempt the number of actions on this object so far in this reconcile.
func (in *Input) NextAction(action Action, namespace Namespace, outcome Outcome, current *Observed, attempt int) (Action, bool) {
	switch outcome {
	case Stale:
		if attempt > maxReplans {
			return Action{}, false
		}
		if action.Desired {
			return in.Decide(namespace, current), true
		}
		if current != nil {
			if next, needed := in.prune(namespace, current); needed {
				return next, true
			}
		}
		// The object to prune is gone, or it has another owner.
		action.Type, action.Observed = Keep, current
		return action, true
	case Immutable:
		if current != nil {
			action.Observed = current // all other fields are updated
		}
		// Only this Replika's own copies are ever deleted: not a foreign object, not a copy that is being taken over from a
		// deleted Replika, not an adopted object, and not one that every namespace has.
		if action.Type != Update || !action.Observed.OwnedBy(in.Replika) || action.Observed.Adopted || !in.allowsRecreate() {
			return Action{}, false
		}
		action.Type = Recreate
		return action, true
	case Forbidden:
		// The new owner is not allowed to write in this namespace, so it cannot take the copy over. Others are asked first.
		if action.Type != HandOver {
			return Action{}, false
		}
		in.handOver(&action)
		return action, true
	default:
		return Action{}, false
	}
}

// allowsRecreate reports whether a copy may be recreated to change an immutable field.
func (in *Input) allowsRecreate() bool {
	if isInEveryNamespace(in.Kind, in.Name) {
		return false
	}
	switch in.ImmutableFields {
	case v1alpha1.ImmutableFieldsRecreate:
		return true
	case v1alpha1.ImmutableFieldsFail:
		return false
	default:
		return hasDataKeys(in.Kind)
	}
}
