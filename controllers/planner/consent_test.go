package planner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestAllowedNamespaces(t *testing.T) {
	allowing := func(list string) map[string]string {
		return map[string]string{v1alpha1.AnnotationAllowedNamespaces: list}
	}
	cases := map[string]struct {
		annotations map[string]string
		want        []string
	}{
		"says nothing":               {nil, nil},
		"says something else":        {map[string]string{"note": "shop"}, nil},
		"one name":                   {allowing("shop"), []string{"shop"}},
		"names and globs, in order":  {allowing("web,team-*,*-test,shop"), []string{"*-test", "shop", "team-*", "web"}},
		"blanks and line ends":       {allowing(" shop ,\n\tweb\n"), []string{"shop", "web"}},
		"twice":                      {allowing("shop,shop"), []string{"shop"}},
		"everywhere":                 {allowing("*"), []string{"*"}},
		"nowhere":                    {allowing(""), []string{}},
		"commas only":                {allowing(" , ,"), []string{}},
		"other patterns allow none":  {allowing("sho?,[a-z]*,team-{a,b},shop|web"), []string{}},
		"what no namespace is named": {allowing("Shop,-shop,shop-,sh op"), []string{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := AllowedNamespaces(newObject("vault", "settings", withAnnotations(c.annotations)))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConsent(t *testing.T) {
	cases := map[string]struct {
		allowed   []string
		namespace Namespace
		want      bool
	}{
		"no restriction":          {nil, Namespace{Name: "shop"}, true},
		"by name":                 {[]string{"web", "shop"}, Namespace{Name: "shop"}, true},
		"by glob":                 {[]string{"sh*"}, Namespace{Name: "shop"}, true},
		"others":                  {[]string{"web"}, Namespace{Name: "shop"}, false},
		"it never adds":           {[]string{"vault"}, Namespace{Name: "vault"}, false},
		"a label still counts":    {[]string{"shop"}, Namespace{Name: "shop", Labels: optOut("true")}, false},
		"a veto still counts":     {[]string{"shop"}, Namespace{Name: "shop", Excluded: true}, false},
		"a deletion still counts": {[]string{"shop"}, Namespace{Name: "shop", Terminating: true}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := mustSelection(t, newReplika(allowedIn(c.allowed...))).Selects(c.namespace); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	named := v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop", "team-*"}}
	cases := map[string]struct {
		targets   v1alpha1.TargetNamespaces
		allowed   []string
		namespace Namespace
		want      string // empty for nothing to tell
	}{
		"a target":               {named, nil, Namespace{Name: "shop"}, ""},
		"not asked for":          {named, nil, Namespace{Name: "web", Excluded: true}, ""},
		"vetoed":                 {named, nil, Namespace{Name: "shop", Excluded: true}, "--excluded-namespaces"},
		"opted out":              {named, nil, Namespace{Name: "shop", Labels: optOut("true")}, v1alpha1.LabelOptOut},
		"not allowed":            {named, []string{"web"}, Namespace{Name: "shop"}, v1alpha1.AnnotationAllowedNamespaces},
		"allowed":                {named, []string{"shop"}, Namespace{Name: "shop"}, ""},
		"asked for by glob":      {named, nil, Namespace{Name: "team-a", Excluded: true}, ""},
		"asked for as all":       {v1alpha1.TargetNamespaces{MatchAll: true, ReplicateIn: []string{"shop"}}, nil, Namespace{Name: "shop", Excluded: true}, ""},
		"being deleted":          {named, nil, Namespace{Name: "shop", Excluded: true, Terminating: true}, ""},
		"excluded by the spec":   {v1alpha1.TargetNamespaces{ReplicateIn: []string{"shop"}, ExcludeFrom: []string{"s*"}}, nil, Namespace{Name: "shop", Excluded: true}, ""},
		"the source's namespace": {v1alpha1.TargetNamespaces{ReplicateIn: []string{"vault"}}, nil, Namespace{Name: "vault", Excluded: true}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			selection := mustSelection(t, newReplika(allowedIn(c.allowed...), func(r *v1alpha1.Replika) { r.Spec.Target.Namespaces = c.targets }))
			got := selection.DenialReason(c.namespace)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Whatever keeps copies out of a namespace, its coming and going concerns the Replikas that select it.
func TestConcerns(t *testing.T) {
	selection := mustSelection(t, newReplika(into("shop"), allowedIn("web")))
	closed := Namespace{Name: "shop", Labels: optOut("true"), Excluded: true, Terminating: true}
	if !selection.CouldSelect(closed) {
		t.Error("a namespace that the Replika names does not concern it")
	}
	if closed.Labels[v1alpha1.LabelOptOut] != "true" {
		t.Error("the namespace's own labels were changed")
	}
	if selection.CouldSelect(Namespace{Name: "web"}) {
		t.Error("a namespace that the Replika does not select concerns it")
	}
}
