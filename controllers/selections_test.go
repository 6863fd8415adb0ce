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

package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// replikasByTeam returns Replikas that select the namespaces of one team each.
func replikasByTeam(count int) []v1alpha1.Replika {
	replikas := make([]v1alpha1.Replika, count)
	for i := range replikas {
		id := fmt.Sprintf("team-%d", i)
		replikas[i].ObjectMeta = metav1.ObjectMeta{Namespace: "ops", Name: id, UID: types.UID(id), Generation: 1}
		replikas[i].Spec.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": id}}
	}
	return replikas
}

// affectedByLabels returns the Replikas that a change of the namespace's labels affects, sorted.
func affectedByLabels(cache *selectionCache, before, after map[string]string) []types.NamespacedName {
	was, is := planner.Namespace{Name: "shop", Labels: before}, planner.Namespace{Name: "shop", Labels: after}
	affected := cache.affected(func(_ types.NamespacedName, selection *planner.Selection) bool { return selection.ChangedBy(was, is) }, was, is)
	slices.SortFunc(affected, func(a, b types.NamespacedName) int { return strings.Compare(a.Name, b.Name) })
	return affected
}

func compileAll(tb testing.TB, replikas []v1alpha1.Replika) *selectionCache {
	tb.Helper()
	cache := &selectionCache{}
	for i := range replikas {
		if _, err := cache.compile(&replikas[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return cache
}

// A label that no selection depends on must not wake 1,000 Replikas.
func TestSelectionCache_Affected(t *testing.T) {
	cache := compileAll(t, replikasByTeam(1000))
	cases := map[string]struct {
		before, after map[string]string
		want          []types.NamespacedName
	}{
		"unrelated label": {map[string]string{"team": "team-7"}, map[string]string{"team": "team-7", "note": "x"}, nil},
		"another team": {map[string]string{"team": "team-7"}, map[string]string{"team": "team-8"}, []types.NamespacedName{
			{Namespace: "ops", Name: "team-7"}, {Namespace: "ops", Name: "team-8"},
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := affectedByLabels(cache, tc.before, tc.after)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("affected Replikas (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelectionCache_Compile(t *testing.T) {
	cases := map[string]struct {
		change   func(*v1alpha1.Replika)
		wantSame bool
	}{
		"nothing changed":      {change: func(*v1alpha1.Replika) {}, wantSame: true},
		"status changed":       {change: func(r *v1alpha1.Replika) { r.Status.ObservedGeneration = 1 }, wantSame: true},
		"spec changed":         {change: func(r *v1alpha1.Replika) { r.Generation++ }},
		"consent changed":      {change: func(r *v1alpha1.Replika) { r.Status.Source.AllowedNamespaces = []string{"web"} }},
		"consent is of nobody": {change: func(r *v1alpha1.Replika) { r.Status.Source.AllowedNamespaces = []string{} }},
		"consent was lifted":   {change: func(r *v1alpha1.Replika) { r.Status.Source = nil }},
		"re-created":           {change: func(r *v1alpha1.Replika) { r.UID = "uid-2" }},
		"another Replika":      {change: func(r *v1alpha1.Replika) { r.Name = "other" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "settings", UID: "uid-1", Generation: 1}}
			replika.Status.Source = &v1alpha1.SourceStatus{AllowedNamespaces: []string{"shop"}}
			var cache selectionCache
			before, err := cache.compile(replika)
			if err != nil {
				t.Fatal(err)
			}
			changed := replika.DeepCopy()
			tc.change(changed)
			after, err := cache.compile(changed)
			if err != nil {
				t.Fatal(err)
			}
			if same := before == after; same != tc.wantSame {
				t.Errorf("compiled again: %t", !same)
			}
		})
	}
}

func TestSelectionCache_InvalidSelector(t *testing.T) {
	cache, replikas := &selectionCache{}, replikasByTeam(1)
	replikas[0].Spec.Target.Namespaces.Selector.MatchExpressions = []v1alpha1.LabelRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn}}
	if _, err := cache.compile(&replikas[0]); err == nil {
		t.Error("the selector was compiled")
	}
	if got := affectedByLabels(cache, nil, map[string]string{"team": "team-0"}); len(got) != 0 {
		t.Errorf("affected: %v", got)
	}
}

func TestSelectionCache_Delete(t *testing.T) {
	replikas := replikasByTeam(2)
	cache := compileAll(t, replikas)
	cache.delete(types.NamespacedName{Namespace: "ops", Name: "team-0"})
	if got := affectedByLabels(cache, nil, map[string]string{"team": "team-0"}); len(got) != 0 {
		t.Errorf("affected: %v", got)
	}
	cache.delete(types.NamespacedName{Namespace: "ops", Name: "team-1"})
	if len(cache.byKey) != 0 {
		t.Errorf("the index still has %v", cache.byKey)
	}
}

func BenchmarkSelectionCache_Affected(b *testing.B) {
	for _, count := range []int{10, 1000} {
		b.Run(fmt.Sprintf("replikas=%d", count), func(b *testing.B) {
			cache := compileAll(b, replikasByTeam(count))
			for b.Loop() {
				affectedByLabels(cache, nil, map[string]string{"note": "x"})
			}
		})
	}
}
