package planner

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Outcome is what became of an action, classed once from the API server's answer.
type Outcome string

const (
	// Done: the object is as the action wants it.
	Done Outcome = "done"
	// Unchanged: there was nothing to do.
	Unchanged Outcome = "unchanged"
	// Surprised: the object was not, or is not, as the action assumed; what is there now is known.
	Stale Outcome = "surprised"
	// RefusedImmutable: the update would change an immutable field.
	Immutable Outcome = "immutable"
	// RefusedInvalid: validation or admission refuses the object.
	Rejected Outcome = "rejected"
	// RefusedForbidden: a right is missing.
	Forbidden Outcome = "forbidden"
	// RefusedQuota: the namespace's quota is used up.
	QuotaExceeded Outcome = "quota exceeded"
	// NamespaceGone: the namespace is being deleted, or was.
	NamespaceGone Outcome = "namespace gone"
	// KindGone: the API server no longer knows the kind.
	KindGone Outcome = "kind gone"
	// Failed: the API server, or something it asks, did not answer or broke. Whether the request took effect is unknown.
	Unavailable Outcome = "unavailable"
)

// maxSurprises bounds how often one pass plans anew about one object that changes under it.
const maxReplans = 3

// Follow says what to do after an action came out as it did, with what is there now: another action, or nothing more.
// attempt counts the actions about this object in this pass, from 1.
func (in *Input) NextAction(action Action, namespace Namespace, outcome Outcome, found *Observed, attempt int) (Action, bool) {
	switch outcome {
	case Stale:
		if attempt > maxReplans {
			return Action{}, false
		}
		if action.Desired {
			return in.Decide(namespace, found), true
		}
		if found != nil {
			if next, needed := in.prune(namespace, found); needed {
				return next, true
			}
		}
		// What was to be given up is gone, or somebody else's: nothing is left to do.
		action.Type, action.Observed = Keep, found
		return action, true
	case Immutable:
		// Only a copy of this very Replika is ever deleted: not a foreign object, not one just taken over from a Replika
		// that is gone, and no adopted one.
		if action.Type != Update || !action.Observed.OwnedBy(in.Replika) || action.Observed.Adopted || !in.allowsRecreate() {
			return Action{}, false
		}
		action.Type = Recreate
		return action, true
	case Forbidden:
		// Who may not write here inherits nothing here.
		if action.Type != HandOver {
			return Action{}, false
		}
		in.deleteOrRelease(&action)
		return action, true
	default:
		return Action{}, false
	}
}

// mayRecreate tells whether immutable fields are overcome by making the copy anew.
func (in *Input) allowsRecreate() bool {
	switch in.ImmutableFields {
	case v1alpha1.ImmutableFieldsRecreate:
		return true
	case v1alpha1.ImmutableFieldsFail:
		return false
	default:
		return in.Kind == schema.GroupKind{Kind: "Secret"} || in.Kind == schema.GroupKind{Kind: "ConfigMap"}
	}
}

// FailureReason names the outcome as it stands in a Replika's status; empty for one that is no failure of the copy.
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
