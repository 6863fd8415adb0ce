package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestNewClaimant(t *testing.T) {
	cases := map[string]struct {
		change     func(*v1alpha1.Replika)
		wantClaims bool
		wantName   string
		wantKind   schema.GroupKind
	}{
		"plain": {func(*v1alpha1.Replika) {}, true, "settings", configMapKind},
		"a target name wins over the source's": {
			func(r *v1alpha1.Replika) { r.Spec.Target.Name = "shared" }, true, "shared", configMapKind,
		},
		"whatever the version": {
			func(r *v1alpha1.Replika) { r.Spec.Source.Version = "v2" }, true, "settings", configMapKind,
		},
		"a suspended one keeps its claims": {
			func(r *v1alpha1.Replika) { r.Spec.Suspend = true }, true, "settings", configMapKind,
		},
		"one in deletion claims nothing": {beingDeleted, false, "", schema.GroupKind{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			claimant, claims := NewClaimant(newReplika(c.change))
			if claims != c.wantClaims || claimant.Name != c.wantName || claimant.Kind != c.wantKind {
				t.Errorf("got %v, %q, %v", claims, claimant.Name, claimant.Kind)
			}
		})
	}
}

func TestOneThatCannotSelectClaimsNothing(t *testing.T) {
	broken := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{
			MatchExpressions: []v1alpha1.NamespaceRequirement{{Key: "team", Operator: "Near"}},
		}}
	})
	name := types.NamespacedName{Namespace: broken.Namespace, Name: broken.Name}
	if claimants(broken).Claims(name, configMapKind, "settings", Namespace{Name: "team-a"}) {
		t.Error("claims an object although its selector cannot be compiled")
	}
}

// The order decides who inherits, so it must be the same after every restart.
func TestSortClaimants(t *testing.T) {
	young := newReplika(named(types.NamespacedName{Namespace: "a", Name: "a"}), createdAt(9))
	byName := newReplika(named(types.NamespacedName{Namespace: "b", Name: "z"}), createdAt(5))
	byNamespace := newReplika(named(types.NamespacedName{Namespace: "a", Name: "z"}), createdAt(5))
	last := newReplika(named(types.NamespacedName{Namespace: "b", Name: "y"}), createdAt(5))
	want := []string{"a/z", "b/y", "b/z", "a/a"}
	for _, replikas := range [][]*v1alpha1.Replika{{young, byName, byNamespace, last}, {last, byNamespace, byName, young}} {
		var got []string
		for _, claimant := range claimants(replikas...) {
			got = append(got, claimant.Replika.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestClaims(t *testing.T) {
	rivals := claimants(newReplika(into("shop")))
	cases := map[string]struct {
		replika   types.NamespacedName
		kind      schema.GroupKind
		name      string
		namespace Namespace
		want      bool
	}{
		"its own":                 {ours, configMapKind, "settings", Namespace{Name: "shop"}, true},
		"of another Replika":      {theirs, configMapKind, "settings", Namespace{Name: "shop"}, false},
		"of another kind":         {ours, secretKind, "settings", Namespace{Name: "shop"}, false},
		"of another name":         {ours, configMapKind, "other", Namespace{Name: "shop"}, false},
		"in another namespace":    {ours, configMapKind, "settings", Namespace{Name: "web"}, false},
		"in a Terminating one":    {ours, configMapKind, "settings", Namespace{Name: "shop", Terminating: true}, false},
		"in the source's place":   {ours, configMapKind, "settings", Namespace{Name: "vault"}, false},
		"where copies are vetoed": {ours, configMapKind, "settings", Namespace{Name: "shop", Excluded: true}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := rivals.Claims(c.replika, c.kind, c.name, c.namespace); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestHeir(t *testing.T) {
	first := types.NamespacedName{Namespace: "x", Name: "first"}
	second := types.NamespacedName{Namespace: "x", Name: "second"}
	cases := map[string]struct {
		replikas []*v1alpha1.Replika
		want     types.NamespacedName
		wantHeir bool
	}{
		"nobody":          {nil, types.NamespacedName{}, false},
		"only the giver":  {[]*v1alpha1.Replika{newReplika()}, types.NamespacedName{}, false},
		"the oldest":      {[]*v1alpha1.Replika{newReplika(named(second), createdAt(2)), newReplika(named(first), createdAt(1))}, first, true},
		"not the giver":   {[]*v1alpha1.Replika{newReplika(createdAt(1)), newReplika(named(second), createdAt(2))}, second, true},
		"one that claims": {[]*v1alpha1.Replika{newReplika(named(first), into("web")), newReplika(named(second), createdAt(2))}, second, true},
		"one that lives":  {[]*v1alpha1.Replika{newReplika(named(first), beingDeleted), newReplika(named(second), createdAt(2))}, second, true},
		"one that keeps what it gets": {
			[]*v1alpha1.Replika{newReplika(named(first), sourceGone), newReplika(named(second), createdAt(2))}, second, true,
		},
		"one that may read its source": {
			[]*v1alpha1.Replika{newReplika(named(first), notReady(v1alpha1.ReasonForbidden)), newReplika(named(second), createdAt(2))}, second, true,
		},
		"one whose source may be copied": {
			[]*v1alpha1.Replika{newReplika(named(first), notReady(v1alpha1.ReasonSourceNotAllowed)), newReplika(named(second), createdAt(2))}, second, true,
		},
		"one that has the account it needs": {
			[]*v1alpha1.Replika{newReplika(named(first), notReady(v1alpha1.ReasonServiceAccountRequired)), newReplika(named(second), createdAt(2))}, second, true,
		},
		"one with failures elsewhere": {
			[]*v1alpha1.Replika{newReplika(named(first), notReady(v1alpha1.ReasonCopiesFailed)), newReplika(named(second), createdAt(2))}, first, true,
		},
		"one whose source allows the namespace": {
			[]*v1alpha1.Replika{newReplika(named(first), allowedIn("web")), newReplika(named(second), createdAt(2), allowedIn("sh*"))}, second, true,
		},
		"one that would not just vanish": {[]*v1alpha1.Replika{newReplika(named(first), func(r *v1alpha1.Replika) {
			r.Finalizers = []string{"example.com/other"}
		}), newReplika(named(second), createdAt(2))}, second, true},
		"its source is gone, its copies stay": {[]*v1alpha1.Replika{newReplika(named(first), sourceGone, func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionRetain
		})}, first, true},
		"its copies would go, its source is there": {[]*v1alpha1.Replika{newReplika(named(first), func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonSynced}}
		})}, first, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, found := claimants(c.replikas...).NextOwner(ours, configMapKind, "settings", Namespace{Name: "shop"})
			if got != c.want || found != c.wantHeir {
				t.Errorf("got %v, %v, want %v, %v", got, found, c.want, c.wantHeir)
			}
		})
	}
}

// What its owner would give up it still owns: its claim holds against a rival until it has handed the object over.
func TestAClaimWithoutSourceStillHolds(t *testing.T) {
	if !claimants(newReplika(sourceGone)).Claims(ours, configMapKind, "settings", Namespace{Name: "shop"}) {
		t.Error("a rival could take the object")
	}
}
