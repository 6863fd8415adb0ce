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
			claimant, claims := NewClaimant(newReplika(testCase.change), NewSelection)
			if claims != testCase.wantClaims || claimant.Name != testCase.wantName || claimant.Kind != testCase.wantKind {
				t.Errorf("got %v, %q, %v", claims, claimant.Name, claimant.Kind)
			}
		})
	}
}

func TestClaimants_Claims_InvalidSelector(t *testing.T) {
	invalid := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{
			MatchExpressions: []v1alpha1.LabelRequirement{{Key: "team", Operator: "Near"}},
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

func TestClaimants_NextOwners(t *testing.T) {
	first := types.NamespacedName{Namespace: "x", Name: "first"}
	second := types.NamespacedName{Namespace: "x", Name: "second"}
	younger := newReplika(withName(second), withCreationTime(2))
	cases := map[string]struct {
		// older is the first in turn, before one that inherits.
		older *v1alpha1.Replika
		want  []types.NamespacedName
	}{
		"current owner":         {newReplika(withCreationTime(1)), []types.NamespacedName{second}},
		"in order":              {newReplika(withName(first), withCreationTime(1)), []types.NamespacedName{first, second}},
		"other namespaces":      {newReplika(withName(first), withTargetNamespaces("web")), []types.NamespacedName{second}},
		"namespace not allowed": {newReplika(withName(first), withAllowedNamespaces("web")), []types.NamespacedName{second}},
		"namespace allowed":     {newReplika(withName(first), withAllowedNamespaces("sh*")), []types.NamespacedName{first, second}},
		"being deleted":         {newReplika(withName(first), withDeletion), []types.NamespacedName{second}},
		"no finalizer": {newReplika(withName(first), func(r *v1alpha1.Replika) {
			r.Finalizers = []string{"example.com/other"}
		}), []types.NamespacedName{second}},
		"suspended": {newReplika(withName(first), func(r *v1alpha1.Replika) { r.Spec.Suspend = true }), []types.NamespacedName{second}},
		"no status": {newReplika(withName(first), func(r *v1alpha1.Replika) { r.Status.Conditions = nil }), []types.NamespacedName{second}},
		"spec not reconciled yet": {newReplika(withName(first), func(r *v1alpha1.Replika) {
			r.Generation, r.Status.ObservedGeneration = 2, 1
		}), []types.NamespacedName{second}},
		"source deleted with its copies": {newReplika(withName(first), withSourceDeleted), []types.NamespacedName{second}},
		"source deleted, copies retained": {newReplika(withName(first), withSourceDeleted, func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionRetain
		}), []types.NamespacedName{second}},
		"copies are deleted with the source, which exists": {newReplika(withName(first), func(r *v1alpha1.Replika) {
			r.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
		}), []types.NamespacedName{first, second}},
	}
	for _, reason := range []string{
		v1alpha1.ReasonForbidden, v1alpha1.ReasonSourceNotAllowed, v1alpha1.ReasonServiceAccountRequired, v1alpha1.ReasonKindNotFound,
		v1alpha1.ReasonKindNotAllowed, v1alpha1.ReasonProgressing, v1alpha1.ReasonSuspended,
	} {
		testCase := cases["no status"]
		testCase.older = newReplika(withName(first), withNotReady(reason))
		cases[reason] = testCase
	}
	for _, reason := range []string{v1alpha1.ReasonCopiesFailed, v1alpha1.ReasonTargetNamespaceNotFound} {
		testCase := cases["in order"]
		testCase.older = newReplika(withName(first), withNotReady(reason))
		cases[reason] = testCase
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			got := newClaimants(testCase.older, younger).NextOwners(replikaKey, configMapKind, "settings", Namespace{Name: "shop"})
			if diff := cmp.Diff(testCase.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := newClaimants(newReplika()).NextOwners(replikaKey, configMapKind, "settings", Namespace{Name: "shop"}); got != nil {
		t.Errorf("got %v without another claimant", got)
	}
}

// A Replika that will prune its copies claims them until it has handed them over.
func TestClaimants_Claims_SourceDeleted(t *testing.T) {
	if !newClaimants(newReplika(withSourceDeleted)).Claims(replikaKey, configMapKind, "settings", Namespace{Name: "shop"}) {
		t.Error("a Replika without source lost its claim")
	}
}
