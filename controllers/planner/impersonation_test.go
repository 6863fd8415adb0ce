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
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func withImpersonation(in *Input) { in.Impersonated = true }

func TestPlan_Impersonated(t *testing.T) {
	template := newInput(t).Template
	other := mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings"))
	claimant := withClaimants(newReplika(withName(otherReplikaKey)))
	cases := map[string]struct {
		change []func(*Input)
		object *unstructured.Unstructured
		want   ActionType
	}{
		"no object":                    {want: Create},
		"own copy":                     {object: newCopy(t, template, "shop", withField("slow", "data", "mode")), want: Update},
		"own copy in sync":             {object: newCopy(t, template, "shop"), want: Keep},
		"own copy, terminating":        {object: newCopy(t, template, "shop", withTerminating), want: Wait},
		"foreign object":               {object: newObject("shop", "settings"), want: Create},
		"foreign object, under Adopt":  {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings"), want: Create},
		"foreign object, terminating":  {object: newObject("shop", "settings", withTerminating), want: Create},
		"copy of another Replika":      {change: []func(*Input){claimant}, object: newCopy(t, other, "shop"), want: Create},
		"abandoned by another Replika": {object: newCopy(t, other, "shop"), want: Create},
		"without a source":             {change: []func(*Input){withoutTemplate}, object: newObject("shop", "settings"), want: Keep},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append(testCase.change, withImpersonation)...)
			in.Namespaces = []Namespace{{Name: "shop"}}
			if testCase.object != nil {
				in.Observed = []*Observed{mustObserve(t, testCase.object)}
			}
			if plan := Plan(in); len(plan) != 1 || plan[0].Type != testCase.want {
				t.Errorf("got %+v, want %s", plan, testCase.want)
			}
		})
	}
}

func TestPlan_ImpersonatedConflict(t *testing.T) {
	foreign := mustObserve(t, newObject("shop", "settings"))
	owned := mustObserve(t, newCopy(t, mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings")), "shop"))
	claimant := newReplika(withName(otherReplikaKey))
	cases := map[string]struct {
		found  *Observed
		change func(*Input)
		want   ActionType
	}{
		"nothing changed":         {found: foreign, want: Wait},
		"object changed":          {found: foreign, change: func(in *Input) { in.Observed = []*Observed{owned} }, want: Create},
		"object is gone":          {found: foreign, change: func(in *Input) { in.Observed = nil }, want: Create},
		"owner claims it":         {found: owned, want: Wait},
		"owner claims it no more": {found: owned, change: func(in *Input) { in.Claimants = nil }, want: Create},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, withImpersonation, withClaimants(claimant))
			in.Now, in.Synchronization = testTime, time.Minute
			in.Namespaces, in.Observed = []Namespace{{Name: "shop"}}, []*Observed{testCase.found}
			planned := Plan(in)[0]
			found := in.Decide(in.Namespaces[0], testCase.found)
			refusal, refused := in.RefusalAfter(&planned, &found, in.Namespaces[0], Unchanged, "", testTime, false)
			if !refused || refusal.Reason != v1alpha1.FailureConflict || refusal.Delay != time.Minute {
				t.Fatalf("recorded %+v, %t", refusal, refused)
			}
			in.Refusals = map[types.NamespacedName]Refusal{planned.Key(): refusal}
			if testCase.change != nil {
				testCase.change(in)
			}
			got := Plan(in)[0]
			if got.Type != testCase.want || got.Type == Wait && (got.Reason != v1alpha1.FailureConflict || got.Message != found.Message) {
				t.Errorf("got %+v, want %s", got, testCase.want)
			}
		})
	}
}

func TestInput_Reveals(t *testing.T) {
	copied := mustObserve(t, newCopy(t, newInput(t).Template, "shop"))
	foreign := mustObserve(t, newObject("shop", "settings"))
	named := withTargetNamespaces("shop", "web*")
	pattern := withTargetNamespaces("sho*")
	cases := map[string]struct {
		operator bool
		target   func(*v1alpha1.Replika)
		action   Action
		reason   string
		want     bool
	}{
		"forbidden by name":                 {target: named, action: Action{Desired: true}, reason: v1alpha1.FailureForbidden, want: true},
		"forbidden by pattern":              {target: pattern, action: Action{Desired: true}, reason: v1alpha1.FailureForbidden},
		"forbidden by matchAll":             {target: func(*v1alpha1.Replika) {}, action: Action{Desired: true}, reason: v1alpha1.FailureForbidden},
		"unavailable by pattern":            {target: pattern, action: Action{Desired: true}, reason: v1alpha1.FailureUnavailable},
		"rejected by pattern":               {target: pattern, action: Action{Desired: true}, reason: v1alpha1.FailureRejected, want: true},
		"conflict by pattern":               {target: pattern, action: Action{Desired: true, Observed: foreign}, reason: v1alpha1.FailureConflict, want: true},
		"forbidden, with a copy":            {target: pattern, action: Action{Desired: true, Observed: copied}, reason: v1alpha1.FailureForbidden, want: true},
		"forbidden, with a foreign object":  {target: pattern, action: Action{Desired: true, Observed: foreign}, reason: v1alpha1.FailureForbidden},
		"forbidden to delete":               {target: pattern, action: Action{Observed: copied}, reason: v1alpha1.FailureForbidden, want: true},
		"forbidden by pattern, to operator": {operator: true, target: pattern, action: Action{Desired: true}, reason: v1alpha1.FailureForbidden, want: true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			in.Impersonated, in.Selection = !testCase.operator, mustSelection(t, newReplika(testCase.target))
			testCase.action.Namespace = "shop"
			if got := in.Reveals(&testCase.action, testCase.reason); got != testCase.want {
				t.Errorf("got %t, want %t", got, testCase.want)
			}
		})
	}
}
