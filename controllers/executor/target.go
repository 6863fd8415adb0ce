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

package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

// target is the object of an action. It may not exist yet, or no longer.
type target struct {
	executor  *Executor
	resource  schema.GroupVersionResource
	namespace string
	name      string
}

// String returns the resource, namespace and name of the object.
func (t target) String() string {
	return fmt.Sprintf("%s %s/%s", t.resource.GroupResource(), t.namespace, t.name)
}

// create creates the copy. If an object of this name exists, it returns that object with the outcome Stale. It also reads the
// object when a quota, validation or authorization rejected the request, because the API server checks the name last.
func (t target) create(ctx context.Context, template *planner.Template) Result {
	response, err := t.post(ctx, template)
	if err == nil {
		return t.handleResponse(response, template)
	}
	outcome := classify(err, t)
	if t.isGone(err) {
		// The copy does not exist yet. RBAC names the binding when its Role is missing.
		outcome = planner.Rejected
	}
	switch outcome {
	case planner.Stale, planner.Forbidden, planner.QuotaExceeded, planner.Rejected:
		current, getErr := t.get(ctx)
		if getErr != nil && outcome == planner.Stale {
			return readFailed(getErr)
		}
		if getErr != nil {
			return Result{Outcome: outcome, Err: err}
		}
		if current != nil || outcome == planner.Stale {
			return Result{Outcome: planner.Stale, Object: current, Err: err}
		}
	default:
	}
	return Result{Outcome: outcome, Err: err}
}

// lookUp reads an object that only the cluster creates. It exists, or will be created soon.
func (t target) lookUp(ctx context.Context) Result {
	current, err := t.get(ctx)
	if err != nil {
		return readFailed(err)
	}
	if current == nil {
		return Result{Outcome: planner.Unavailable, Err: errors.New("the cluster creates this object in every namespace, but has not done so yet")}
	}
	return Result{Outcome: planner.Stale, Object: current, Err: errors.New("the object exists")}
}

// update sends the JSON Patch of an update, a release or a hand-over. It applies only to the object that was observed.
func (t target) update(ctx context.Context, action *planner.Action, patch jsonPatch) Result {
	body, err := patch.encode()
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	response, err := t.request(ctx, t.executor.client.Patch(types.JSONPatchType).Body(body), t.name)
	if err != nil {
		return t.handleError(ctx, err, action)
	}
	result := t.handleResponse(response, action.Template)
	if action.Type == planner.Update && result.Outcome == planner.Done {
		result = detectConcurrentChange(action, result)
	}
	return t.detectKept(ctx, action, action.Observed, response, result)
}

// detectConcurrentChange looks for fields that differ from the template although the patch did not contain them. They were
// equal when the copy was observed, so the difference is a change by another client, and not the API server's change to our
// write.
func detectConcurrentChange(action *planner.Action, result Result) Result {
	sent := append(action.Template.Digests.Differing(action.Observed.Digests), planner.MetadataField)
	for _, field := range action.Template.Digests.Differing(result.Object.Digests) {
		if !slices.Contains(sent, field) {
			result.Object.AcceptedDigests = ""
			return Result{Outcome: planner.Stale, Object: result.Object, Err: fmt.Errorf("%q was modified concurrently", field)}
		}
	}
	return result
}

// recreate deletes the copy and creates it again. It follows an update with the outcome Immutable, so a dry-run create has
// shown that the API server accepts the template.
func (t target) recreate(ctx context.Context, action *planner.Action) Result {
	if result := t.delete(ctx, action); result.Outcome != planner.Done {
		return result
	}
	return t.create(ctx, action.Template)
}

// delete deletes exactly the object that was observed.
func (t target) delete(ctx context.Context, action *planner.Action) Result {
	background := metav1.DeletePropagationBackground
	options, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &background,
		Preconditions: &metav1.Preconditions{
			UID: &action.Observed.UID, ResourceVersion: &action.Observed.ResourceVersion,
		},
	})
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	request := t.executor.client.Delete().Body(options).SetHeader("Content-Type", "application/json")
	response, err := t.request(ctx, request, t.name)
	if t.isGone(err) {
		return Result{Outcome: planner.Done}
	}
	if err != nil {
		return t.handleError(ctx, err, action)
	}
	object, err := decode(response)
	if err != nil || !isTerminating(object) {
		return Result{Outcome: planner.Done}
	}
	return t.handleResponse(response, nil)
}

// isTerminating reports whether the object in the response to a delete still exists, because of its finalizers or its grace
// period. For many kinds the response is the deleted object as it was last, for all others it is a Status.
func isTerminating(object *unstructured.Unstructured) bool {
	grace := object.GetDeletionGracePeriodSeconds()
	return object.GetDeletionTimestamp() != nil && (len(object.GetFinalizers()) > 0 || grace != nil && *grace > 0)
}

// handleResponse returns the object in the response to a write. If the API server or a webhook changed what was sent, the
// object is recorded as the one to expect for this template.
func (t target) handleResponse(response []byte, template *planner.Template) Result {
	object, err := decode(response)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	observed, err := t.executor.cleaner.Observe(t.resource.GroupResource(), object)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	if template != nil && observed.Digests != template.Digests {
		observed.AcceptedDigests = template.Digests
	}
	return Result{Outcome: planner.Done, Object: observed}
}

// handleError returns the result of a request about an existing object that the API server rejected. It reads the object
// once when that may no longer be as it was observed.
func (t target) handleError(ctx context.Context, err error, action *planner.Action) Result {
	outcome := classify(err, t)
	switch {
	case outcome == planner.Stale:
		current, getErr := t.get(ctx)
		if getErr != nil {
			return readFailed(getErr)
		}
		if t.isGone(err) && current != nil && current.UID == action.Observed.UID {
			// The copy exists. RBAC names the binding when its Role is missing.
			return Result{Outcome: planner.Rejected, Err: err}
		}
		return Result{Outcome: planner.Stale, Object: current, Err: err}
	case outcome == planner.Rejected && action.Type == planner.Update && isFieldInvalid(err):
		return t.detectImmutable(ctx, action.Template, err)
	default:
		return Result{Outcome: outcome, Err: err}
	}
}

// detectImmutable finds out why the API server considers a field of an update invalid, by a dry-run create of the same
// template. If the existing name is the only error of that, the field is immutable.
func (t target) detectImmutable(ctx context.Context, template *planner.Template, invalid error) Result {
	_, err := t.post(ctx, template, metav1.DryRunAll)
	switch {
	case err == nil:
		// The object no longer exists.
		return Result{Outcome: planner.Stale, Err: invalid}
	case isNameTaken(err):
		return Result{Outcome: planner.Immutable, Err: invalid}
	case classify(err, t) == planner.Rejected:
		return Result{Outcome: planner.Rejected, Err: invalid}
	default:
		return readFailed(err)
	}
}

// readFailed returns the result when the state of the object cannot be determined. It is never Stale, which would mean that
// the state is known.
func readFailed(err error) Result {
	outcome := Classify(err)
	if outcome == planner.Stale {
		outcome = planner.Unavailable
	}
	return Result{Outcome: outcome, Err: err}
}
