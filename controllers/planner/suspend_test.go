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
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestPlanSuspended(t *testing.T) {
	source := types.NamespacedName{Namespace: "vault", Name: "settings"}
	all := &Consent{Source: source, Allowed: []string{"*"}}
	optOut := func(in *Input) { in.Namespaces[1].Labels = optOutLabels(v1alpha1.OptOutValue) }
	excluded := func(in *Input) { in.Namespaces[1].Excluded = true }
	adopted := map[string]string{v1alpha1.AnnotationAdopted: "true"}

	for name, test := range map[string]struct {
		consent    *Consent
		change     []func(*Input)
		want       map[string]ActionType
		annotation map[string]string
	}{
		"all allowed":     {consent: all},
		"consent unknown": {},
		"drift stays": {consent: all, change: []func(*Input){func(in *Input) {
			in.Template = mustTemplate(t, newReplika(), newObject("vault", "settings", withField("x", "data", "mode")))
		}}},
		"not selected any more": {consent: all, change: []func(*Input){func(in *Input) { in.Selection = mustSelection(t, newReplika(withTargetNamespaces("none"))) }}},
		"no template and no selection": {
			consent: all, change: []func(*Input){withoutTemplate, withoutSelection},
		},

		"opted out":                        {consent: all, change: []func(*Input){optOut}, want: map[string]ActionType{"shop": Delete}},
		"opted out, consent unknown":       {change: []func(*Input){optOut}, want: map[string]ActionType{"shop": Delete}},
		"opted out, Retain":                {consent: all, change: []func(*Input){optOut, withRetainPolicy}, want: map[string]ActionType{"shop": Release}},
		"opted out, adopted":               {consent: all, change: []func(*Input){optOut}, annotation: adopted, want: map[string]ActionType{"shop": Release}},
		"excluded":                         {consent: all, change: []func(*Input){excluded}, want: map[string]ActionType{"shop": Delete}},
		"source allows one":                {consent: &Consent{Source: source, Allowed: []string{"w*"}}, want: map[string]ActionType{"shop": Delete}},
		"source allows none":               {consent: &Consent{Source: source}, want: map[string]ActionType{"shop": Delete, "web": Delete}},
		"another source allows none":       {consent: &Consent{Source: types.NamespacedName{Namespace: "vault", Name: "former"}}},
		"source allows none, and opt-out":  {consent: &Consent{Source: source}, change: []func(*Input){optOut}, want: map[string]ActionType{"shop": Delete, "web": Delete}},
		"opted out, terminating namespace": {consent: all, change: []func(*Input){optOut, func(in *Input) { in.Namespaces[1].Terminating = true }}},
		"source allows none, unknown namespace": {
			consent: &Consent{Source: source}, change: []func(*Input){func(in *Input) { in.Namespaces = in.Namespaces[:2] }},
			want: map[string]ActionType{"shop": Delete},
		},
		"source allows none, its own namespace": {
			consent: &Consent{Source: source}, change: []func(*Input){func(in *Input) { in.SourceNamespace = "web" }},
			want: map[string]ActionType{"shop": Delete},
		},
		"opted out, claimed by another Replika, which is denied too": {
			consent: all, change: []func(*Input){optOut, withClaimants(newReplika(withName(otherReplikaKey)))}, want: map[string]ActionType{"shop": Delete},
		},
		"source denies, claimed by another Replika": {
			consent: &Consent{Source: source, Allowed: []string{"web"}}, change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey)))},
			want: map[string]ActionType{"shop": HandOver},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			for _, namespace := range []string{"shop", "web"} {
				in.Observed = append(in.Observed, mustObserve(t, newCopy(t, in.Template, namespace, withAnnotations(test.annotation))))
			}
			for _, change := range test.change {
				change(in)
			}
			got := map[string]ActionType{}
			for _, action := range PlanSuspended(in, test.consent) {
				got[action.Namespace] = action.Type
			}
			if test.want == nil {
				test.want = map[string]ActionType{}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("actions differ (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("objects that are not its copies", func(t *testing.T) {
		in := newInput(t, optOut)
		in.Observed = []*Observed{mustObserve(t, newObject("shop", "settings"))}
		in.Observed = append(in.Observed, mustObserve(t, newCopy(t, mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings")), "web")))
		if got := PlanSuspended(in, &Consent{Source: source}); len(got) > 0 {
			t.Errorf("got actions %v for objects of others", got)
		}
	})
}
