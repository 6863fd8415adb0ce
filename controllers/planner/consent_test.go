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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestAllowedNamespaces(t *testing.T) {
	allow := func(list string) map[string]string {
		return map[string]string{v1alpha1.AnnotationAllowedNamespaces: list}
	}
	cases := map[string]struct {
		annotations map[string]string
		want        []string
	}{
		"no annotations":             {nil, nil},
		"other annotations":          {map[string]string{"note": "shop"}, nil},
		"one name":                   {allow("shop"), []string{"shop"}},
		"names and globs are sorted": {allow("web,team-*,*-test,shop"), []string{"*-test", "shop", "team-*", "web"}},
		"white space is trimmed":     {allow(" shop ,\n\tweb\n"), []string{"shop", "web"}},
		"duplicates are removed":     {allow("shop,shop"), []string{"shop"}},
		"all namespaces":             {allow("*"), []string{"*"}},
		"no namespace":               {allow(""), []string{}},
		"white space only":           {allow(" \n"), []string{}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := AllowedNamespaces(newObject("vault", "settings", withAnnotations(testCase.annotations)))
			if diff := cmp.Diff(testCase.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestAllowedNamespaces_Unreadable(t *testing.T) {
	cases := map[string]struct{ list, wantQuoted string }{
		"typographic quotes":    {"“shop”", `"“shop”"`},
		"quotes":                {`"shop"`, `"\"shop\""`},
		"question mark":         {"web,sho?", `"sho?"`},
		"regular expression":    {"[a-z]*", `"[a-z]*"`},
		"alternatives":          {"shop|web", `"shop|web"`},
		"semicolons":            {"shop;web", `"shop;web"`},
		"spaces":                {"shop web", `"shop web"`},
		"upper case":            {"Shop", `"Shop"`},
		"hyphen at the end":     {"shop-", `"shop-"`},
		"empty entry":           {"shop,,web", `""`},
		"comma at the end":      {"shop,", `""`},
		"commas only":           {" , ,", `""`},
		"line instead of comma": {"shop\nweb", `"shop\nweb"`},
		"long entry":            {strings.Repeat("a", 10_000), `"` + strings.Repeat("a", 63) + `"…`},
		"many entries":          {strings.Repeat("a,", 43_394) + "a", "43395 entries"},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source := newObject("vault", "settings", withAnnotations(map[string]string{v1alpha1.AnnotationAllowedNamespaces: testCase.list}))
			allowed, err := AllowedNamespaces(source)
			if err == nil || allowed != nil {
				t.Fatalf("got %v, %v, want an error", allowed, err)
			}
			if !strings.Contains(err.Error(), testCase.wantQuoted) || len(err.Error()) > 300 {
				t.Errorf("the error does not quote %s: %v", testCase.wantQuoted, err)
			}
		})
	}
}

func TestSelection_Selects_Consent(t *testing.T) {
	cases := map[string]struct {
		allowed   []string
		namespace Namespace
		want      bool
	}{
		"no restriction":                               {nil, Namespace{Name: "shop"}, true},
		"allowed by name":                              {[]string{"web", "shop"}, Namespace{Name: "shop"}, true},
		"allowed by glob":                              {[]string{"sh*"}, Namespace{Name: "shop"}, true},
		"another namespace is allowed":                 {[]string{"web"}, Namespace{Name: "shop"}, false},
		"consent does not select the source namespace": {[]string{"vault"}, Namespace{Name: "vault"}, false},
		"opt-out label applies":                        {[]string{"shop"}, Namespace{Name: "shop", Labels: optOutLabels("true")}, false},
		"exclusion applies":                            {[]string{"shop"}, Namespace{Name: "shop", Excluded: true}, false},
		"terminating namespace":                        {[]string{"shop"}, Namespace{Name: "shop", Terminating: true}, false},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if got := mustSelection(t, newReplika(withAllowedNamespaces(testCase.allowed...))).Selects(testCase.namespace); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

func TestSelection_DenialReason(t *testing.T) {
	listed := v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop", "team-*"}}
	other := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Name, r.Spec.Target.Namespaces = "other", v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}
	})
	if got := mustSelection(t, other).DenialReason(Namespace{Name: "vault", Labels: optOutLabels("true")}); !strings.Contains(got, v1alpha1.LabelOptOut) {
		t.Errorf("got %q for the source's own namespace, which is a target", got)
	}
	cases := map[string]struct {
		targets   v1alpha1.TargetNamespaces
		allowed   []string
		namespace Namespace
		want      string // part of the message; empty for no message
	}{
		"target namespace":              {listed, nil, Namespace{Name: "shop"}, ""},
		"namespace is not listed":       {listed, nil, Namespace{Name: "web", Excluded: true}, ""},
		"excluded by the administrator": {listed, nil, Namespace{Name: "shop", Excluded: true}, "--excluded-namespaces"},
		"opted out":                     {listed, nil, Namespace{Name: "shop", Labels: optOutLabels("true")}, v1alpha1.LabelOptOut},
		"not allowed":                   {listed, []string{"web"}, Namespace{Name: "shop"}, v1alpha1.AnnotationAllowedNamespaces},
		"allowed":                       {listed, []string{"shop"}, Namespace{Name: "shop"}, ""},
		"listed by glob":                {listed, nil, Namespace{Name: "team-a", Excluded: true}, ""},
		"matchAll":                      {v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"shop"}}, nil, Namespace{Name: "shop", Excluded: true}, ""},
		"terminating":                   {listed, nil, Namespace{Name: "shop", Excluded: true, Terminating: true}, ""},
		"excluded by the spec":          {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, ExcludeFrom: []string{"s*"}}, nil, Namespace{Name: "shop", Excluded: true}, ""},
		"source namespace":              {v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, nil, Namespace{Name: "vault", Excluded: true}, ""},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			selection := mustSelection(t, newReplika(withAllowedNamespaces(testCase.allowed...), func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = testCase.targets }))
			got := selection.DenialReason(testCase.namespace)
			if (got == "") != (testCase.want == "") || !strings.Contains(got, testCase.want) {
				t.Errorf("got %q, want %q", got, testCase.want)
			}
		})
	}
}

// A change of consent or state of a namespace can affect every Replika whose spec selects it.
func TestSelection_CouldSelect(t *testing.T) {
	selection := mustSelection(t, newReplika(withTargetNamespaces("shop"), withAllowedNamespaces("web")))
	restricted := Namespace{Name: "shop", Labels: optOutLabels("true"), Excluded: true, Terminating: true}
	if !selection.CouldSelect(restricted) {
		t.Error("a namespace that the spec selects is reported as not selectable")
	}
	if restricted.Labels[v1alpha1.LabelOptOut] != "true" {
		t.Error("the labels of the argument were changed")
	}
	if selection.CouldSelect(Namespace{Name: "web"}) {
		t.Error("a namespace that the spec does not select is reported as selectable")
	}
}
