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

import "github.com/prosimcorp/replika/api/v1alpha1"

// noResponseMessage is the message of a copy whose write has not been answered yet.
const noResponseMessage = "the API server, or a webhook it calls, has not responded yet"

// awaitInFlight replaces an action by Wait while an earlier write of the copy has not been answered.
func (in *Input) awaitInFlight(action *Action) {
	if in.InFlight[action.Key()] && action.Type.Writes() {
		*action = in.AwaitInFlight(*action)
	}
}

// AwaitInFlight returns the action for a copy whose write has not been answered yet. The copy keeps the failure that it had
// before.
func (in *Input) AwaitInFlight(action Action) Action {
	reason, message := v1alpha1.FailureUnavailable, noResponseMessage
	if before, found := in.Refusals[action.Key()]; found {
		reason, message, action.Refused = before.Reason, before.Message, true
	}
	action.wait(reason, message)
	action.InFlight = true
	return action
}
