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
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// TestIndexKeys_SelectedNamespaceHasKey searches for a selection that selects a namespace without having a key of it.
func TestIndexKeys_SelectedNamespaceHasKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "ab", "b", "*", "a*", "ab*", "*b", "a*b", "b*a*"}), 0, 3)
		values := rapid.SampledFrom([]string{"", "red", "blue"})
		replika := newReplika()
		replika.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{
			MatchAll: rapid.Bool().Draw(t, "matchAll"), ReplicateIn: patterns.Draw(t, "replicateIn"), ExcludeFrom: patterns.Draw(t, "excludeFrom"),
			Selector: drawSelector(t, values),
		}
		selection := mustSelectionOf(t, replika)
		namespace := Namespace{
			Name:   rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 4, -1).Draw(t, "name"),
			Labels: map[string]string{"team": values.Draw(t, "team")},
		}
		if selection.Selects(namespace) && !slices.ContainsFunc(selection.IndexKeys(), func(key IndexKey) bool {
			return slices.Contains(namespace.IndexKeys(), key)
		}) {
			t.Fatalf("no common key: %v, %v", selection.IndexKeys(), namespace.IndexKeys())
		}
	})
}

func mustSelectionOf(t *rapid.T, replika *v1alpha1.Replika) *Selection {
	selection, err := NewSelection(replika)
	if err != nil {
		t.Fatal(err)
	}
	return selection
}

func drawSelector(t *rapid.T, values *rapid.Generator[string]) *v1alpha1.LabelSelector {
	requirement := v1alpha1.LabelRequirement{
		Key: "team",
		Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist,
		}).Draw(t, "operator"),
	}
	if requirement.Operator == metav1.LabelSelectorOpIn || requirement.Operator == metav1.LabelSelectorOpNotIn {
		requirement.Values = rapid.SliceOfN(values, 1, 2).Draw(t, "values")
	}
	switch rapid.IntRange(0, 3).Draw(t, "selector") {
	case 1:
		return &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": values.Draw(t, "value")}}
	case 2:
		return &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{requirement}}
	case 3:
		return &v1alpha1.LabelSelector{
			MatchLabels: map[string]string{"team": values.Draw(t, "value")}, MatchExpressions: []v1alpha1.LabelRequirement{requirement},
		}
	default:
		return nil
	}
}

// Most selections have a few keys only, so that an event about a namespace does not look at each of them.
func TestIndexKeys(t *testing.T) {
	cases := map[string]struct {
		targets v1alpha1.TargetNamespaces
		want    string
	}{
		"matchAll":      {v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"a"}}, "[{ }]"},
		"name":          {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}, "[{name shop}]"},
		"glob":          {v1alpha1.TargetNamespaces{ReplicateIn: []string{"team-*-prod"}}, "[{prefix team-}]"},
		"suffix":        {v1alpha1.TargetNamespaces{ReplicateIn: []string{"*-prod"}}, "[{ }]"},
		"label":         {v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}}, "[{label team=red}]"},
		"any label":     {v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{}}, "[{ }]"},
		"without label": {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, Selector: &v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{{Key: "team", Operator: metav1.LabelSelectorOpDoesNotExist}}}}, "[{ }]"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika()
			replika.Spec.Target.Namespaces = tc.targets
			if got := fmt.Sprint(mustSelection(t, replika).IndexKeys()); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
