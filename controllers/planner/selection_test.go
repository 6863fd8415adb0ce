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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestSelection_Selects(t *testing.T) {
	red := &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}
	plain := Namespace{Name: "shop"}
	cases := map[string]struct {
		targets   v1alpha1.TargetNamespaces
		namespace Namespace
		want      bool
	}{
		"matchAll":                                 {v1alpha1.TargetNamespaces{MatchAll: true}, plain, true},
		"empty targets":                            {v1alpha1.TargetNamespaces{}, plain, false},
		"default with empty targets":               {v1alpha1.TargetNamespaces{ExcludeFrom: []string{"shop"}}, Namespace{Name: "default"}, true},
		"default with a label selector":            {v1alpha1.TargetNamespaces{Selector: red}, Namespace{Name: "default"}, false},
		"listed by name":                           {v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "shop"}}, plain, true},
		"another name is listed":                   {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop-2"}}, plain, false},
		"name is not a prefix":                     {v1alpha1.TargetNamespaces{ReplicateIn: []string{"sho"}}, plain, false},
		"glob with suffix wildcard":                {v1alpha1.TargetNamespaces{ReplicateIn: []string{"sh*"}}, plain, true},
		"glob with prefix wildcard":                {v1alpha1.TargetNamespaces{ReplicateIn: []string{"*op"}}, plain, true},
		"glob with inner wildcard":                 {v1alpha1.TargetNamespaces{ReplicateIn: []string{"s*p"}}, plain, true},
		"wildcard matches empty string":            {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop*"}}, plain, true},
		"glob for all names":                       {v1alpha1.TargetNamespaces{ReplicateIn: []string{"*"}}, plain, true},
		"glob matches whole names only":            {v1alpha1.TargetNamespaces{ReplicateIn: []string{"h*"}}, plain, false},
		"label selector matches":                   {v1alpha1.TargetNamespaces{Selector: red}, Namespace{Name: "shop", Labels: map[string]string{"team": "red"}}, true},
		"label selector does not match":            {v1alpha1.TargetNamespaces{Selector: red}, Namespace{Name: "shop", Labels: map[string]string{"team": "blue"}}, false},
		"empty label selector selects all":         {v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{}}, plain, true},
		"label selector adds to names":             {v1alpha1.TargetNamespaces{Selector: red, ReplicateIn: []string{"shop"}}, plain, true},
		"names add to label selector":              {v1alpha1.TargetNamespaces{Selector: red, ReplicateIn: []string{"web"}}, Namespace{Name: "shop", Labels: map[string]string{"team": "red"}}, true},
		"matchAll ignores names":                   {v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"web"}}, plain, true},
		"matchAll ignores label selector":          {v1alpha1.TargetNamespaces{MatchAll: true, Selector: red}, plain, true},
		"excluded from matchAll":                   {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"shop"}}, plain, false},
		"excluded by glob":                         {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"s*"}}, plain, false},
		"excluded although listed":                 {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, ExcludeFrom: []string{"shop"}}, plain, false},
		"excluded although label selector matches": {v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{}, ExcludeFrom: []string{"shop"}}, plain, false},
		"another namespace is excluded":            {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"shop-2", "web-*"}}, plain, true},
		"source namespace under matchAll":          {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "vault"}, false},
		"source namespace listed by name":          {v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, Namespace{Name: "vault"}, false},
		"terminating namespace":                    {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Terminating: true}, false},
		"namespace excluded by the administrator":  {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}, Namespace{Name: "shop", Excluded: true}, false},
		"namespace opted out":                      {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Labels: optOutLabels("true")}, false},
		"opt-out label is not true":                {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Labels: optOutLabels("false")}, true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = testCase.targets })
			if got := mustSelection(t, replika).Selects(testCase.namespace); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

// The source's own namespace is a target only by name, and only under another name than the source's.
func TestSelection_Selects_SourceNamespace(t *testing.T) {
	everything := &v1alpha1.LabelSelector{}
	cases := map[string]struct {
		name    string
		targets v1alpha1.TargetNamespaces
		change  func(*v1alpha1.Replika)
		labels  map[string]string
		want    bool
	}{
		"named, another name":             {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop", "vault"}}, want: true},
		"named, and also by glob":         {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"*", "vault"}}, want: true},
		"named, the source's name":        {name: "settings", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}},
		"named, no name":                  {targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}},
		"by glob":                         {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vaul*", "*"}}},
		"by label selector":               {name: "other", targets: v1alpha1.TargetNamespaces{Selector: everything}},
		"by label selector, others named": {name: "other", targets: v1alpha1.TargetNamespaces{Selector: everything, ReplicateIn: []string{"shop"}}},
		"by matchAll":                     {name: "other", targets: v1alpha1.TargetNamespaces{MatchAll: true}},
		"by matchAll, in an ignored list": {name: "other", targets: v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"vault"}}},
		"named and excluded":              {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}, ExcludeFrom: []string{"v*"}}},
		"named and opted out":             {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, labels: optOutLabels("true")},
		"named and not allowed":           {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, change: withAllowedNamespaces("shop")},
		"named and allowed":               {name: "other", targets: v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, change: withAllowedNamespaces("vault"), want: true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) {
				r.Spec.Target.Name, r.Spec.Target.Namespaces = testCase.name, testCase.targets
			})
			if testCase.change != nil {
				testCase.change(replika)
			}
			namespace := Namespace{Name: "vault", Labels: testCase.labels}
			if got := mustSelection(t, replika).Selects(namespace); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
			if got := naiveSelects(replika, namespace); got != testCase.want {
				t.Errorf("the reference implementation returns %v", got)
			}
		})
	}
}

func TestSelection_Selects_DefaultSourceNamespace(t *testing.T) {
	selection := mustSelection(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "" }))
	if selection.Selects(Namespace{Name: replikaKey.Namespace}) {
		t.Error("the Replika's namespace is selected although it is the source's")
	}
	if !selection.Selects(Namespace{Name: "vault"}) {
		t.Error("a namespace other than the source's is not selected")
	}
}

func TestSelection_ChangedBy(t *testing.T) {
	selected, other := map[string]string{"team": "a"}, map[string]string{"team": "b", "note": "x"}
	optedOut := map[string]string{"team": "a", v1alpha1.LabelOptOut: v1alpha1.OptOutValue}
	byLabel := v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{MatchLabels: selected}}
	byName := v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}
	cases := map[string]struct {
		targets       v1alpha1.TargetNamespaces
		before, after Namespace
		want          bool
	}{
		"gets the label":             {byLabel, Namespace{Labels: other}, Namespace{Labels: selected}, true},
		"loses the label":            {byLabel, Namespace{Labels: selected}, Namespace{Labels: other}, true},
		"opts out":                   {byLabel, Namespace{Labels: selected}, Namespace{Labels: optedOut}, true},
		"opts in":                    {byLabel, Namespace{Labels: optedOut}, Namespace{Labels: selected}, true},
		"is deleted":                 {byLabel, Namespace{Labels: selected}, Namespace{Labels: selected, Terminating: true}, true},
		"is created anew":            {byLabel, Namespace{Labels: selected, UID: "1"}, Namespace{Labels: selected, UID: "2"}, true},
		"created anew, no target":    {byLabel, Namespace{Labels: other, UID: "1"}, Namespace{Labels: other, UID: "2"}, false},
		"another label":              {byLabel, Namespace{Labels: other}, Namespace{Labels: nil}, false},
		"opts out, but is no target": {byLabel, Namespace{}, Namespace{Labels: map[string]string{v1alpha1.LabelOptOut: v1alpha1.OptOutValue}}, false},
		"label, selected by name":    {byName, Namespace{Labels: other}, Namespace{Labels: selected}, false},
		"opts out, selected by name": {byName, Namespace{Labels: selected}, Namespace{Labels: optedOut}, true},
		"not allowed by the source":  {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Labels: selected}, Namespace{Labels: optedOut}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.before.Name, tc.after.Name = "shop", "shop"
			selection := mustSelection(t, newReplika(withAllowedNamespaces("web"), func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = tc.targets }))
			if got := selection.ChangedBy(tc.before, tc.after); got != tc.want {
				t.Errorf("ChangedBy() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestNewSelection_InvalidSelector(t *testing.T) {
	_, err := NewSelection(newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{
			MatchExpressions: []v1alpha1.LabelRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn}},
		}}
	}))
	if err == nil {
		t.Error("the operator In without values is accepted")
	}
}

func TestSelection_MissingNames(t *testing.T) {
	namespaces := []Namespace{{Name: "shop"}, {Name: "web", Terminating: true}}
	cases := map[string]struct {
		targets v1alpha1.TargetNamespaces
		want    []string
	}{
		"all names exist":                   {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}, nil},
		"sorted without duplicates":         {v1alpha1.TargetNamespaces{ReplicateIn: []string{"z", "a", "shop", "z"}}, []string{"a", "z"}},
		"terminating namespace exists":      {v1alpha1.TargetNamespaces{ReplicateIn: []string{"web"}}, nil},
		"globs are never missing":           {v1alpha1.TargetNamespaces{ReplicateIn: []string{"team-*"}}, nil},
		"label selectors are never missing": {v1alpha1.TargetNamespaces{Selector: &v1alpha1.LabelSelector{}}, nil},
		"excluded names are ignored":        {v1alpha1.TargetNamespaces{ReplicateIn: []string{"gone"}, ExcludeFrom: []string{"go*"}}, nil},
		"names are ignored under matchAll": {
			v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"gone"}}, nil,
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = testCase.targets })
			if diff := cmp.Diff(testCase.want, mustSelection(t, replika).MissingNames(namespaces)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
