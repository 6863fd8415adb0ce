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

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// TestInput_Parts_PlanTheSame searches for states of a cluster in which the plans of the parts differ from the plan of the whole.
func TestInput_Parts_PlanTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t, false, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }, map[string]int{})
		for range disruptionSteps {
			c.disrupt()
		}
		for _, name := range sortedKeys(c.replikas) {
			in, _ := c.input(c.replikas[name].DeepCopy(), c.clone())
			want := summaries(Plan(in))
			for size := 1; size <= len(in.Namespaces); size++ {
				var got []string
				for _, part := range in.Parts(size) {
					got = append(got, summaries(Plan(part))...)
				}
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("parts of %d namespaces (-whole +parts):\n%s", size, diff)
				}
			}
		}
	})
}

func TestInput_Parts(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings"))
	replika := newReplika(withTargetNamespaces("target-*"))
	selection, err := NewSelection(replika)
	if err != nil {
		t.Fatal(err)
	}
	in := &Input{
		Replika: replikaKey, Name: "settings", Template: template, Selection: selection, SourceNamespace: "vault", SourceName: "settings",
		OutOfSync: map[types.NamespacedName]bool{{Namespace: "target-1", Name: "settings"}: true, {Namespace: "target-2", Name: "settings"}: false},
		Observed: []*Observed{
			mustObserve(t, newCopy(t, template, "unknown")), mustObserve(t, newCopy(t, template, "other-3")), mustObserve(t, newCopy(t, template, "target-0")),
		},
	}
	for i := range 5 {
		in.Namespaces = append(in.Namespaces, Namespace{Name: fmt.Sprintf("target-%d", 4-i)}, Namespace{Name: fmt.Sprintf("other-%d", i)})
	}
	type part struct{ Namespaces, Objects []string }
	var got []part
	for _, input := range in.Parts(2) {
		var p part
		for _, namespace := range input.Namespaces {
			p.Namespaces = append(p.Namespaces, namespace.Name)
		}
		for _, object := range input.Observed {
			p.Objects = append(p.Objects, object.Namespace)
		}
		got = append(got, p)
	}
	want := []part{
		{Namespaces: []string{"other-0", "other-1", "other-2", "other-3", "other-4", "target-0"}, Objects: []string{"other-3", "target-0"}},
		{Namespaces: []string{"target-2", "target-3"}},
		{Namespaces: []string{"target-4", "target-1"}, Objects: []string{"unknown"}}, // that of target-1 failed before
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if parts := in.Parts(10); len(parts) != 1 || parts[0] != in {
		t.Errorf("%d parts of an input that is small enough", len(parts))
	}
}
