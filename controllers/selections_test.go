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
		replikas[i].Spec.Target.Namespaces.Selector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"team": id}}
	}
	return replikas
}

func changeOfLabels(before, after map[string]string) func(*planner.Selection) bool {
	return func(selection *planner.Selection) bool {
		return selection.ChangedBy(planner.Namespace{Name: "shop", Labels: before}, planner.Namespace{Name: "shop", Labels: after})
	}
}

// A label that no selection depends on must not wake 1,000 Replikas.
func TestSelectionCache_Affected(t *testing.T) {
	replikas := replikasByTeam(1000)
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
			got := (&selectionCache{}).affected(replikas, changeOfLabels(tc.before, tc.after))
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
	replikas := replikasByTeam(1)
	replikas[0].Spec.Target.Namespaces.Selector.MatchExpressions = []v1alpha1.NamespaceRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn}}
	if got := (&selectionCache{}).affected(replikas, func(*planner.Selection) bool { return true }); len(got) != 0 {
		t.Errorf("affected: %v", got)
	}
}

func BenchmarkSelectionCache_Affected(b *testing.B) {
	for _, count := range []int{10, 1000} {
		b.Run(fmt.Sprintf("replikas=%d", count), func(b *testing.B) {
			cache, replikas := &selectionCache{}, replikasByTeam(count)
			change := changeOfLabels(nil, map[string]string{"note": "x"})
			for b.Loop() {
				cache.affected(replikas, change)
			}
		})
	}
}
