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
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestSelection_Explain(t *testing.T) {
	red := &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}
	shop, redShop := Namespace{Name: "shop"}, Namespace{Name: "shop", Labels: map[string]string{"team": "red"}}
	matchAll := v1alpha1.TargetNamespaces{MatchAll: true}
	cases := map[string]struct {
		targets   v1alpha1.TargetNamespaces
		name      string   // of the copies
		allowed   []string // by the source
		namespace Namespace
		excluded  []string // by the administrator
		want      Explanation
	}{
		"name":                        {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "shop"}}, namespace: shop, want: Explanation{Selected: true, Rule: RuleName, Entry: "shop"}},
		"name, beside a glob":         {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"*", "shop"}}, namespace: shop, want: Explanation{Selected: true, Rule: RuleName, Entry: "shop"}},
		"glob":                        {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "sh*"}}, namespace: shop, want: Explanation{Selected: true, Rule: RuleGlob, Entry: "sh*"}},
		"glob, beside a selector":     {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"s*p"}, Selector: red}, namespace: redShop, want: Explanation{Selected: true, Rule: RuleGlob, Entry: "s*p"}},
		"selector":                    {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"web"}, Selector: red}, namespace: redShop, want: Explanation{Selected: true, Rule: RuleSelector, Entry: "team=red"}},
		"empty selector":              {targets: v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{}}, namespace: shop, want: Explanation{Selected: true, Rule: RuleSelector, Entry: "{}"}},
		"matchAll":                    {targets: v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"shop"}}, namespace: shop, want: Explanation{Selected: true, Rule: RuleMatchAll}},
		"nothing, in default":         {namespace: Namespace{Name: "default"}, want: Explanation{Selected: true, Rule: RuleDefault}},
		"nothing, elsewhere":          {namespace: shop, want: Explanation{Rule: RuleNotSelected}},
		"source's namespace":          {targets: matchAll, namespace: Namespace{Name: "vault"}, want: Explanation{Rule: RuleSourceNamespace}},
		"source's namespace, by glob": {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"v*"}}, name: "other", namespace: Namespace{Name: "vault"}, want: Explanation{Rule: RuleSourceNamespace}},
		"source's namespace, by name": {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, name: "other", namespace: Namespace{Name: "vault"}, want: Explanation{Selected: true, Rule: RuleName, Entry: "vault"}},
		"source's namespace, excluded by everybody": {
			targets:   v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"vault"}},
			namespace: Namespace{Name: "vault", Terminating: true, Labels: optOutLabels("true")}, excluded: []string{"*"}, want: Explanation{Rule: RuleSourceNamespace},
		},
		"excludeFrom, by name":           {targets: v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"web", "shop"}}, namespace: shop, want: Explanation{Rule: RuleExcludeFrom, Entry: "shop"}},
		"excludeFrom, by glob":           {targets: v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"web", "*op"}}, namespace: shop, want: Explanation{Rule: RuleExcludeFrom, Entry: "*op"}},
		"excludeFrom, although named":    {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, ExcludeFrom: []string{"*op"}}, namespace: shop, want: Explanation{Rule: RuleExcludeFrom, Entry: "*op"}},
		"not selected":                   {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "w*"}, Selector: red}, namespace: shop, want: Explanation{Rule: RuleNotSelected}},
		"not selected, not allowed":      {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"web"}}, allowed: []string{"web"}, namespace: Namespace{Name: "shop", Labels: optOutLabels("true")}, excluded: []string{"shop"}, want: Explanation{Rule: RuleNotSelected}},
		"terminating":                    {targets: matchAll, namespace: Namespace{Name: "shop", Terminating: true}, want: Explanation{Rule: RuleTerminating}},
		"excluded by the administrator":  {targets: matchAll, namespace: shop, excluded: []string{"kube-*", "sh*"}, want: Explanation{Rule: RuleExcludedNamespaces, Entry: "sh*"}},
		"opted out":                      {targets: matchAll, namespace: Namespace{Name: "shop", Labels: optOutLabels("true")}, want: Explanation{Rule: RuleOptOut, Entry: "replika.prosimcorp.com/opt-out=true"}},
		"opt-out label is not true":      {targets: matchAll, namespace: Namespace{Name: "shop", Labels: optOutLabels("false")}, want: Explanation{Selected: true, Rule: RuleMatchAll}},
		"not allowed by the source":      {targets: matchAll, allowed: []string{"web", "w*"}, namespace: shop, want: Explanation{Rule: RuleConsent}},
		"allowed by the source, by name": {targets: matchAll, allowed: []string{"*", "shop"}, namespace: shop, want: Explanation{Selected: true, Rule: RuleMatchAll, Consent: "shop"}},
		"allowed by the source, by glob": {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"s*"}}, allowed: []string{"web", "*op"}, namespace: shop, want: Explanation{Selected: true, Rule: RuleGlob, Entry: "s*", Consent: "*op"}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			selection := mustSelection(t, newReplika(withAllowedNamespaces(testCase.allowed...), func(r *v1alpha1.Replika) {
				r.Spec.Target.Name, r.Spec.Target.Namespaces = testCase.name, testCase.targets
			}))
			excluded := NewPatterns(testCase.excluded)
			testCase.namespace.Excluded = excluded.Match(testCase.namespace.Name)
			if diff := cmp.Diff(testCase.want, selection.Explain(testCase.namespace, excluded)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSelection_RestrictToNone(t *testing.T) {
	selection := mustSelection(t, newReplika()).RestrictToNone()
	if diff := cmp.Diff(Explanation{Rule: RuleConsent}, selection.Explain(Namespace{Name: "shop"}, nil)); diff != "" {
		t.Error(diff)
	}
}

// TestSelection_Explain_Agrees searches for a namespace about which Selects, the explanation and a simple reference implementation
// do not agree, or for which the rule or its entry is wrong.
func TestSelection_Explain_Agrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "ab", "b", "ba", "*", "a*", "ab*", "*b", "a*b", "b*a*"}), 0, 3)
		values := rapid.SampledFrom([]string{"red", "blue"})
		replika := newReplika(withAllowedNamespaces(patterns.Draw(t, "allowed")...))
		replika.Spec.Source.Namespace = "a"
		replika.Spec.Target.Name = rapid.SampledFrom([]string{"", "settings", "other"}).Draw(t, "name")
		replika.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{
			MatchAll: rapid.Bool().Draw(t, "matchAll"), ReplicateIn: patterns.Draw(t, "replicateIn"), ExcludeFrom: patterns.Draw(t, "excludeFrom"),
		}
		if rapid.Bool().Draw(t, "selector") {
			replika.Spec.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": values.Draw(t, "value")}}
		}
		excluded := patterns.Draw(t, "excluded")
		namespace := Namespace{
			Name:        rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 3, -1).Draw(t, "namespace"),
			Labels:      map[string]string{"team": values.Draw(t, "team"), v1alpha1.LabelOptOut: rapid.SampledFrom([]string{"", "true"}).Draw(t, "opt-out")},
			Terminating: rapid.IntRange(0, 3).Draw(t, "terminating") == 0,
		}
		namespace.Excluded = NewPatterns(excluded).Match(namespace.Name)
		selection := mustSelectionOf(t, replika)
		explanation := selection.Explain(namespace, NewPatterns(excluded))
		if want := naiveSelects(replika, namespace) && !namespace.Excluded; explanation.Selected != want || selection.Selects(namespace) != want {
			t.Fatalf("Selects() = %t, %+v, want %t", selection.Selects(namespace), explanation, want)
		}
		if !naiveConfirms(replika, namespace, excluded, explanation) {
			t.Fatalf("the rule does not apply: %+v", explanation)
		}
	})
}

// naiveConfirms is a simple reference implementation of what a rule says.
func naiveConfirms(replika *v1alpha1.Replika, namespace Namespace, excluded []string, explanation Explanation) bool {
	targets := replika.Spec.Target.Namespaces
	matches := func(list []string, entry string) bool {
		return slices.Contains(list, entry) && naiveMatch(entry, namespace.Name)
	}
	var allowed []string
	if replika.Status.Source != nil {
		allowed = replika.Status.Source.AllowedNamespaces
	}
	if explanation.Selected && len(allowed) > 0 && !matches(allowed, explanation.Consent) {
		return false
	}
	switch explanation.Rule {
	case RuleName:
		return explanation.Selected && explanation.Entry == namespace.Name && slices.Contains(targets.ReplicateIn, namespace.Name)
	case RuleGlob:
		return explanation.Selected && explanation.Entry != namespace.Name && matches(targets.ReplicateIn, explanation.Entry)
	case RuleSelector:
		return explanation.Selected && explanation.Entry == "team="+namespace.Labels["team"] && targets.Selector != nil
	case RuleMatchAll:
		return explanation.Selected && targets.MatchAll
	case RuleSourceNamespace:
		return !explanation.Selected && namespace.Name == replika.SourceNamespace() && !naiveNamesSource(replika)
	case RuleExcludeFrom:
		return !explanation.Selected && matches(targets.ExcludeFrom, explanation.Entry)
	case RuleNotSelected:
		replika = replika.DeepCopy()
		replika.Status.Source = nil
		return !explanation.Selected && !naiveSelects(replika, Namespace{Name: namespace.Name, Labels: map[string]string{"team": namespace.Labels["team"]}})
	case RuleTerminating:
		return !explanation.Selected && namespace.Terminating
	case RuleExcludedNamespaces:
		return !explanation.Selected && matches(excluded, explanation.Entry)
	case RuleOptOut:
		return !explanation.Selected && namespace.optedOut()
	case RuleConsent:
		return !explanation.Selected && len(allowed) > 0 && !slices.ContainsFunc(allowed, func(entry string) bool { return naiveMatch(entry, namespace.Name) })
	default:
		return false
	}
}

// Every rule has a reason of its own.
func TestExplanation_String(t *testing.T) {
	seen := map[string]Rule{}
	for _, rule := range []Rule{
		RuleName, RuleGlob, RuleSelector, RuleMatchAll, RuleDefault, RuleSourceNamespace, RuleExcludeFrom, RuleNotSelected,
		RuleTerminating, RuleExcludedNamespaces, RuleOptOut, RuleConsent,
	} {
		entry := "team-*"
		if rule == RuleName {
			entry = "team-a"
		}
		reason := Explanation{Rule: rule, Entry: entry}.String()
		if other, found := seen[reason]; found || reason == "" || reason == string(rule) {
			t.Errorf("%s has the reason %q, as %s", rule, reason, other)
		}
		seen[reason] = rule
	}
}

// Selects runs for each namespace of each plan. Only a label selector may allocate memory.
func TestSelection_Selects_DoesNotAllocate(t *testing.T) {
	selection := mustSelection(t, newReplika(withAllowedNamespaces("s*", "web"), func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "s*p"}, ExcludeFrom: []string{"kube-*"}}
	}))
	for _, name := range []string{"web", "shop", "kube-system", "other"} {
		namespace := Namespace{Name: name, Labels: map[string]string{"team": "red"}}
		if allocations := testing.AllocsPerRun(100, func() { selection.Selects(namespace) }); allocations > 0 {
			t.Errorf("%s: %v allocations", name, allocations)
		}
	}
}
