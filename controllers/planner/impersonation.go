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

// hideUnseen replaces the action for an object that is not a copy of this Replika, if the Replika has a ServiceAccount. The
// operator may see more than the account, and what a Replika reports about an object is read by whoever reads the Replika. So
// the account itself has to find the object, by a create: the API server refuses it the same way whether the object exists or
// not, unless the account has permissions there. What the account found is not asked for again until something changes.
func (in *Input) hideUnseen(action *Action) {
	if !in.Impersonated || in.Template == nil || action.Observed == nil || action.Observed.OwnedBy(in.Replika) {
		return
	}
	*action = Action{
		Type: in.createOrLookUp(), Namespace: action.Namespace, Name: action.Name, Desired: true,
		Template: action.Template, Observed: action.Observed, expected: action.Type,
	}
}

// Reveals reports whether a failure to write the copy for this reason can be reported with the name of its namespace. A
// ServiceAccount cannot list namespaces, and does not see their labels. So the namespaces that the spec selects by a pattern or
// by labels are named only where the account was allowed to do something, which neither of these two reasons shows, or has
// a copy.
func (in *Input) Reveals(action *Action, reason string) bool {
	return !in.Impersonated || !action.Desired ||
		reason != v1alpha1.FailureForbidden && reason != v1alpha1.FailureUnavailable ||
		in.Selection.Names(action.Namespace) || action.Observed != nil && action.Observed.OwnedBy(in.Replika)
}
