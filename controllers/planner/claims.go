package planner

import (
	"cmp"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Claimant is a Replika as its rivals see it: it wishes for one object, of one kind and name, in each namespace it selects.
// Claims are by group and kind, so that two served versions of a kind are one.
type Claimant struct {
	Replika types.NamespacedName
	Kind    schema.GroupKind
	Name    string
	created time.Time
	// selection is compiled when first asked for: most Replikas are nobody's rivals.
	selection func() *Selection
	// disinherited is true while the Replika cannot serve what it would inherit, would give it up at once, or would leave it
	// behind: it has no finalizer before it may have copies.
	cannotInherit bool
}

// NewClaimant returns the Replika's claims, or false for one that claims nothing because it is being deleted. One that
// cannot select claims nothing either.
func NewClaimant(replika *v1alpha1.Replika) (Claimant, bool) {
	if replika.DeletionTimestamp != nil {
		return Claimant{}, false
	}
	return Claimant{
		Replika: types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name},
		Kind:    schema.GroupKind{Group: replika.Spec.Source.Group, Kind: replika.Spec.Source.Kind},
		Name:    replika.TargetName(),
		created: replika.CreationTimestamp.Time,
		selection: sync.OnceValue(func() *Selection {
			selection, err := NewSelection(replika)
			if err != nil {
				return &Selection{selector: labels.Nothing()}
			}
			return selection
		}),
		cannotInherit: !slices.Contains(replika.Finalizers, v1alpha1.Finalizer) ||
			slices.ContainsFunc(replika.Status.Conditions, func(condition metav1.Condition) bool {
				return condition.Type == v1alpha1.ConditionReady && cannotInherit(replika, condition.Reason)
			}),
	}, true
}

// disinherits tells whether a Replika that is not ready for this reason inherits nothing: its copies go with the source,
// or it may not serve at all.
func cannotInherit(replika *v1alpha1.Replika, reason string) bool {
	switch reason {
	case v1alpha1.ReasonSourceNotFound:
		return replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete
	case v1alpha1.ReasonForbidden, v1alpha1.ReasonSourceNotAllowed, v1alpha1.ReasonServiceAccountRequired:
		return true
	default:
		return false
	}
}

// Claimants are the Replikas that may claim the same objects, the one whose turn comes first in front.
type Claimants []Claimant

// SortClaimants puts the oldest Replika first, and of those made in the same second the first by name: an order that no
// restart changes.
func SortClaimants(claimants []Claimant) Claimants {
	slices.SortFunc(claimants, func(a, b Claimant) int {
		return cmp.Or(
			a.created.Compare(b.created),
			cmp.Compare(a.Replika.Namespace, b.Replika.Namespace),
			cmp.Compare(a.Replika.Name, b.Replika.Name),
		)
	})
	return claimants
}

// Claims tells whether the Replika claims the object.
func (c Claimants) Claims(replika types.NamespacedName, kind schema.GroupKind, name string, namespace Namespace) bool {
	return slices.ContainsFunc(c, func(claimant Claimant) bool {
		return claimant.Replika == replika && claimant.claims(kind, name, namespace)
	})
}

// Heir names the Replika, other than the given one, whose turn it is to own the object. One whose status says that its
// copies go with its source inherits nothing: two such would hand the object back and forth for ever.
func (c Claimants) NextOwner(of types.NamespacedName, kind schema.GroupKind, name string, namespace Namespace) (types.NamespacedName, bool) {
	for _, claimant := range c {
		if claimant.Replika != of && !claimant.cannotInherit && claimant.claims(kind, name, namespace) {
			return claimant.Replika, true
		}
	}
	return types.NamespacedName{}, false
}

func (c Claimant) claims(kind schema.GroupKind, name string, namespace Namespace) bool {
	return c.Kind == kind && c.Name == name && c.selection().Selects(namespace)
}
