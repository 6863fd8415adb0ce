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
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// eventTimeout is more than an event takes from a cache to the Replikas that it concerns.
const eventTimeout = 5 * time.Second

// verifyCheckpoint panics if a plan of all namespaces differs from the checkpoint, other than in namespaces with an event that
// arrived meanwhile, or that is about to arrive: a cache can be newer than the events that were processed.
func (r *ReplikaReconciler) verifyCheckpoint(ctx context.Context, s *scope, mapping tracking.Mapping, plan *copyPlan) {
	in := *plan.in
	if r.readAll(ctx, s, mapping, plan.store, &in) != nil {
		return
	}
	actions := planner.Plan(&in)
	comparison := plan.checkpoint.Compare(planner.Changes{})
	comparison.Add(actions)
	missed := comparison.Missed()
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, eventTimeout, true, func(context.Context) (bool, error) {
		missed = slices.DeleteFunc(missed, s.state.hasChanged)
		return len(missed) == 0, nil
	})
	if err != nil && ctx.Err() == nil {
		panic(fmt.Sprintf("the checkpoint of Replika %s differs from a plan of all namespaces in %v: %s", s.name, missed, describe(actions, missed)))
	}
}

// describe lists the actions that are planned in the namespaces.
func describe(actions []planner.Action, namespaces []string) string {
	var described []string
	for i := range actions {
		action := &actions[i]
		if !slices.Contains(namespaces, action.Namespace) {
			continue
		}
		text := fmt.Sprintf("%s %s (desired: %t, reason: %q)", action.Type, action.Key(), action.Desired, action.Reason)
		if action.Observed != nil {
			owner, marked := action.Observed.Owner()
			text += fmt.Sprintf(" of an object with version %s, owner %s (marked: %t)", action.Observed.ResourceVersion, owner, marked)
		}
		described = append(described, text)
	}
	return strings.Join(described, "; ")
}
