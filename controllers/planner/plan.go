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
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// ActionType is the operation on one object.
type ActionType string

const (
	// Create creates the copy; it fails if an object with this name exists.
	Create ActionType = "create"
	// LookUp reads an object that every namespace has, see [isInEveryNamespace]. A copy never takes its place.
	LookUp ActionType = "look up"
	// Update syncs an existing copy with the template, takes over a copy that its owner no longer claims, or, with Adopt,
	// makes a foreign object a copy.
	Update ActionType = "update"
	// Recreate deletes the copy and creates it again, to change immutable fields.
	Recreate ActionType = "recreate"
	// Delete deletes a copy that is no longer desired.
	Delete ActionType = "delete"
	// Release removes our labels and marks and keeps the rest of the object.
	Release ActionType = "release"
	// HandOver makes another Replika that claims the object the owner of a copy that this one no longer desires.
	HandOver ActionType = "hand over"
	// Keep sends no request: the copy is in sync, or it cannot be compared because there is no source.
	Keep ActionType = "keep"
	// Wait sends no request now: the object is terminating, or its repair is backed off.
	Wait ActionType = "wait"
	// Conflict sends no request: the object does not belong to this Replika.
	Conflict ActionType = "conflict"
)

// Messages of conflicts and waits. Each names the cause and what to do.
const (
	// ContestedMessage is the message of a copy that another client keeps changing.
	ContestedMessage = "another client keeps modifying or deleting the copy; repairs are backed off: " +
		"stop the other client, or exclude the namespace"

	terminatingMessage = "the existing object is terminating (finalizers pending); the copy will be created once it is gone"
	newerMarksMessage  = "the object is managed by a newer version of the operator: " +
		"upgrade the operator, or delete the object"
	foreignObjectMessage = "an object with this name already exists and is not a copy of this Replika: " +
		"delete or rename it, exclude the namespace, or set spec.target.conflictPolicy to Adopt"
	hasControllerMessage = "an object with this name already exists and is managed by its controller (owner reference): " +
		"delete or rename it, or exclude the namespace"
	couldBeSourceMessage = "an object with this name already exists in the source's namespace, and can itself be one of the sources: " +
		"delete or rename it, choose another prefix or suffix, or remove the source's namespace from the targets"
	namedAsSourceMessage = "spec.source.names has the name of this copy, and the operator never writes to a source: " +
		"choose another prefix or suffix, or remove the source's namespace from the targets"
	ownedByOtherMessage = "the object is owned by Replika %s: " +
		"use a different spec.target.name or different namespaces"
	sourceNamespaceMessage = "an old copy exists in the source's namespace, which the operator never writes to: delete it manually"
)

// Writes reports whether the action sends a request, and can therefore find another object than the observed one.
func (t ActionType) Writes() bool {
	return t != Keep && t != Wait && t != Conflict
}

// Action is one step of a plan. It applies to one object, and only while that object is in the observed state.
type Action struct {
	Type      ActionType
	Namespace string
	Name      string
	// Desired is true if the namespace is a target: the action counts towards the desired copies.
	Desired bool
	// Observed is the state of the object when the action was planned, or nil if no object was known.
	Observed *Observed
	// Template is the desired state of the object, or nil if the copy is pruned.
	Template *Template
	// Adopt is true for an update that adopts a foreign object.
	Adopt bool
	// NewOwner is the owner after a handover.
	NewOwner types.NamespacedName
	// expected is the action that a create stands for, see [Input.hideUnseen]; empty for every other action.
	expected ActionType
	// nextOwners are the Replikas to ask, in turn, when the new owner is not allowed to write the copy.
	nextOwners []types.NamespacedName
	// Reason and Message explain Conflict and Wait: machine-readable and human-readable.
	Reason, Message string
	// RetryAfter is the delay until the object is planned again, or 0 if a watch reports when that is needed.
	RetryAfter time.Duration
	// Refused is true for Wait if the API server refused the same request before.
	Refused bool
	// InFlight is true for Wait if an earlier write of the copy has not been answered yet.
	InFlight bool
}

// Input is everything that a plan depends on.
type Input struct {
	Replika types.NamespacedName
	// Kind and Name are those of the copies. They are known even if there is no source, and therefore no template.
	Kind schema.GroupKind
	Name string
	// Template is nil if there is no source. Existing copies in target namespaces are then kept unchanged.
	Template *Template
	// KeysWithdrawn is true if, without a template, copies of the source are not kept: they can have keys that the source's owner
	// no longer allows.
	KeysWithdrawn bool
	// Sources is nil unless the Replika has many sources, of this kind. Then it says which objects in their namespace can be sources.
	Sources *SourceSelector
	// Selection is nil if no namespace is a target: the Replika is being deleted, or its source is gone and its copies are
	// deleted with it.
	Selection *Selection
	// SourceNamespace is that of the source. SourceName is empty if the copies are of another kind than the source.
	SourceNamespace string
	SourceName      string
	// Impersonated is true if copies are written as a ServiceAccount, see [Input.hideUnseen].
	Impersonated    bool
	ConflictPolicy  v1alpha1.ConflictPolicy
	ImmutableFields v1alpha1.ImmutableFieldsPolicy
	DeletionPolicy  v1alpha1.DeletionPolicy
	// Namespaces are all namespaces of the cluster.
	Namespaces []Namespace
	// Observed are the known objects of this kind: the copies of this Replika in any namespace, and foreign objects with the
	// name of a copy.
	Observed []*Observed
	// Claimants are the Replikas that can claim the same objects. This one can be among them.
	Claimants Claimants

	// RemovedByOthers are the copies that other clients removed since the last plan.
	RemovedByOthers map[types.NamespacedName]bool
	// OutOfSync are the copies that the last reconcile failed to bring in sync.
	OutOfSync map[types.NamespacedName]bool
	// TemplateUnchanged is true if an earlier reconcile had the same template: a copy that differs from it has drifted.
	TemplateUnchanged bool
	// Contests are the histories of repaired copies. Now and Synchronization determine their backoff.
	Contests        map[types.NamespacedName]Contest
	Now             time.Time
	Synchronization time.Duration
	// Refusals are the histories of copies that the API server refuses. Generation is that of the Replika's spec.
	Refusals map[types.NamespacedName]Refusal
	// RetryRefused requests refused copies again before their delay is over.
	RetryRefused bool
	Generation   int64
	// InFlight are the copies of which an earlier write has not been answered yet.
	InFlight map[types.NamespacedName]bool
}

// Plan returns the actions, at most one for each object, sorted by namespace and name.
func Plan(in *Input) []Action {
	observed := make(map[types.NamespacedName]*Observed, len(in.Observed))
	for _, object := range in.Observed {
		observed[object.Key()] = object
	}
	namespaces := in.NamespacesByName()
	var actions []Action
	for _, namespace := range in.Namespaces {
		key := types.NamespacedName{Namespace: namespace.Name, Name: in.Name}
		if in.selects(namespace) && !in.withdrawn(observed[key]) {
			action := in.Decide(namespace, observed[key])
			in.hideUnseen(&action)
			in.backOffRefused(&action, namespace)
			in.awaitInFlight(&action)
			actions = append(actions, action)
			delete(observed, key)
		}
	}
	for _, object := range observed {
		namespace, found := namespaces[object.Namespace]
		if !found && in.Selection != nil && !in.isProtected(object) {
			// The namespace is deleted, or newer than the list: whether it is a target is not known before it is listed.
			continue
		}
		namespace.Name = object.Namespace
		if action, needed := in.prune(namespace, object); needed {
			actions = append(actions, action)
		}
	}
	slices.SortFunc(actions, func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return actions
}

// NamespacesByName returns the namespaces by their names.
func (in *Input) NamespacesByName() map[string]Namespace {
	namespaces := make(map[string]Namespace, len(in.Namespaces))
	for _, namespace := range in.Namespaces {
		namespaces[namespace.Name] = namespace
	}
	return namespaces
}

func (in *Input) source() types.NamespacedName {
	return types.NamespacedName{Namespace: in.SourceNamespace, Name: in.SourceName}
}

func (in *Input) selects(namespace Namespace) bool {
	key := types.NamespacedName{Namespace: namespace.Name, Name: in.Name}
	return in.Selection != nil && key != in.source() && in.Selection.Selects(namespace)
}

// isProtected reports whether nothing is ever written to the object: it is the source itself, or the spec names it as one of many, or it
// is in the source's namespace and was not made for it, so that the source's namespace has received no copy on purpose.
func (in *Input) isProtected(object *Observed) bool {
	return object.Key() == in.source() || object.Namespace == in.SourceNamespace && in.Sources.Names(object.Name) ||
		object.Namespace == in.SourceNamespace && object.Origin.Value().Source.Namespace != object.Namespace
}

// couldBeSource reports whether the object can be one of the Replika's other sources, which are never written.
func (in *Input) couldBeSource(object *Observed) bool {
	return in.Sources != nil && object.Namespace == in.SourceNamespace && in.Sources.CouldMatch(object.Name)
}

// withdrawn reports whether the object is a copy of the source that is not kept.
func (in *Input) withdrawn(object *Observed) bool {
	return in.Template == nil && in.KeysWithdrawn && object != nil && object.Origin.Value().Source == in.source()
}

// Decide returns the action for the copy in one target namespace, given the object that exists there (nil if there is none).
// It is called again if an action finds another state than the observed one.
func (in *Input) Decide(namespace Namespace, object *Observed) Action {
	action := Action{
		Namespace: namespace.Name,
		Name:      in.Name,
		Desired:   true,
		Observed:  object,
		Template:  in.Template,
	}
	nameProblem := in.nameProblem(object)
	switch {
	case in.Template == nil:
		action.Type = Keep
	case namespace.Name == in.SourceNamespace && in.Sources.Names(in.Name):
		action.conflict(namedAsSourceMessage)
	case nameProblem != "":
		action.conflict(nameProblem)
		action.Reason = v1alpha1.FailureRejected
	case object == nil:
		action.Type = in.createOrLookUp()
	case object.Terminating:
		action.wait(v1alpha1.FailureUnavailable, terminatingMessage)
	case object.Marks == MarksNewer:
		action.conflict(newerMarksMessage)
	case object.Marks == MarksAbsent:
		in.decideForeign(&action)
	case object.OwnedBy(in.Replika):
		action.Type = Update
		if in.inSync(object) {
			action.Type = Keep
		}
	default:
		in.decideOwnedByOther(&action, namespace)
	}
	if object != nil && object.MetadataOnly && action.Type.Writes() {
		// An update needs the content, which is not known. The conflict of a create reads the object.
		action.Type, action.Adopt = in.createOrLookUp(), false
	}
	in.backOffContested(&action)
	in.backOffRefused(&action, namespace)
	return action
}

// backOffContested delays the repair of a copy that another client keeps changing. The copy stays contested until it has
// been in sync for long enough. A change of the template is never delayed.
func (in *Input) backOffContested(action *Action) {
	contest, found := in.Contests[action.Key()]
	if !found || !in.TemplateUnchanged {
		return
	}
	switch action.Type {
	case Create, LookUp, Update, Keep:
		backoff := contest.Backoff(in.Now, in.Synchronization)
		if backoff > 0 || action.Type == Keep && contest.Contested() {
			action.wait(v1alpha1.FailureContested, ContestedMessage)
			action.RetryAfter = backoff
		}
	default:
	}
}

// decideForeign sets the action for an object without valid marks.
func (in *Input) decideForeign(action *Action) {
	object := action.Observed
	switch {
	case object.HasController:
		action.conflict(hasControllerMessage)
	case in.couldBeSource(object):
		action.conflict(couldBeSourceMessage)
	case in.isLegacyCopy(object):
		action.Type = Update
	case in.ConflictPolicy != v1alpha1.ConflictPolicyAdopt:
		action.conflict(foreignObjectMessage)
	default:
		action.Type = Update
		action.Adopt = true
	}
}

// decideOwnedByOther sets the action for a copy that another Replika owns. It keeps the copy as long as it claims it.
func (in *Input) decideOwnedByOther(action *Action, namespace Namespace) {
	owner, _ := action.Observed.Owner()
	if in.Claimants.Claims(owner, in.Kind, in.Name, namespace) {
		action.conflict(fmt.Sprintf(ownedByOtherMessage, owner))
		return
	}
	action.Type = Update
}

// isLegacyCopy reports whether the object is a copy that the 2022 release created for this Replika. It has both labels, the
// content of the template, and no marks. An object with invalid marks is a duplicate of a copy, not a legacy copy.
func (in *Input) isLegacyCopy(object *Observed) bool {
	origin := object.Origin.Value()
	return object.Marks == MarksAbsent && !object.HasAnyMark &&
		origin.CreatedBy == v1alpha1.CreatedByValue &&
		origin.PartOf == v1alpha1.PartOf(in.Replika.Name) &&
		in.Template.contentMatches(object)
}

// inSync reports whether the copy equals the template, or what the API server made of the template.
func (in *Input) inSync(object *Observed) bool {
	return object.Digests == in.Template.Digests || object.AcceptedDigests == in.Template.Digests
}

// prune returns the action for an object that is not a desired copy, or false if none is needed. Only this Replika's own
// copies are pruned, and in the source's namespace only those that were made for it.
func (in *Input) prune(namespace Namespace, object *Observed) (Action, bool) {
	if !object.OwnedBy(in.Replika) || object.Terminating || namespace.Terminating {
		return Action{}, false
	}
	action := Action{Namespace: object.Namespace, Name: object.Name, Observed: object}
	if in.isProtected(object) {
		action.conflict(sourceNamespaceMessage)
		return action, true
	}
	action.nextOwners = in.Claimants.NextOwners(in.Replika, in.Kind, object.Name, namespace)
	in.handOver(&action)
	in.backOffRefused(&action, namespace)
	in.awaitInFlight(&action)
	return action, true
}

// handOver sets the action for a copy that the next Replika in turn takes over; without one, the copy is deleted or released.
func (in *Input) handOver(action *Action) {
	if len(action.nextOwners) == 0 {
		in.deleteOrRelease(action)
		return
	}
	action.Type, action.NewOwner, action.nextOwners = HandOver, action.nextOwners[0], action.nextOwners[1:]
}

// deleteOrRelease sets the action for a copy that no other Replika takes over. Adopted objects are never deleted, nor are
// those that every namespace has.
func (in *Input) deleteOrRelease(action *Action) {
	action.Type, action.NewOwner = Delete, types.NamespacedName{}
	if action.Observed.Adopted || isInEveryNamespace(in.Kind, action.Name) || in.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		action.Type = Release
	}
}

// isInEveryNamespace reports whether the cluster creates the object in every namespace. It can be adopted, but is never
// created, deleted or recreated: Pods use its UID, and a copy that is created first would be deleted with its Replika.
func isInEveryNamespace(kind schema.GroupKind, name string) bool {
	switch kind {
	case serviceAccountKind:
		return name == "default"
	case configMapKind:
		return name == "kube-root-ca.crt" || name == "openshift-service-ca.crt"
	default:
		return false
	}
}

// createOrLookUp returns the action for an object that is not known to exist.
func (in *Input) createOrLookUp() ActionType {
	if isInEveryNamespace(in.Kind, in.Name) {
		return LookUp
	}
	return Create
}

// Key is the namespace and name of the object.
func (a *Action) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name}
}

func (a *Action) conflict(message string) {
	a.Type, a.Reason, a.Message = Conflict, v1alpha1.FailureConflict, message
}

func (a *Action) wait(reason, message string) {
	a.Type, a.Reason, a.Message = Wait, reason, message
}
