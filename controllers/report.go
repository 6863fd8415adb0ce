package controllers

import (
	"cmp"
	"slices"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// report is what came of a pass's actions.
type report struct {
	// counted is true when the copies were looked at, so that the numbers mean something.
	counted bool
	desired int32
	synced  int32
	failed  int32
	// changes counts the actions that changed something.
	changes  map[planner.ActionType]int
	failures []v1alpha1.Failure
	// missing are the namespaces that the spec names and that do not exist.
	missing   []string
	transient bool
}

// count adds one action that is over.
func (r *report) count(settled *settled) {
	action, result := &settled.action, &settled.result
	if result.Outcome == planner.NamespaceGone {
		// A namespace on its way out is no target.
		return
	}
	if action.Desired && action.Template != nil {
		r.counted = true
		r.desired++
	}
	switch {
	case action.Type == planner.Conflict, action.Type == planner.Wait:
		r.fail(action.Namespace, action.Reason, action.Message)
	case result.Outcome == planner.Done, result.Outcome == planner.Unchanged:
		if action.Desired && action.Template != nil {
			r.synced++
		}
		if result.Outcome == planner.Done {
			r.change(action.Type)
		}
	default:
		r.transient = r.transient || result.Outcome.Transient()
		r.fail(action.Namespace, result.Outcome.FailureReason(), explain(result.Outcome, result.Err))
	}
}

// deny reports the namespaces that the spec names and that somebody keeps copies out of.
func (r *report) deny(in *planner.Input) {
	if in.Selection == nil {
		return
	}
	for _, namespace := range in.Namespaces {
		if message := in.Selection.DenialReason(namespace); message != "" {
			r.desired++
			r.fail(namespace.Name, v1alpha1.FailureForbidden, message)
		}
	}
}

func (r *report) change(action planner.ActionType) {
	if r.changes == nil {
		r.changes = map[planner.ActionType]int{}
	}
	r.changes[action]++
}

func (r *report) fail(namespace, reason, message string) {
	r.failed++
	r.failures = append(r.failures, v1alpha1.Failure{Namespace: namespace, Reason: reason, Message: shorten(message)})
}

// contested takes back that the copy is in sync: it is, but will hardly stay so.
func (r *report) contested(namespace string) {
	r.synced--
	r.fail(namespace, v1alpha1.FailureContested, planner.ContestedMessage)
}

// sorted returns the failures by namespace.
func (r *report) sorted() []v1alpha1.Failure {
	slices.SortFunc(r.failures, func(a, b v1alpha1.Failure) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return r.failures
}

// explain is the message of a failure. It must not move while nothing changes, so what a broken connection says (ports,
// for one) is left out.
func explain(outcome planner.Outcome, err error) string {
	switch outcome {
	case planner.Unavailable:
		return "the API server, or a webhook that it asks, did not answer or broke down; trying again"
	case planner.Stale:
		return "something else changes the object at the same time; trying again"
	case planner.KindGone:
		return "the API server no longer serves this kind; waiting for it"
	default:
		if err == nil {
			return string(outcome)
		}
		return err.Error()
	}
}
