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

package v1alpha1

// Reasons of the operator's events. An event about a change of the condition
// Ready has the reason of that condition.
const (
	// EventReasonReplicated, on a Replika, means that a reconcile changed copies.
	EventReasonReplicated = "Replicated"

	// EventReasonPlanned, on a Replika in DryRun, means that the plan changed.
	EventReasonPlanned = "Planned"

	// EventReasonCopiesLeftBehind, on a deleted Replika or on its Namespace, means
	// that copies remain that the operator could not delete.
	EventReasonCopiesLeftBehind = "CopiesLeftBehind"
)

// Actions of the operator's events.
const (
	// EventActionSynchronize is the action of events about syncing copies.
	EventActionSynchronize = "Synchronize"

	// EventActionFinalize is the action of events about the deletion of a
	// Replika.
	EventActionFinalize = "Finalize"
)
