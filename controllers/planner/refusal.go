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
	"maps"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Refusal is the history of one copy that the API server refuses. The same request gets the same answer until something
// changes. It is sent again at once when something changed that it is known to depend on. The rest, such as permissions, is not
// known, so it is also sent again after a delay that doubles with each refusal.
type Refusal struct {
	// Attempts is how often in a row the copy was refused.
	Attempts int
	// Last is when the copy was refused last. It is not requested again before the Delay is over, unless something changed.
	Last  time.Time
	Delay time.Duration
	// Reason and Message are those of the failure.
	Reason, Message string

	request request
	labels  map[string]string
}

// request is what the answer to a request depends on, as far as it is known. The labels of the namespace belong to it, too:
// policies and webhooks select by them.
type request struct {
	action ActionType
	// expected is the action for the object as the operator knows it, see [Input.hideUnseen].
	expected   ActionType
	newOwner   types.NamespacedName
	template   Digests
	generation int64
	namespace  types.UID
	// observed has no resourceVersion: not every change of an object matters.
	observed Observed
}

const (
	// maxRefusalIntervals and maxRefusalDelay limit the delay after a refusal, whichever is shorter.
	maxRefusalIntervals = 10
	maxRefusalDelay     = time.Hour
	// maxUnavailableDelay limits the delay after a response that took long and failed: that may be over soon.
	maxUnavailableDelay = time.Minute
)

// requestFor returns what the answer to the planned action depends on.
func (in *Input) requestFor(action *Action, namespace Namespace) request {
	r := request{
		action: action.Type, expected: action.expected, newOwner: action.NewOwner,
		generation: in.Generation, namespace: namespace.UID,
	}
	if action.Template != nil {
		r.template = action.Template.Digests
	}
	if action.Observed != nil {
		r.observed = *action.Observed
		r.observed.ResourceVersion = ""
	}
	return r
}

// backOffRefused delays an action that was refused before, while nothing changed that its answer is known to depend on.
func (in *Input) backOffRefused(action *Action, namespace Namespace) {
	refusal, found := in.Refusals[action.Key()]
	if !found || in.RetryRefused || !action.Type.Writes() || !in.Now.Before(refusal.Last.Add(refusal.Delay)) {
		return
	}
	if refusal.request != in.requestFor(action, namespace) || !maps.Equal(refusal.labels, namespace.Labels) {
		return
	}
	action.wait(refusal.Reason, refusal.Message)
	action.Refused = true
}

// RefusalAfter returns the history of a copy after the action that was planned for it ended as last, with this outcome; false
// if the copy is not refused. The message is that of the failure. A late outcome is one that no reconcile waited for: then a
// failure that may be over soon has a history, too, so that the copy is not requested again at once.
func (in *Input) RefusalAfter(
	planned, last *Action, namespace Namespace, outcome Outcome, message string, now time.Time, late bool,
) (Refusal, bool) {
	before, refusedBefore := in.Refusals[planned.Key()]
	asked, reason := *planned, outcome.FailureReason()
	switch {
	case last.Refused, last.InFlight, last.Type == Keep && last.Desired && last.Template == nil:
		return before, refusedBefore // not requested this time
	case outcome == Unavailable && late:
	case last.Type == Conflict && planned.Type.Writes() && in.Impersonated:
		// The next plan knows the object that was found.
		asked, reason, message = *last, last.Reason, last.Message
		in.hideUnseen(&asked)
	case !outcome.Refused():
		return Refusal{}, false
	}
	refusal := Refusal{
		Attempts: 1, Last: now, Reason: reason, Message: message,
		request: in.requestFor(&asked, namespace), labels: namespace.Labels,
	}
	if before.request.template == refusal.request.template && before.request.generation == refusal.request.generation {
		refusal.Attempts += before.Attempts
	}
	refusal.Delay = refusalDelay(reason, refusal.Attempts, in.Synchronization, planned.Key())
	return refusal, true
}

// refusalDelay is the delay after this number of refusals in a row. It doubles with each, up to ten times the synchronization
// time, or an hour if that is shorter, but not less than the synchronization time. Many refusals end soon, with a change
// somewhere else: a RoleBinding is created before its Role, permissions after the namespace, and a quota or an admission plugin
// is not ready yet. An immutable field does not change by itself.
//
// Delays of at least the synchronization time are shorter by up to a quarter, so that not all copies that were refused
// together are requested together.
func refusalDelay(reason string, attempts int, synchronization time.Duration, copied types.NamespacedName) time.Duration {
	limit := max(synchronization, min(maxRefusalIntervals*synchronization, maxRefusalDelay))
	first := min(initialBackoff, synchronization)
	switch reason {
	case v1alpha1.FailureImmutable, v1alpha1.FailureConflict:
		first = synchronization
	case v1alpha1.FailureUnavailable:
		limit = min(synchronization, maxUnavailableDelay)
	default:
	}
	delay := backoff(first, attempts, limit)
	if delay < synchronization {
		return delay
	}
	return max(synchronization, delay-spread(copied.String()+strconv.Itoa(attempts), delay/4))
}

// RetryEarly returns the time until the copy is requested again, or false if that can wait for the reconcile at the next
// synchronization time.
func (r Refusal) RetryEarly(now time.Time, synchronization time.Duration) (time.Duration, bool) {
	return max(0, r.Last.Add(r.Delay).Sub(now)), r.Delay < synchronization
}
