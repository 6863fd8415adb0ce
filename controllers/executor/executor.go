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
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/controllers/planner"
)

// Executor executes the actions of a plan.
type Executor struct {
	// RequestTimeout limits the duration of one request, so that a connection that no longer responds blocks nothing for
	// long. Defaults to 30 seconds.
	RequestTimeout time.Duration

	client    rest.Interface
	cleaner   *planner.Cleaner
	semaphore *FairSemaphore
}

// New returns an Executor that sends its requests through the client, no more at once than the semaphore permits, and
// observes the objects in the responses with the cleaner.
func New(client rest.Interface, cleaner *planner.Cleaner, semaphore *FairSemaphore) *Executor {
	return &Executor{client: client, cleaner: cleaner, semaphore: semaphore}
}

// maxPatchOperations is the number of operations that the API server accepts in one JSON Patch; see
// k8s.io/apiserver/pkg/endpoints/handlers. A copy with more keys is updated by a merge patch.
const maxPatchOperations = 10_000

// Result is the result of an action.
type Result struct {
	// Outcome classifies the result. Package planner decides what follows from it.
	Outcome planner.Outcome
	// Object is the object in the last response of the API server; nil when it does not exist, or when that is unknown.
	Object *planner.Observed
	// Err is the cause of an outcome that is a failure. It names the object and quotes the API server, but never contains
	// the data of a Secret.
	Err error
}

// Execute executes the action on an object of the resource, on behalf of the Replika. It blocks until the semaphore, which
// all Replikas share, has a free permit. An action that needs no request returns at once.
func (e *Executor) Execute(
	ctx context.Context, resource schema.GroupVersionResource, replika types.NamespacedName, action *planner.Action,
) Result {
	if !action.Type.Writes() {
		return Result{Outcome: planner.Unchanged, Object: action.Observed}
	}
	release, err := e.semaphore.Acquire(ctx, replika)
	if err != nil {
		return Result{Outcome: planner.Unavailable, Err: err}
	}
	defer release()

	target := target{executor: e, resource: resource, namespace: action.Namespace, name: action.Name}
	var result Result
	switch action.Type {
	case planner.Create:
		result = target.create(ctx, action.Template)
	case planner.LookUp:
		result = target.lookUp(ctx)
	case planner.Update:
		patch := updatePatch(action)
		if action.NeedsLiveObject() || len(patch) > maxPatchOperations {
			result = target.merge(ctx, action)
		} else {
			result = target.update(ctx, action, patch)
		}
	case planner.Recreate:
		result = target.recreate(ctx, action)
	case planner.Delete:
		result = target.delete(ctx, action)
	case planner.Release:
		result = target.update(ctx, action, releasePatch(action.Observed))
	case planner.HandOver:
		result = target.update(ctx, action, handOverPatch(action.Observed, action.NewOwner))
	default:
		result = Result{Outcome: planner.Unavailable, Err: fmt.Errorf("unknown action %q", action.Type)}
	}
	if result.Err != nil {
		err := fmt.Errorf("%s %s: %w", action.Type, target, result.Err)
		result.Err = redact(resource.GroupResource(), action.Template, err)
	}
	return result
}
