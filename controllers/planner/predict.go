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
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Predict returns the outcome of an action without a request, and the object that would be there before it. existing is the object of
// this name, as far as the caller knows. It knows nothing of permissions, quotas and admission: what these refuse counts as done.
func (in *Input) Predict(action *Action, existing *Observed) (Outcome, *Observed) {
	switch {
	case !action.Type.Writes():
		return Unchanged, action.Observed
	case (action.Type == Create || action.Type == LookUp) && existing != nil:
		return Stale, existing
	case action.Type == LookUp:
		return Unavailable, nil
	case action.Type == Update && action.Template.changesImmutable(in.Kind, action.Observed):
		return Immutable, action.Observed
	default:
		return Done, nil
	}
}

// immutableFields are the top-level fields that the API server never lets change, by kind.
var immutableFields = map[schema.GroupKind]string{
	{Kind: "Secret"}: "type",
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}: "roleRef",
}

// changesImmutable reports whether an update of the object to the template changes a field that the API server does not let change,
// as far as digests show.
func (t *Template) changesImmutable(kind schema.GroupKind, object *Observed) bool {
	if object == nil || object.MetadataOnly {
		return false
	}
	differing := t.Digests.Differing(object.Digests)
	if field, found := immutableFields[kind]; found && slices.Contains(differing, field) {
		return true
	}
	return hasDataKeys(kind) && object.Digests.isTrue("immutable") &&
		slices.ContainsFunc(differing, func(field string) bool { return field == "immutable" || slices.Contains(dataFields, field) })
}

// isTrue reports whether the field is true.
func (d Digests) isTrue(field string) bool {
	sum := sha256.Sum256([]byte("true"))
	return d.fields()[field] == string(sum[:digestSize])
}

// PlannedType returns the type under which an action with the outcome is reported, or false if there is nothing to report: the copy is
// in sync, or the object is no copy any more.
func PlannedType(action *Action, outcome Outcome) (v1alpha1.PlannedActionType, bool) {
	switch {
	case outcome == NamespaceGone:
		return "", false
	case action.Type == Conflict:
		return v1alpha1.PlannedConflict, true
	case action.Type == Wait:
		return v1alpha1.PlannedWait, true
	case outcome == Unchanged:
		return "", false
	case outcome != Done:
		return v1alpha1.PlannedFail, true
	case action.Adopt:
		return v1alpha1.PlannedAdopt, true
	}
	planned, found := plannedTypes[action.Type]
	return planned, found
}

var plannedTypes = map[ActionType]v1alpha1.PlannedActionType{
	Create:   v1alpha1.PlannedCreate,
	Update:   v1alpha1.PlannedUpdate,
	Recreate: v1alpha1.PlannedRecreate,
	Delete:   v1alpha1.PlannedDelete,
	Release:  v1alpha1.PlannedRelease,
	HandOver: v1alpha1.PlannedHandOver,
}

// Describe explains why an action is planned.
func (in *Input) Describe(action *Action) string {
	switch action.Type {
	case Conflict, Wait:
		return action.Message
	case Create, LookUp:
		return "no object with this name exists"
	case Update, Recreate:
		return in.describeUpdate(action)
	case HandOver:
		return fmt.Sprintf("Replika %s claims the object", action.NewOwner)
	case Delete:
		return in.describePruning()
	case Release:
		switch {
		case action.Observed.Adopted:
			return in.describePruning() + "; the object was adopted, so it stays"
		case in.DeletionPolicy == v1alpha1.DeletionPolicyRetain:
			return in.describePruning() + "; spec.deletionPolicy is Retain, so the object stays"
		default:
			return in.describePruning() + "; every namespace has such an object, so it stays"
		}
	default:
		return ""
	}
}

func (in *Input) describeUpdate(action *Action) string {
	object := action.Observed
	owner, marked := object.Owner()
	switch {
	case action.Adopt:
		return "an object with this name exists, and spec.target.conflictPolicy is Adopt"
	case !marked:
		return "a copy of an earlier release gets the operator's annotations"
	case owner != in.Replika:
		return fmt.Sprintf("the copy belonged to Replika %s, which no longer claims it", owner)
	}
	differing := strings.Join(action.Template.Digests.Differing(object.Digests), ", ")
	if object.MetadataOnly {
		differing = MetadataField
	}
	if action.Type == Recreate {
		return fmt.Sprintf("an immutable field differs from the source, in %s", differing)
	}
	return fmt.Sprintf("the copy differs from the source in %s", differing)
}

func (in *Input) describePruning() string {
	switch {
	case in.SourceName == "" && in.Sources == nil:
		return "spec.source names another kind"
	case in.Selection == nil:
		return "no copies are desired: the source is gone, or its owner allows none"
	default:
		return "the namespace is not a target, or the copy has another name now"
	}
}
