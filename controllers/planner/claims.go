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

	"k8s.io/apimachinery/pkg/api/meta"
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
	// inherits is true while the Replika can take over copies, see [inherits].
	inherits bool
}

// Compile returns the compiled selectors of a Replika: [NewSelection], or a cache of what that returned.
type Compile func(*v1alpha1.Replika) (*Selection, error)

// NewClaimant returns the claims of the Replika, or false if it claims nothing: it is being deleted, or in a dry run. A Replika
// whose selectors are invalid claims nothing either.
func NewClaimant(replika *v1alpha1.Replika, compile Compile) (Claimant, bool) {
	if replika.DeletionTimestamp != nil || replika.Spec.Mode == v1alpha1.ModeDryRun {
		return Claimant{}, false
	}
	return Claimant{
		Replika: types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name},
		Kind:    schema.GroupKind{Group: replika.Spec.Source.Group, Kind: replika.Spec.Source.Kind},
		Name:    replika.TargetName(),
		created: replika.CreationTimestamp.Time,
		selection: sync.OnceValue(func() *Selection {
			selection, err := compile(replika)
			if err != nil {
				return &Selection{selector: labels.Nothing()}
			}
			return selection
		}),
		inherits: inherits(replika),
	}, true
}

// inherits reports whether the Replika can take over copies: only while it puts its own content into its copies. One that is
// suspended, that has no source to copy, or whose present spec was not reconciled yet would keep the content of the former
// owner, which may have been withdrawn. Without the finalizer its copies would be orphaned.
func inherits(replika *v1alpha1.Replika) bool {
	if replika.Spec.Suspend || !slices.Contains(replika.Finalizers, v1alpha1.Finalizer) ||
		replika.Status.ObservedGeneration != replika.Generation {
		return false
	}
	ready := meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return false
	}
	switch ready.Reason {
	case v1alpha1.ReasonSynced, v1alpha1.ReasonCopiesFailed, v1alpha1.ReasonTargetNamespaceNotFound:
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

// NextOwners returns the Replikas, other than the current owner, that claim the object and can take it over, in order of
// precedence. Two Replikas that cannot inherit would otherwise hand the object over to each other without end.
func (c Claimants) NextOwners(currentOwner types.NamespacedName, kind schema.GroupKind, name string, namespace Namespace) []types.NamespacedName {
	var owners []types.NamespacedName
	for _, claimant := range c {
		if claimant.Replika != currentOwner && claimant.inherits && claimant.claims(kind, name, namespace) {
			owners = append(owners, claimant.Replika)
		}
	}
	return owners
}

func (c Claimant) claims(kind schema.GroupKind, name string, namespace Namespace) bool {
	return c.Kind == kind && c.Name == name && c.selection().Selects(namespace)
}
