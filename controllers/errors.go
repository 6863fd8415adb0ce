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
	"errors"
	"fmt"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// notReadyError reports why a Replika as a whole cannot be reconciled.
type notReadyError struct {
	// Reason is one of the reasons of the condition Ready.
	Reason, Message string
	// Stalled means that only a change of the spec or the cluster helps. Otherwise the Replika waits for an event.
	Stalled bool
	// Transient means that a retry before the synchronization time is over may succeed.
	Transient bool
}

// Error implements error.
func (e *notReadyError) Error() string { return e.Reason + ": " + e.Message }

// newNotReadyError returns the error of a source that is not copied.
func newNotReadyError(problem *planner.TemplateError) *notReadyError {
	return &notReadyError{Reason: problem.Reason, Message: problem.Message, Stalled: problem.Stalled}
}

// invalidSelector returns the error of a label selector that cannot be compiled. The schema rejects it, but a stored Replika can be
// older than the schema.
func invalidSelector(err error) *notReadyError {
	return &notReadyError{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%s; correct it", err)}
}

// errListsBusy means that so many copies of a kind are being listed for other Replikas that this one must wait for its turn.
var errListsBusy = errors.New("the copies of the kind are being listed for many other Replikas")

// firstError returns the first error that is not nil. What follows from the first one is not worth reporting.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// isTransient reports whether a retry may succeed: for every error but a *notReadyError that says otherwise.
func isTransient(err error) bool {
	if notReady, ok := errors.AsType[*notReadyError](err); ok {
		return notReady.Transient
	}
	return err != nil
}

// copiesNotReady returns the *notReadyError for copies of a kind that could not be listed.
func (r *ReplikaReconciler) copiesNotReady(mapping tracking.Mapping, err error) error {
	resource := mapping.Resource.GroupResource()
	if errors.Is(err, errListsBusy) {
		return &notReadyError{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("copies of %s are being listed for many other Replikas; retrying", resource),
			Transient: true,
		}
	}
	outcome := executor.Classify(err)
	switch outcome {
	case planner.KindGone:
		r.Mapper.Invalidate(mapping.GroupVersionKind)
		return &notReadyError{
			Reason:  v1alpha1.ReasonKindNotFound,
			Message: mapping.Kind + " is no longer served by the API server",
		}
	case planner.Forbidden:
		return &notReadyError{Reason: v1alpha1.ReasonForbidden, Message: err.Error()}
	default:
		return &notReadyError{
			Reason:    v1alpha1.ReasonProgressing,
			Message:   fmt.Sprintf("listing copies of %s failed; retrying", resource),
			Transient: outcome.Transient(),
		}
	}
}
