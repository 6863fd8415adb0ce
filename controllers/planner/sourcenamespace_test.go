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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The source's own namespace, vault, can have a copy under another name. The source itself is never written to.
func TestPlan_SourceNamespace(t *testing.T) {
	replika := newReplika(withTargetNamespaces("vault"), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "shared" })
	template := mustTemplate(t, replika, newObject("vault", "settings"))
	former := newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Namespace, r.Spec.Target.Name = "elsewhere", "shared" })
	// The marks of a copy that was made when vault was not the source's namespace.
	formerCopy := newCopy(t, mustTemplate(t, former, newObject("elsewhere", "settings")), "vault")
	withSource := func(name string) func(*Input) { return func(in *Input) { in.SourceName = name } }
	cases := map[string]struct {
		object *unstructured.Unstructured
		change []func(*Input)
		want   ActionType
	}{
		"no object":                          {want: Create},
		"in sync":                            {object: newCopy(t, template, "vault"), want: Keep},
		"drifted":                            {object: newCopy(t, template, "vault", withField("slow", "data", "mode")), want: Update},
		"foreign object":                     {object: newObject("vault", "shared"), want: Conflict},
		"foreign object, adopted":            {object: newObject("vault", "shared"), change: []func(*Input){withAdoptPolicy}, want: Update},
		"no longer selected":                 {object: newCopy(t, template, "vault"), change: []func(*Input){withoutSelection}, want: Delete},
		"no longer selected, Retain":         {object: newCopy(t, template, "vault"), change: []func(*Input){withoutSelection, withRetainPolicy}, want: Release},
		"copy of a former source":            {object: formerCopy, want: Update},
		"copy of a former source, undesired": {object: formerCopy, change: []func(*Input){withoutSelection}, want: Conflict},
		"the copy became the source":         {object: newCopy(t, template, "vault"), change: []func(*Input){withoutTemplate, withSource("shared")}, want: Conflict},
		"copy of another kind than the source": {
			object: newCopy(t, template, "vault"), change: []func(*Input){withoutSelection, withSource("")}, want: Delete,
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			in.Name, in.Template, in.Selection = "shared", template, mustSelection(t, replika)
			if testCase.object != nil {
				in.Observed = []*Observed{mustObserve(t, testCase.object)}
			}
			for _, change := range testCase.change {
				change(in)
			}
			got := map[string]ActionType{}
			for _, action := range Plan(in) {
				got[action.Key().String()] = action.Type
			}
			if diff := cmp.Diff(map[string]ActionType{"vault/shared": testCase.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Withdrawn consent wins over suspension in the source's own namespace, too.
func TestPlanSuspended_SourceNamespace(t *testing.T) {
	replika := newReplika(withTargetNamespaces("vault"), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "shared" })
	in := newInput(t)
	in.Name = "shared"
	in.Observed = []*Observed{mustObserve(t, newCopy(t, mustTemplate(t, replika, newObject("vault", "settings")), "vault"))}
	consent := &Consent{Source: types.NamespacedName{Namespace: "vault", Name: "settings"}, Allowed: []string{"shop"}}
	if got := PlanSuspended(in, consent); len(got) != 1 || got[0].Type != Delete {
		t.Errorf("got %v, want one delete", got)
	}
}
