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

func TestSelectionCache_CompilesOncePerGeneration(t *testing.T) {
	cache, replikas := &selectionCache{}, replikasByTeam(3)
	compiled := func() map[types.UID]*planner.Selection {
		cache.affected(replikas, func(*planner.Selection) bool { return false })
		selections := map[types.UID]*planner.Selection{}
		for uid, compiled := range cache.byReplika {
			selections[uid] = compiled.selection
		}
		return selections
	}
	first := compiled()
	replikas[0].Generation++
	replikas[1].Status.Source = &v1alpha1.SourceStatus{AllowedNamespaces: []string{"web"}}
	second := compiled()
	for i, want := range []bool{false, true, true} {
		if uid := replikas[i].UID; (first[uid] == second[uid]) != want {
			t.Errorf("the selection of %s is the same: %t, want %t", uid, !want, want)
		}
	}
	replikas = replikas[:1]
	if left := compiled(); len(left) != 1 {
		t.Errorf("%d selections are held for one Replika", len(left))
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
