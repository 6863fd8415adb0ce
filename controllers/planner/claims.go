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
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// Claimant is a Replika that claims one object, of one kind and name, in each namespace that it selects. Other Replikas can
// claim the same objects. Claims ignore the version of the kind, because all versions serve the same objects.
type Claimant struct {
	Replika types.NamespacedName
	Kind    schema.GroupKind
	Name    string
	created time.Time
	// selection is compiled on first use, because most Replikas claim objects that no other Replika claims.
	selection func() *Selection
	// cannotInherit is true while the Replika cannot take over copies: it is not able to keep them in sync, it would prune
	// them at once, or it has no finalizer, without which its copies would be orphaned.
	cannotInherit bool
}

// NewClaimant returns the claims of the Replika, or false if it is being deleted and therefore claims nothing. A Replika
// whose selectors are invalid claims nothing either.
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

// cannotInherit reports whether a Replika with this reason of its Ready condition cannot take over copies: its copies are
// deleted with the source, or it lacks a permission or consent.
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

// Claimants are Replikas that can claim the same objects, in order of precedence.
type Claimants []Claimant

// SortClaimants sorts by age, the oldest Replika first, then by namespace and name. The order is the same after a restart.
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

// Claims reports whether the Replika claims the object.
func (c Claimants) Claims(replika types.NamespacedName, kind schema.GroupKind, name string, namespace Namespace) bool {
	return slices.ContainsFunc(c, func(claimant Claimant) bool {
		return claimant.Replika == replika && claimant.claims(kind, name, namespace)
	})
}

// NextOwner returns the first Replika, other than the current owner, that claims the object and can take it over. Two
// Replikas that cannot inherit would otherwise hand the object over to each other without end.
func (c Claimants) NextOwner(currentOwner types.NamespacedName, kind schema.GroupKind, name string, namespace Namespace) (types.NamespacedName, bool) {
	for _, claimant := range c {
		if claimant.Replika != currentOwner && !claimant.cannotInherit && claimant.claims(kind, name, namespace) {
			return claimant.Replika, true
		}
	}
	return types.NamespacedName{}, false
}

func (c Claimant) claims(kind schema.GroupKind, name string, namespace Namespace) bool {
	return c.Kind == kind && c.Name == name && c.selection().Selects(namespace)
}
