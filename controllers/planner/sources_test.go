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
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// withSourceNames has the Replika select many sources by names and globs.
func withSourceNames(patterns ...string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Spec.Source.Name, r.Spec.Source.Names = "", patterns }
}

// withSourceLabels has the Replika select many sources by labels.
func withSourceLabels(requirements ...v1alpha1.LabelRequirement) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) {
		r.Spec.Source.Name, r.Spec.Source.Selector = "", &v1alpha1.LabelSelector{MatchExpressions: requirements}
	}
}

func withKind(kind string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Spec.Source.Kind = kind }
}

func mustSourceSelector(t testing.TB, replika *v1alpha1.Replika) *SourceSelector {
	t.Helper()
	resource := schema.GroupResource{Resource: strings.ToLower(replika.Spec.Source.Kind) + "s"}
	selector, err := NewSourceSelector(resource, replika)
	if err != nil {
		t.Fatalf("selector: %v", err)
	}
	return selector
}

func hasLabel(key string, values ...string) v1alpha1.LabelRequirement {
	return v1alpha1.LabelRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func TestSourceSelector_Matches(t *testing.T) {
	secret := func(name string, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
		object := newObject("vault", name, changes...)
		object.SetKind("Secret")
		return object
	}
	kubeSystem := func(o *unstructured.Unstructured) { o.SetNamespace("kube-system") }
	allSecrets := newReplika(withKind("Secret"), withSourceNames("*"))
	for name, test := range map[string]struct {
		replika *v1alpha1.Replika
		object  *unstructured.Unstructured
		want    bool
	}{
		"name":                      {newReplika(withSourceNames("settings")), newObject("vault", "settings"), true},
		"other name":                {newReplika(withSourceNames("settings")), newObject("vault", "settings-2"), false},
		"glob":                      {newReplika(withSourceNames("db-*")), newObject("vault", "db-one"), true},
		"labels":                    {newReplika(withSourceLabels(hasLabel("a", "b"))), newObject("vault", "x", withLabels(map[string]string{"a": "b"})), true},
		"other labels":              {newReplika(withSourceLabels(hasLabel("a", "b"))), newObject("vault", "x", withLabels(map[string]string{"a": "c"})), false},
		"selector without a result": {newReplika(withSourceLabels(hasLabel("a", "b"), hasLabel("a", "c"))), newObject("vault", "x", withLabels(map[string]string{"a": "b"})), false},
		"empty selector":            {newReplika(withSourceLabels()), newObject("vault", "x"), false},

		"copy": {
			newReplika(withSourceNames("*")), newCopy(t, mustTemplate(t, newReplika(), newObject("vault", "settings")), "vault"), false,
		},
		"copy without our labels": {
			newReplika(withSourceNames("*")), newCopy(t, mustTemplate(t, newReplika(), newObject("vault", "settings")), "vault", withLabels(nil)), false,
		},
		"copy of the 2022 release": {newReplika(withSourceNames("*")), newObject("vault", "x", withLegacyLabels("sync")), false},
		"copy by its name": {
			newReplika(withSourceNames("settings")), newCopy(t, mustTemplate(t, newReplika(), newObject("vault", "settings")), "vault"), true,
		},

		"Secret":                               {allSecrets, secret("x"), true},
		"token by its annotation":              {allSecrets, secret("x", withAnnotations(map[string]string{"kubernetes.io/service-account.name": "default"})), false},
		"token by its type":                    {allSecrets, secret("x", withField("kubernetes.io/service-account-token", "type")), false},
		"token by its name":                    {newReplika(withKind("Secret"), withSourceNames("x")), secret("x", withField("kubernetes.io/service-account-token", "type")), true},
		"bootstrap token by its name":          {allSecrets, secret("bootstrap-token-abcdef", kubeSystem), false},
		"bootstrap token by its type":          {allSecrets, secret("x", withField("bootstrap.kubernetes.io/token", "type")), false},
		"name like that of a bootstrap token":  {allSecrets, secret("bootstrap-token-abcdef"), true},
		"Helm release by its name":             {allSecrets, secret("sh.helm.release.v1.app.v1"), false},
		"Helm release by its type":             {allSecrets, secret("x", withField("helm.sh/release.v1", "type")), false},
		"Helm release in a ConfigMap":          {newReplika(withSourceNames("*")), newObject("vault", "sh.helm.release.v1.app.v1"), false},
		"CA of the cluster":                    {newReplika(withSourceNames("*")), newObject("vault", "kube-root-ca.crt"), false},
		"CA of OpenShift":                      {newReplika(withSourceNames("*")), newObject("vault", "openshift-service-ca.crt"), false},
		"CA of Istio":                          {newReplika(withSourceNames("*")), newObject("vault", "istio-ca-root-cert"), false},
		"CA of the cluster by its name":        {newReplika(withSourceNames("kube-root-ca.crt")), newObject("vault", "kube-root-ca.crt"), true},
		"Secret named like the CA of Istio":    {allSecrets, secret("istio-ca-root-cert"), true},
		"default ServiceAccount":               {newReplika(withKind("ServiceAccount"), withSourceNames("*")), newObject("vault", "default"), false},
		"another ServiceAccount":               {newReplika(withKind("ServiceAccount"), withSourceNames("*")), newObject("vault", "builder"), true},
		"other kind named like a Helm release": {newReplika(withKind("Service"), withSourceNames("*")), newObject("vault", "sh.helm.release.v1.app.v1"), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := mustSourceSelector(t, test.replika).Matches(test.object); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

// The label selector of a list must not select everything because nothing can match.
func TestSourceSelector_LabelSelector(t *testing.T) {
	for name, test := range map[string]struct {
		replika *v1alpha1.Replika
		want    string
		nothing bool
	}{
		"names":          {replika: newReplika(withSourceNames("a"))},
		"labels":         {replika: newReplika(withSourceLabels(hasLabel("a", "b"))), want: "a in (b)"},
		"empty selector": {replika: newReplika(withSourceLabels()), nothing: true},
	} {
		t.Run(name, func(t *testing.T) {
			selector := mustSourceSelector(t, test.replika)
			if got := selector.LabelSelector(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := selector.MatchesNothing(); got != test.nothing {
				t.Errorf("matches nothing: %t, want %t", got, test.nothing)
			}
		})
	}
}

func TestNewSourceSelector_Invalid(t *testing.T) {
	replika := newReplika(withSourceLabels(v1alpha1.LabelRequirement{Key: "a", Operator: "Like"}))
	if _, err := NewSourceSelector(configMaps, replika); err == nil || !strings.Contains(err.Error(), "spec.source.selector") {
		t.Errorf("got %v", err)
	}
}

func TestSourceSelector_MatchesEvent(t *testing.T) {
	byLabel, byName := newReplika(withSourceLabels(hasLabel("a", "b"))), newReplika(withSourceNames("x*"))
	for name, test := range map[string]struct {
		replika  *v1alpha1.Replika
		object   string
		versions []labels.Set
		want     bool
	}{
		"label now":     {byLabel, "x", []labels.Set{{}, {"a": "b"}}, true},
		"label before":  {byLabel, "x", []labels.Set{{"a": "b"}, {}}, true},
		"label never":   {byLabel, "x", []labels.Set{{"a": "c"}}, false},
		"name":          {byName, "xy", []labels.Set{{}}, true},
		"another name":  {byName, "y", []labels.Set{{}}, false},
		"empty version": {byLabel, "x", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := mustSourceSelector(t, test.replika).MatchesEvent(test.object, test.versions); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

func TestSourceSelector_FormerSource(t *testing.T) {
	copied := mustObserve(t, newCopy(t, mustTemplate(t, newReplika(), newObject("vault", "settings")), "a"))
	for name, test := range map[string]struct {
		replika *v1alpha1.Replika
		want    bool
	}{
		"still named":       {newReplika(withSourceNames("settings")), true},
		"still in a glob":   {newReplika(withSourceNames("set*")), true},
		"selected by label": {newReplika(withSourceLabels(hasLabel("a", "b"))), true},
		"no longer named":   {newReplika(withSourceNames("other")), false},
		"other prefix":      {newReplika(withSourceNames("*"), func(r *v1alpha1.Replika) { r.Spec.Target.NamePrefix = "x-" }), false},
		"other namespace":   {newReplika(withSourceNames("*"), func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "other" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			source, got := mustSourceSelector(t, test.replika).FormerSource(test.replika, copied)
			if got != test.want || source != "settings" {
				t.Errorf("got %q, %t, want %t", source, got, test.want)
			}
		})
	}
}

// Two sources of a Replika never have copies of one name, and the name determines the source.
func TestSourceOfCopy(t *testing.T) {
	affix, name := rapid.StringMatching(`[a-c.-]{0,4}`), rapid.StringMatching(`[a-c.-]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		replika := newReplika(withSourceNames("*"))
		replika.Spec.Target.NamePrefix, replika.Spec.Target.NameSuffix = affix.Draw(t, "prefix"), affix.Draw(t, "suffix")
		source := name.Draw(t, "source")
		if got, possible := SourceOfCopy(replika, replika.TargetNameOf(source)); !possible || got != source {
			t.Fatalf("source %q: got %q, %t", source, got, possible)
		}
		copied := name.Draw(t, "copy")
		if got, possible := SourceOfCopy(replika, copied); possible && replika.TargetNameOf(got) != copied {
			t.Fatalf("copy %q: got %q", copied, got)
		}
	})
}

// What a Replika of one of many sources has in common with the Replika is not changed.
func TestForSource(t *testing.T) {
	replika := newReplika(withSourceNames("*"), func(r *v1alpha1.Replika) { r.Spec.Target.NamePrefix = "x-" })
	before := replika.DeepCopy()
	single := ForSource(replika, "settings", v1alpha1.ReplikaStatus{ObservedGeneration: 1})
	if single.HasManySources() || single.TargetName() != "x-settings" || single.Status.ObservedGeneration != 1 {
		t.Errorf("got %+v", single)
	}
	if !slices.Equal(before.Spec.Source.Names, replika.Spec.Source.Names) || !replika.HasManySources() {
		t.Error("the Replika was changed")
	}
}

func TestSelection_Restrict(t *testing.T) {
	selection := mustSelection(t, newReplika(withSourceNames("*")))
	for _, test := range []struct {
		allowed []string
		want    []string
	}{
		{nil, []string{"a", "b"}},
		{[]string{"a"}, []string{"a"}},
		{[]string{"*"}, []string{"a", "b"}},
	} {
		restricted := selection.Restrict(test.allowed)
		got := slices.DeleteFunc([]string{"a", "b"}, func(name string) bool { return !restricted.Selects(Namespace{Name: name}) })
		if !slices.Equal(got, test.want) {
			t.Errorf("allowed %v: got %v, want %v", test.allowed, got, test.want)
		}
	}
	if !selection.Selects(Namespace{Name: "b"}) {
		t.Error("the unrestricted selection was changed")
	}
}

// No object that can be one of many sources is ever adopted, and a name that is not valid is never requested.
func TestDecide_ManySources(t *testing.T) {
	long := strings.Repeat("p", 250)
	in := func(name string, changes ...func(*Input)) *Input {
		replika := newReplika(withSourceNames("s*"))
		single := ForSource(replika, "settings", v1alpha1.ReplikaStatus{})
		single.Spec.Target.Name = name
		input := &Input{
			Replika: replikaKey, Kind: configMapKind, Name: name, SourceNamespace: "vault", SourceName: "settings",
			Template: mustTemplate(t, single, newObject("vault", "settings")), Sources: mustSourceSelector(t, replika),
			ConflictPolicy: v1alpha1.ConflictPolicyAdopt,
		}
		for _, change := range changes {
			change(input)
		}
		return input
	}
	role := func(input *Input) { input.Kind = schema.GroupKind{Group: rbacGroup, Kind: "Role"} }
	for name, test := range map[string]struct {
		in        *Input
		namespace string
		existing  bool
		want      ActionType
		reason    string
	}{
		"name of another source": {
			in("second", func(input *Input) {
				input.Sources = mustSourceSelector(t, newReplika(withSourceNames("settings", "second")))
			}),
			"vault", false, Conflict, v1alpha1.FailureConflict,
		},
		"object that can be a source":            {in("second"), "vault", true, Conflict, v1alpha1.FailureConflict},
		"object that cannot be a source":         {in("other"), "vault", true, Update, ""},
		"object in another namespace":            {in("second"), "a", true, Update, ""},
		"no object":                              {in("second"), "vault", false, Create, ""},
		"name that is too long":                  {in(long + "-settings"), "a", false, Conflict, v1alpha1.FailureRejected},
		"name that is not valid":                 {in("Settings_"), "a", false, Conflict, v1alpha1.FailureRejected},
		"name that only some kinds allow":        {in("system:settings", role), "a", false, Create, ""},
		"name that is too long for all kinds":    {in(long+"-settings", role), "a", false, Conflict, v1alpha1.FailureRejected},
		"existing object with an invalid name":   {in("Settings_"), "a", true, Update, ""},
		"name of the source, whatever it is":     {in("settings"), "a", false, Create, ""},
		"the kind of the copies is a former one": {in("Settings_", func(input *Input) { input.SourceName = "" }), "a", false, Create, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var existing *Observed
			if test.existing {
				existing = mustObserve(t, newObject(test.namespace, test.in.Name))
			}
			action := test.in.Decide(Namespace{Name: test.namespace}, existing)
			if action.Type != test.want || action.Reason != test.reason {
				t.Errorf("got %s (%s: %s), want %s (%s)", action.Type, action.Reason, action.Message, test.want, test.reason)
			}
		})
	}
}

func TestUniteCopiedKeys(t *testing.T) {
	var many []string
	for i := range maxCopiedKeys {
		many = append(many, strings.Repeat("k", i+1))
	}
	for name, test := range map[string]struct{ one, other, want []string }{
		"different":        {[]string{"b"}, []string{"a"}, []string{"a", "b"}},
		"equal":            {[]string{"a"}, []string{"a"}, []string{"a"}},
		"every key":        {[]string{"a"}, nil, nil},
		"every other key":  {nil, []string{"a"}, nil},
		"too many to keep": {many, []string{"a"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := UniteCopiedKeys(test.one, test.other); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
