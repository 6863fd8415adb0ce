package planner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestSelects(t *testing.T) {
	red := &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"team": "red"}}
	plain := Namespace{Name: "shop"}
	cases := map[string]struct {
		targets   v1alpha1.TargetNamespaces
		namespace Namespace
		want      bool
	}{
		"matchAll":                    {v1alpha1.TargetNamespaces{MatchAll: true}, plain, true},
		"nothing at all":              {v1alpha1.TargetNamespaces{}, plain, false},
		"by name":                     {v1alpha1.TargetNamespaces{ReplicateIn: []string{"web", "shop"}}, plain, true},
		"by another name":             {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop-2"}}, plain, false},
		"a name is not a prefix":      {v1alpha1.TargetNamespaces{ReplicateIn: []string{"sho"}}, plain, false},
		"by glob, at the end":         {v1alpha1.TargetNamespaces{ReplicateIn: []string{"sh*"}}, plain, true},
		"by glob, at the front":       {v1alpha1.TargetNamespaces{ReplicateIn: []string{"*op"}}, plain, true},
		"by glob, in the middle":      {v1alpha1.TargetNamespaces{ReplicateIn: []string{"s*p"}}, plain, true},
		"by glob, for nothing":        {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop*"}}, plain, true},
		"by a glob for all":           {v1alpha1.TargetNamespaces{ReplicateIn: []string{"*"}}, plain, true},
		"a glob matches whole names":  {v1alpha1.TargetNamespaces{ReplicateIn: []string{"h*"}}, plain, false},
		"by label":                    {v1alpha1.TargetNamespaces{Selector: red}, Namespace{Name: "shop", Labels: map[string]string{"team": "red"}}, true},
		"by another label":            {v1alpha1.TargetNamespaces{Selector: red}, Namespace{Name: "shop", Labels: map[string]string{"team": "blue"}}, false},
		"an empty selector is all":    {v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{}}, plain, true},
		"the selector adds to names":  {v1alpha1.TargetNamespaces{Selector: red, ReplicateIn: []string{"shop"}}, plain, true},
		"names add to the selector":   {v1alpha1.TargetNamespaces{Selector: red, ReplicateIn: []string{"web"}}, Namespace{Name: "shop", Labels: map[string]string{"team": "red"}}, true},
		"matchAll ignores the names":  {v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"web"}}, plain, true},
		"matchAll ignores the labels": {v1alpha1.TargetNamespaces{MatchAll: true, Selector: red}, plain, true},
		"excluded from all":           {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"shop"}}, plain, false},
		"excluded by glob":            {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"s*"}}, plain, false},
		"excluded although named":     {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, ExcludeFrom: []string{"shop"}}, plain, false},
		"excluded although labelled":  {v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{}, ExcludeFrom: []string{"shop"}}, plain, false},
		"another one is excluded":     {v1alpha1.TargetNamespaces{MatchAll: true, ExcludeFrom: []string{"shop-2", "web-*"}}, plain, true},
		"never the source's, by all":  {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "vault"}, false},
		"never the source's, by name": {v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, Namespace{Name: "vault"}, false},
		"never a Terminating one":     {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Terminating: true}, false},
		"never a vetoed one":          {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}, Namespace{Name: "shop", Excluded: true}, false},
		"never one that opted out":    {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Labels: optOut("true")}, false},
		"only true opts out":          {v1alpha1.TargetNamespaces{MatchAll: true}, Namespace{Name: "shop", Labels: optOut("false")}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = c.targets })
			if got := mustSelection(t, replika).Selects(c.namespace); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSourceNamespaceDefaultsToTheReplikas(t *testing.T) {
	selection := mustSelection(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "" }))
	if selection.Selects(Namespace{Name: ours.Namespace}) {
		t.Error("the source lives in the Replika's namespace, and that is selected")
	}
	if !selection.Selects(Namespace{Name: "vault"}) {
		t.Error("another namespace is not selected")
	}
}

func TestSelectorThatNoLabelSatisfies(t *testing.T) {
	_, err := NewSelection(newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces = v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{
			MatchExpressions: []v1alpha1.NamespaceRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn}},
		}}
	}))
	if err == nil {
		t.Error("an In without values was accepted")
	}
}

func TestMissing(t *testing.T) {
	namespaces := []Namespace{{Name: "shop"}, {Name: "web", Terminating: true}}
	cases := map[string]struct {
		targets v1alpha1.TargetNamespaces
		want    []string
	}{
		"all there":                    {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}}, nil},
		"sorted, once each":            {v1alpha1.TargetNamespaces{ReplicateIn: []string{"z", "a", "shop", "z"}}, []string{"a", "z"}},
		"a Terminating one is there":   {v1alpha1.TargetNamespaces{ReplicateIn: []string{"web"}}, nil},
		"a glob asks for nothing":      {v1alpha1.TargetNamespaces{ReplicateIn: []string{"team-*"}}, nil},
		"a selector asks for nothing":  {v1alpha1.TargetNamespaces{Selector: &v1alpha1.NamespaceSelector{}}, nil},
		"an excluded one is not asked": {v1alpha1.TargetNamespaces{ReplicateIn: []string{"gone"}, ExcludeFrom: []string{"go*"}}, nil},
		"names do not count beside all": {
			v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"gone"}}, nil,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			replika := newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = c.targets })
			if diff := cmp.Diff(c.want, mustSelection(t, replika).MissingNames(namespaces)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
