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

// ActionType is what to do about one object.
type ActionType string

const (
	// Create makes the copy; it fails on anything in the way.
	Create ActionType = "create"
	// Update brings an existing copy in line with the template, takes over one whose owner is gone, or, with Adopt,
	// makes a foreign object a copy.
	Update ActionType = "update"
	// Recreate deletes the copy and makes it anew, for fields that the API server refuses to change.
	Recreate ActionType = "recreate"
	// Delete removes a copy that is no longer wanted.
	Delete ActionType = "delete"
	// Release takes our labels and marks off and leaves the rest.
	Release ActionType = "release"
	// HandOver makes the Replika whose turn it is the owner of a copy that is no longer wanted here.
	HandOver ActionType = "hand over"
	// Keep does nothing: the copy is in sync.
	Keep ActionType = "keep"
	// Wait does nothing now: the object is on its way out.
	Wait ActionType = "wait"
	// Conflict does nothing: the object is not ours to touch.
	Conflict ActionType = "conflict"
)

// Writes tells whether the action sends a request.
func (t ActionType) Writes() bool {
	return t != Keep && t != Wait && t != Conflict
}

// Action is one step of a plan. It acts on one object, and assumes that it is as Observed.
type Action struct {
	Type      ActionType
	Namespace string
	Name      string
	// Wanted is true while the namespace is a target: the action counts for the copies that are desired.
	Desired bool
	// Observed is the object as it was when the action was planned; nil for none.
	Observed *Observed
	// Template is what the object must look like afterwards; nil when it is given up.
	Template *Template
	// Adopt marks an update that takes over a foreign object.
	Adopt bool
	// Heir is the owner after a hand-over.
	NewOwner types.NamespacedName
	// Reason and Message say, in a word and for people, why nothing is done about a conflict or while waiting.
	Reason, Message string
	// Hold is how long to wait before the object is looked at again; 0 when a watch will tell.
	RetryAfter time.Duration
}

// Input is all that a plan depends on.
type Input struct {
	Replika types.NamespacedName
	// Kind and Name are those of the copies, also while there is no source to make a template of.
	Kind schema.GroupKind
	Name string
	// Template is nil while there is no source; then existing copies in target namespaces are kept as they are.
	Template *Template
	// Selection is nil when no namespace is a target any more: the Replika is being deleted, or its source is gone and
	// the copies go with it.
	Selection       *Selection
	SourceNamespace string
	ConflictPolicy  v1alpha1.ConflictPolicy
	ImmutableFields v1alpha1.ImmutableFieldsPolicy
	DeletionPolicy  v1alpha1.DeletionPolicy
	// Namespaces are all namespaces of the cluster.
	Namespaces []Namespace
	// Observed are the objects of this kind that are known: the copies of this Replika wherever they are, and what
	// else is known to stand at a copy's place.
	Observed []*Observed
	// Rivals are the Replikas that may claim the same objects, this one included or not.
	Claimants Claimants

	// TemplateKnown is true when an earlier pass had this very template: what differs from it has drifted.
	TemplateUnchanged bool
	// Contests are the histories of copies that had to be repaired, and Now and Synchronization what they are judged by.
	Contests        map[types.NamespacedName]Contest
	Now             time.Time
	Synchronization time.Duration
}

// Plan lists what to do, at most one action for each object, sorted by namespace and name.
func Plan(in *Input) []Action {
	observed := make(map[types.NamespacedName]*Observed, len(in.Observed))
	for _, object := range in.Observed {
		observed[object.Key()] = object
	}
	namespaces := make(map[string]Namespace, len(in.Namespaces))
	var actions []Action
	for _, namespace := range in.Namespaces {
		namespaces[namespace.Name] = namespace
		if in.selects(namespace) {
			key := types.NamespacedName{Namespace: namespace.Name, Name: in.Name}
			actions = append(actions, in.Decide(namespace, observed[key]))
			delete(observed, key)
		}
	}
	for _, object := range observed {
		namespace, known := namespaces[object.Namespace]
		if !known {
			// Gone, or newer than the list: nothing is known of it but its name.
			namespace.Name = object.Namespace
		}
		if action, needed := in.prune(namespace, object); needed {
			actions = append(actions, action)
		}
	}
	slices.SortFunc(actions, func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return actions
}

func (in *Input) selects(namespace Namespace) bool {
	return in.Selection != nil && namespace.Name != in.SourceNamespace && in.Selection.Selects(namespace)
}

// Decide says what to do about the copy in one target namespace, given what is there (nil for nothing). It is asked again
// when an action met something else than it assumed.
func (in *Input) Decide(namespace Namespace, object *Observed) Action {
	action := Action{
		Namespace: namespace.Name,
		Name:      in.Name,
		Desired:   true,
		Observed:  object,
		Template:  in.Template,
	}
	switch {
	case in.Template == nil:
		action.Type = Keep
	case object == nil:
		action.Type = Create
	case object.Terminating:
		action.wait(v1alpha1.FailureUnavailable, "the object is being deleted and has finalizers; the copy is made when it is gone")
	case object.Marks == MarksNewer:
		action.conflict("the object carries marks of a newer version of the operator; upgrade the operator, or delete the object")
	case object.Marks == MarksAbsent:
		in.decideForeign(&action)
	case object.OwnedBy(in.Replika):
		action.Type = Update
		if in.inSync(object) {
			action.Type = Keep
		}
	default:
		in.decideRival(&action, namespace)
	}
	if object != nil && object.MetadataOnly && action.Type.Writes() {
		// Its content is not known well enough to change it: meet it anew, by trying to create the copy.
		action.Type, action.Adopt = Create, false
	}
	in.backOffContested(&action)
	return action
}

// holdContested leaves a copy alone for a while that something else keeps changing. One that is in sync just now is out of
// the contest only when it stays so. A change of the template goes through at once.
func (in *Input) backOffContested(action *Action) {
	contest, found := in.Contests[action.Key()]
	if !found || !in.TemplateUnchanged {
		return
	}
	switch action.Type {
	case Create, Update, Keep:
		hold := contest.Backoff(in.Now, in.Synchronization)
		if hold > 0 || action.Type == Keep && contest.Contested() {
			action.wait(v1alpha1.FailureContested, ContestedMessage)
			action.RetryAfter = hold
		}
	default:
	}
}

// ContestedMessage says what to do about a contest.
const ContestedMessage = "something else keeps changing or deleting the copy, so it is repaired less and less often: " +
	"stop the other writer, or exclude the namespace"

// decideForeign decides about an object that does not carry our marks for it.
func (in *Input) decideForeign(action *Action) {
	object := action.Observed
	switch {
	case in.isLegacyCopy(object):
		action.Type = Update
	case in.ConflictPolicy != v1alpha1.ConflictPolicyAdopt:
		action.conflict("an object that is not a copy of this Replika is in the way: " +
			"delete or rename it, exclude the namespace, or set spec.target.conflictPolicy to Adopt")
	case object.HasController:
		action.conflict("the object in the way has a controller of its own (an owner reference says so) and cannot be adopted: " +
			"delete it, or exclude the namespace")
	default:
		action.Type = Update
		action.Adopt = true
	}
}

// decideRival decides about a copy that belongs to another Replika: the owner keeps it while it wants it.
func (in *Input) decideRival(action *Action, namespace Namespace) {
	owner, _ := action.Observed.Owner()
	if in.Claimants.Claims(owner, in.Kind, in.Name, namespace) {
		action.conflict(fmt.Sprintf("the object is the copy of Replika %s, which keeps it: "+
			"give one of the two another spec.target.name or other namespaces", owner))
		return
	}
	action.Type = Update
}

// isLegacyCopy recognises a copy that the 2022 release made: it bears both labels and no marks, not even marks that say
// nothing here (somebody duplicated a copy). It is ours when it is named for this Replika and has the content that we
// would give it.
func (in *Input) isLegacyCopy(object *Observed) bool {
	origin := object.Origin.Value()
	return object.Marks == MarksAbsent && !object.HasAnyMark &&
		origin.CreatedBy == v1alpha1.CreatedByValue &&
		origin.PartOf == v1alpha1.PartOf(in.Replika.Name) &&
		in.Template.contentMatches(object)
}

// inSync tells whether the copy is as the template wants it, or as the API server answered when it was told so.
func (in *Input) inSync(object *Observed) bool {
	return object.Digests == in.Template.Digests || object.AcceptedDigests == in.Template.Digests
}

// giveUp decides about an object at a place where this Replika wants no copy. Only a copy of this very Replika is touched,
// and never one in the source's namespace.
func (in *Input) prune(namespace Namespace, object *Observed) (Action, bool) {
	if !object.OwnedBy(in.Replika) || object.Terminating || namespace.Terminating {
		return Action{}, false
	}
	action := Action{Namespace: object.Namespace, Name: object.Name, Observed: object}
	heir, inherited := in.Claimants.NextOwner(in.Replika, in.Kind, object.Name, namespace)
	switch {
	case object.Namespace == in.SourceNamespace:
		action.conflict("a copy from before stands in what is now the source's namespace, where nothing is ever written: delete it by hand")
	case inherited:
		action.Type = HandOver
		action.NewOwner = heir
	default:
		in.deleteOrRelease(&action)
	}
	return action, true
}

// letGo gives up a copy that nobody inherits.
func (in *Input) deleteOrRelease(action *Action) {
	action.Type, action.NewOwner = Delete, types.NamespacedName{}
	if action.Observed.Adopted || in.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		action.Type = Release
	}
}

// Key is the namespace and name of the object that the action is about.
func (a *Action) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name}
}

func (a *Action) conflict(message string) {
	a.Type, a.Reason, a.Message = Conflict, v1alpha1.FailureConflict, message
}

func (a *Action) wait(reason, message string) {
	a.Type, a.Reason, a.Message = Wait, reason, message
}
