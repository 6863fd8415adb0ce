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
		"defaults": {func(*v1alpha1.Replika) {}, true, "settings", configMapKind},
		"target name overrides source name": {
			func(r *v1alpha1.Replika) { r.Spec.Target.Name = "shared" }, true, "shared", configMapKind,
		},
		"version is ignored": {
			func(r *v1alpha1.Replika) { r.Spec.Source.Version = "v2" }, true, "settings", configMapKind,
		},
		"suspended": {
			func(r *v1alpha1.Replika) { r.Spec.Suspend = true }, true, "settings", configMapKind,
		},
		"being deleted": {withDeletion, false, "", schema.GroupKind{}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			claimant, claims := NewClaimant(newReplika(testCase.change))
			if claims != testCase.wantClaims || claimant.Name != testCase.wantName || claimant.Kind != testCase.wantKind {
				t.Errorf("got %v, %q, %v", claims, claimant.Name, claimant.Kind)
			}
		})
	}
}

func TestClaimants_Claims_InvalidSelector(t *testing.T) {
	invalid := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{
			MatchExpressions: []v1alpha1.NamespaceRequirement{{Key: "team", Operator: "Near"}},
		}}
	})
	if newClaimants(invalid).Claims(replikaKey, configMapKind, "settings", Namespace{Name: "team-a"}) {
		t.Error("a Replika with an invalid selector claims an object")
	}
}

// The order determines the next owner, so it must be the same after a restart.
func TestSortClaimants(t *testing.T) {
	young := newReplika(withName(types.NamespacedName{Namespace: "a", Name: "a"}), withCreationTime(9))
	byName := newReplika(withName(types.NamespacedName{Namespace: "b", Name: "z"}), withCreationTime(5))
	byNamespace := newReplika(withName(types.NamespacedName{Namespace: "a", Name: "z"}), withCreationTime(5))
	last := newReplika(withName(types.NamespacedName{Namespace: "b", Name: "y"}), withCreationTime(5))
	want := []string{"a/z", "b/y", "b/z", "a/a"}
	for _, replikas := range [][]*v1alpha1.Replika{{young, byName, byNamespace, last}, {last, byNamespace, byName, young}} {
		var got []string
		for _, claimant := range newClaimants(replikas...) {
			got = append(got, claimant.Replika.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestClaimants_Claims(t *testing.T) {
	claimants := newClaimants(newReplika(withTargetNamespaces("shop")))
	cases := map[string]struct {
		replika   types.NamespacedName
		kind      schema.GroupKind
		name      string
		namespace Namespace
		want      bool
	}{
		"own copy":              {replikaKey, configMapKind, "settings", Namespace{Name: "shop"}, true},
		"another Replika":       {otherReplikaKey, configMapKind, "settings", Namespace{Name: "shop"}, false},
		"another kind":          {replikaKey, secretKind, "settings", Namespace{Name: "shop"}, false},
		"another name":          {replikaKey, configMapKind, "other", Namespace{Name: "shop"}, false},
		"another namespace":     {replikaKey, configMapKind, "settings", Namespace{Name: "web"}, false},
		"terminating namespace": {replikaKey, configMapKind, "settings", Namespace{Name: "shop", Terminating: true}, false},
		"source namespace":      {replikaKey, configMapKind, "settings", Namespace{Name: "vault"}, false},
		"excluded namespace":    {replikaKey, configMapKind, "settings", Namespace{Name: "shop", Excluded: true}, false},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := claimants.Claims(testCase.replika, testCase.kind, testCase.name, testCase.namespace); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

func TestClaimants_NextOwner(t *testing.T) {
	first := types.NamespacedName{Namespace: "x", Name: "first"}
	second := types.NamespacedName{Namespace: "x", Name: "second"}
	cases := map[string]struct {
		replikas  []*v1alpha1.Replika
		want      types.NamespacedName
		wantFound bool
	}{
		"no claimants":                          {nil, types.NamespacedName{}, false},
		"only the current owner":                {[]*v1alpha1.Replika{newReplika()}, types.NamespacedName{}, false},
		"oldest first":                          {[]*v1alpha1.Replika{newReplika(withName(second), withCreationTime(2)), newReplika(withName(first), withCreationTime(1))}, first, true},
		"skips the current owner":               {[]*v1alpha1.Replika{newReplika(withCreationTime(1)), newReplika(withName(second), withCreationTime(2))}, second, true},
		"skips a Replika with other namespaces": {[]*v1alpha1.Replika{newReplika(withName(first), withTargetNamespaces("web")), newReplika(withName(second), withCreationTime(2))}, second, true},
		"skips a Replika that is being deleted": {[]*v1alpha1.Replika{newReplika(withName(first), withDeletion), newReplika(withName(second), withCreationTime(2))}, second, true},
		"skips one whose copies are deleted with the source": {
			[]*v1alpha1.Replika{newReplika(withName(first), withSourceDeleted), newReplika(withName(second), withCreationTime(2))}, second, true,
		},
		"skips Forbidden": {
			[]*v1alpha1.Replika{newReplika(withName(first), withNotReady(v1alpha1.ReasonForbidden)), newReplika(withName(second), withCreationTime(2))}, second, true,
		},
		"skips SourceNotAllowed": {
			[]*v1alpha1.Replika{newReplika(withName(first), withNotReady(v1alpha1.ReasonSourceNotAllowed)), newReplika(withName(second), withCreationTime(2))}, second, true,
		},
		"skips ServiceAccountRequired": {
			[]*v1alpha1.Replika{newReplika(withName(first), withNotReady(v1alpha1.ReasonServiceAccountRequired)), newReplika(withName(second), withCreationTime(2))}, second, true,
		},
		"includes CopiesFailed": {
			[]*v1alpha1.Replika{newReplika(withName(first), withNotReady(v1alpha1.ReasonCopiesFailed)), newReplika(withName(second), withCreationTime(2))}, first, true,
		},
		"skips one whose source does not allow the namespace": {
			[]*v1alpha1.Replika{newReplika(withName(first), withAllowedNamespaces("web")), newReplika(withName(second), withCreationTime(2), withAllowedNamespaces("sh*"))}, second, true,
		},
		"skips one without finalizer": {[]*v1alpha1.Replika{newReplika(withName(first), func(r *v1alpha1.Replika) {
			r.Finalizers = []string{"example.com/other"}
		}), newReplika(withName(second), withCreationTime(2))}, second, true},
		"includes one that retains its copies without source": {[]*v1alpha1.Replika{newReplika(withName(first), withSourceDeleted, func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionRetain
		})}, first, true},
		"includes one whose source exists": {[]*v1alpha1.Replika{newReplika(withName(first), func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonSynced}}
		})}, first, true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			got, found := newClaimants(testCase.replikas...).NextOwner(replikaKey, configMapKind, "settings", Namespace{Name: "shop"})
			if got != testCase.want || found != testCase.wantFound {
				t.Errorf("got %v, %v, want %v, %v", got, found, testCase.want, testCase.wantFound)
			}
		})
	}
}

// A Replika that will prune its copies claims them until it has handed them over.
func TestClaimants_Claims_SourceDeleted(t *testing.T) {
	if !newClaimants(newReplika(withSourceDeleted)).Claims(replikaKey, configMapKind, "settings", Namespace{Name: "shop"}) {
		t.Error("a Replika without source lost its claim")
	}
}
