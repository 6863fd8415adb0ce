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
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

type fields = map[string]any

func withAllowedKeys(list string) func(*unstructured.Unstructured) {
	return withAnnotations(map[string]string{v1alpha1.AnnotationAllowedKeys: list})
}

// withContent makes the object one of the kind, with these fields and no others.
func withContent(kind string, content fields) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		delete(o.Object, "data")
		o.SetKind(kind)
		maps.Copy(o.Object, content)
	}
}

func withKeys(chosen ...string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Spec.Source.Keys = chosen }
}

// withRenamedKeys renames keys: each is given as "from=name".
func withRenamedKeys(renamed ...string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) {
		for _, pair := range renamed {
			from, name, _ := strings.Cut(pair, "=")
			r.Spec.Target.Keys = append(r.Spec.Target.Keys, v1alpha1.TargetKey{Name: name, From: from})
		}
	}
}

func withType(secretType string) func(*v1alpha1.Replika) {
	return func(r *v1alpha1.Replika) { r.Spec.Target.Type = secretType }
}

// templateContent returns the content that the template renders.
func templateContent(t *testing.T, template *Template) fields {
	t.Helper()
	rendered, err := template.Render("shop")
	if err != nil {
		t.Fatal(err)
	}
	var got fields
	if err := json.Unmarshal(rendered, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"apiVersion", "kind", "metadata"} {
		delete(got, field)
	}
	return got
}

func TestNewTemplate_Keys(t *testing.T) {
	settings := withContent("ConfigMap", fields{"data": fields{"a": "1", "b": "2", "c.txt": "3"}, "binaryData": fields{"z": "AA==", "d.txt": "BB=="}})
	tls := withContent("Secret", fields{"type": "kubernetes.io/tls", "data": fields{"ca.crt": "1", "tls.crt": "2", "tls.key": "3"}})
	cases := map[string]struct {
		source  func(*unstructured.Unstructured)
		allowed string
		spec    []func(*v1alpha1.Replika)
		want    fields
	}{
		"by name":                  {source: settings, spec: []func(*v1alpha1.Replika){withKeys("a", "z")}, want: fields{"data": fields{"a": "1"}, "binaryData": fields{"z": "AA=="}}},
		"by glob, from both":       {source: settings, spec: []func(*v1alpha1.Replika){withKeys("*.txt")}, want: fields{"data": fields{"c.txt": "3"}, "binaryData": fields{"d.txt": "BB=="}}},
		"field without keys":       {source: settings, spec: []func(*v1alpha1.Replika){withKeys("b")}, want: fields{"data": fields{"b": "2"}}},
		"glob that matches no key": {source: settings, spec: []func(*v1alpha1.Replika){withKeys("x*")}, want: fields{}},
		"renamed, others stay": {
			source: settings, spec: []func(*v1alpha1.Replika){withRenamedKeys("a=x", "z=y")},
			want: fields{"data": fields{"x": "1", "b": "2", "c.txt": "3"}, "binaryData": fields{"y": "AA==", "d.txt": "BB=="}},
		},
		"one key under two names": {source: settings, spec: []func(*v1alpha1.Replika){withKeys("a"), withRenamedKeys("a=a", "a=x")}, want: fields{"data": fields{"a": "1", "x": "1"}}},
		"two keys change places":  {source: settings, spec: []func(*v1alpha1.Replika){withKeys("a", "b"), withRenamedKeys("a=b", "b=a")}, want: fields{"data": fields{"b": "1", "a": "2"}}},
		"keys change places between fields": {
			source: settings, spec: []func(*v1alpha1.Replika){withKeys("a", "z"), withRenamedKeys("a=z", "z=a")},
			want: fields{"data": fields{"z": "1"}, "binaryData": fields{"a": "AA=="}},
		},
		"allowed by name":                                        {source: settings, allowed: "a, z", want: fields{"data": fields{"a": "1"}, "binaryData": fields{"z": "AA=="}}},
		"allowed by glob, chosen by glob":                        {source: settings, allowed: "c*,a", spec: []func(*v1alpha1.Replika){withKeys("*.txt")}, want: fields{"data": fields{"c.txt": "3"}}},
		"allowed, and not in the source":                         {source: settings, allowed: "x", want: fields{}},
		"consent applies before renaming":                        {source: settings, allowed: "b", spec: []func(*v1alpha1.Replika){withRenamedKeys("b=a")}, want: fields{"data": fields{"a": "2"}}},
		"a key that is not allowed has no name to conflict with": {source: settings, allowed: "a", spec: []func(*v1alpha1.Replika){withRenamedKeys("a=b")}, want: fields{"data": fields{"b": "1"}}},
		"certificate only": {
			source: tls, spec: []func(*v1alpha1.Replika){withKeys("ca.crt"), withRenamedKeys("ca.crt=ca-bundle.crt"), withType("Opaque")},
			want: fields{"type": "Opaque", "data": fields{"ca-bundle.crt": "1"}},
		},
		"required keys of the type":     {source: tls, spec: []func(*v1alpha1.Replika){withKeys("tls.*")}, want: fields{"type": "kubernetes.io/tls", "data": fields{"tls.crt": "2", "tls.key": "3"}}},
		"another type":                  {source: tls, spec: []func(*v1alpha1.Replika){withType("example.com/any")}, want: fields{"type": "example.com/any", "data": fields{"ca.crt": "1", "tls.crt": "2", "tls.key": "3"}}},
		"one of two keys of basic-auth": {source: withContent("Secret", fields{"type": "kubernetes.io/basic-auth", "data": fields{"username": "1", "password": "2"}}), spec: []func(*v1alpha1.Replika){withKeys("username")}, want: fields{"type": "kubernetes.io/basic-auth", "data": fields{"username": "1"}}},
		"type whose keys get their names": {
			source: withContent("Secret", fields{"type": "Opaque", "data": fields{"cert": "1", "key": "2"}}), spec: []func(*v1alpha1.Replika){withRenamedKeys("cert=tls.crt", "key=tls.key"), withType("kubernetes.io/tls")},
			want: fields{"type": "kubernetes.io/tls", "data": fields{"tls.crt": "1", "tls.key": "2"}},
		},
		"data that is not a map": {source: withContent("ConfigMap", fields{"data": []any{"a"}}), spec: []func(*v1alpha1.Replika){withKeys("*")}, want: fields{}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source := newObject("vault", "settings", testCase.source)
			if testCase.allowed != "" {
				withAllowedKeys(testCase.allowed)(source)
			}
			before := source.DeepCopy()
			template := mustTemplate(t, newReplika(testCase.spec...), source)
			if diff := cmp.Diff(testCase.want, templateContent(t, template)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, source); diff != "" {
				t.Errorf("the source changed: %s", diff)
			}
			if _, copied := template.CopyAnnotations("shop", false)[v1alpha1.AnnotationAllowedKeys]; copied {
				t.Error("the copy has the annotation of the source's owner")
			}
		})
	}
}

func TestNewTemplate_KeyProblems(t *testing.T) {
	settings := withContent("ConfigMap", fields{"data": fields{"a": "hunter2", "b": "2"}, "binaryData": fields{"z": "AA=="}})
	secret := func(secretType string, keys ...string) func(*unstructured.Unstructured) {
		data := fields{}
		for _, key := range keys {
			data[key] = "aHVudGVyMg=="
		}
		return withContent("Secret", fields{"type": secretType, "data": data})
	}
	tls := secret("kubernetes.io/tls", "ca.crt", "tls.crt", "tls.key")
	notFound := TemplateError{Reason: v1alpha1.ReasonKeyNotFound}
	conflict := TemplateError{Reason: v1alpha1.ReasonKeyConflict, Stalled: true}
	denied := TemplateError{Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true, Denied: true}
	refused := TemplateError{Reason: v1alpha1.ReasonSourceNotAllowed, Stalled: true}
	cases := map[string]struct {
		source func(*unstructured.Unstructured)
		// allowed is the list of allowed keys; empty for no annotation.
		allowed string
		spec    []func(*v1alpha1.Replika)
		want    TemplateError
		message []string
	}{
		"named key is missing":            {source: settings, spec: []func(*v1alpha1.Replika){withKeys("a", "x")}, want: notFound, message: []string{`the key "x"`}},
		"many named keys are missing":     {source: settings, spec: []func(*v1alpha1.Replika){withKeys("q", "r", "s", "t", "u")}, want: notFound, message: []string{`"q", "r", "s" and 2 more`}},
		"renamed key is missing":          {source: settings, spec: []func(*v1alpha1.Replika){withRenamedKeys("x=y")}, want: notFound, message: []string{`"x"`}},
		"renamed key is not chosen":       {source: settings, spec: []func(*v1alpha1.Replika){withKeys("b*"), withRenamedKeys("a=x")}, want: conflict, message: []string{`"a"`, "spec.source.keys"}},
		"two keys have one name":          {source: settings, spec: []func(*v1alpha1.Replika){withRenamedKeys("a=b")}, want: conflict, message: []string{`"a"`, `"b"`}},
		"two keys of different fields":    {source: settings, spec: []func(*v1alpha1.Replika){withRenamedKeys("a=z")}, want: conflict, message: []string{`"a"`, `"z"`}},
		"named key is not allowed":        {source: settings, allowed: "b", spec: []func(*v1alpha1.Replika){withKeys("a", "b")}, want: denied, message: []string{v1alpha1.AnnotationAllowedKeys, `"a"`}},
		"missing key is not allowed":      {source: settings, allowed: "b", spec: []func(*v1alpha1.Replika){withKeys("x")}, want: denied, message: []string{`"x"`}},
		"renamed key is not allowed":      {source: settings, allowed: "b", spec: []func(*v1alpha1.Replika){withRenamedKeys("a=x")}, want: denied, message: []string{`"a"`}},
		"no key is allowed":               {source: settings, allowed: " ", want: denied, message: []string{v1alpha1.AnnotationAllowedKeys}},
		"unreadable list":                 {source: settings, allowed: "a;b", want: refused, message: []string{v1alpha1.AnnotationAllowedKeys, `"a;b"`, "commas"}},
		"typographic quotes":              {source: settings, allowed: "“a”", want: refused, message: []string{`"“a”"`}},
		"regular expression":              {source: settings, allowed: "^a.*$", want: refused, message: []string{`"^a.*$"`}},
		"empty entry":                     {source: settings, allowed: "a,,b", want: refused, message: []string{`""`}},
		"entry of 254 characters":         {source: settings, allowed: strings.Repeat("a", 254), want: refused, message: []string{"…"}},
		"many entries":                    {source: settings, allowed: strings.Repeat("a,", 10_000) + "a", want: refused, message: []string{"10001 entries", "tls.*"}},
		"another kind":                    {source: withContent("Endpoints", fields{"subsets": []any{}}), allowed: "a", want: refused, message: []string{"only ConfigMaps and Secrets"}},
		"tls without its keys":            {source: tls, spec: []func(*v1alpha1.Replika){withKeys("ca.crt")}, want: conflict, message: []string{`"tls.crt", "tls.key"`, "kubernetes.io/tls", "Opaque"}},
		"tls without one key":             {source: tls, spec: []func(*v1alpha1.Replika){withKeys("*.crt")}, want: conflict, message: []string{`the key "tls.key"`, "Opaque"}},
		"tls with a renamed key":          {source: tls, spec: []func(*v1alpha1.Replika){withRenamedKeys("tls.key=key")}, want: conflict, message: []string{`the key "tls.key"`}},
		"tls whose owner denies one":      {source: tls, allowed: "*.crt", want: conflict, message: []string{`the key "tls.key"`, "Opaque"}},
		"tls, for an Opaque source":       {source: secret("Opaque", "tls.crt"), spec: []func(*v1alpha1.Replika){withType("kubernetes.io/tls")}, want: notFound, message: []string{`the key "tls.key"`}},
		"basic-auth without its keys":     {source: secret("kubernetes.io/basic-auth", "username", "note"), spec: []func(*v1alpha1.Replika){withKeys("note")}, want: conflict, message: []string{`"username", "password"`, "Opaque"}},
		"basic-auth, for Opaque":          {source: secret("Opaque", "note"), spec: []func(*v1alpha1.Replika){withType("kubernetes.io/basic-auth")}, want: notFound, message: []string{`"username", "password"`}},
		"ssh-auth without its key":        {source: secret("kubernetes.io/ssh-auth", "ssh-privatekey", "note"), spec: []func(*v1alpha1.Replika){withKeys("note")}, want: conflict, message: []string{`"ssh-privatekey"`}},
		"ssh-auth with an empty key":      {source: withContent("Secret", fields{"type": "Opaque", "data": fields{"ssh-privatekey": ""}}), spec: []func(*v1alpha1.Replika){withType("kubernetes.io/ssh-auth")}, want: notFound, message: []string{`"ssh-privatekey"`}},
		"dockerconfigjson without its":    {source: secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", "note"), spec: []func(*v1alpha1.Replika){withKeys("note")}, want: conflict, message: []string{`".dockerconfigjson"`}},
		"dockercfg without its key":       {source: secret("kubernetes.io/dockercfg", ".dockercfg", "note"), spec: []func(*v1alpha1.Replika){withKeys("n*")}, want: conflict, message: []string{`".dockercfg"`}},
		"token of a ServiceAccount":       {source: secret("Opaque", "a"), spec: []func(*v1alpha1.Replika){withType("kubernetes.io/service-account-token")}, want: refused, message: []string{"token"}},
		"bootstrap token, made of a type": {source: tls, spec: []func(*v1alpha1.Replika){withType("bootstrap.kubernetes.io/token")}, want: refused, message: []string{"token"}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source := newObject("vault", "settings", testCase.source)
			if testCase.allowed != "" {
				withAllowedKeys(testCase.allowed)(source)
			}
			template, err := NewCleaner().NewTemplate(resourceOf(source), newReplika(testCase.spec...), source)
			got, known := errors.AsType[*TemplateError](err)
			if !known || template != nil {
				t.Fatalf("got %v, %v, want an error", template, err)
			}
			testCase.want.Message = got.Message
			if diff := cmp.Diff(testCase.want, *got); diff != "" {
				t.Error(diff)
			}
			for _, part := range testCase.message {
				if !strings.Contains(got.Message, part) {
					t.Errorf("the message does not contain %q: %s", part, got.Message)
				}
			}
			if len(got.Message) > 700 || strings.Contains(got.Message, "hunter2") || strings.Contains(got.Message, "aHVudGVyMg") {
				t.Errorf("the message is too long, or shows content: %s", got.Message)
			}
		})
	}
}

// Without the fields, nothing that was copied before is refused: the API server alone decides about it.
func TestNewTemplate_KeysOfIncompleteSource(t *testing.T) {
	source := newObject("vault", "settings", withContent("Secret", fields{"type": "kubernetes.io/tls", "data": fields{}}))
	if diff := cmp.Diff(fields{"type": "kubernetes.io/tls", "data": fields{}}, templateContent(t, mustTemplate(t, newReplika(), source))); diff != "" {
		t.Error(diff)
	}
}

func TestKeysWithdrawn(t *testing.T) {
	unreadable, none := "a;b", "none"
	denied := &TemplateError{Denied: true}
	cases := map[string]struct {
		allowed string // "none" for no annotation
		copied  []string
		unknown bool // nothing was copied yet
		problem *TemplateError
		want    bool
	}{
		"no list":                         {allowed: none, copied: []string{"a"}},
		"unreadable list":                 {allowed: unreadable, copied: []string{"a"}},
		"allowed by name":                 {allowed: "a,b", copied: []string{"a"}},
		"allowed by glob":                 {allowed: "tls.*", copied: []string{"tls.crt", "tls.key"}},
		"glob within a glob":              {allowed: "t*", copied: []string{"tls.*"}},
		"glob within two":                 {allowed: "*.crt,tls.*", copied: []string{"tls.*", "ca.crt"}},
		"all, and the list allows all":    {allowed: "*", copied: nil},
		"one not allowed any more":        {allowed: "a", copied: []string{"a", "b"}, want: true},
		"all, and the list is new":        {allowed: "a", copied: nil, want: true},
		"glob is wider than the list":     {allowed: "tls.crt", copied: []string{"tls.*"}, want: true},
		"nothing is allowed any more":     {allowed: "", copied: []string{"a"}, want: true},
		"spec asks for more than allowed": {allowed: "a", copied: []string{"a"}, problem: denied},
		"nothing copied":                  {allowed: "a", unknown: true},
		"nothing known, and key missing":  {allowed: "a", unknown: true, problem: &TemplateError{}},
		"nothing known, and denied":       {allowed: "a", unknown: true, problem: denied, want: true},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source, replika := newObject("vault", "settings"), newReplika()
			if testCase.allowed != none {
				withAllowedKeys(testCase.allowed)(source)
			}
			if !testCase.unknown {
				replika.Status.Source = &v1alpha1.SourceStatus{ResourceVersion: "1", CopiedKeys: testCase.copied}
			}
			if got := KeysWithdrawn(replika, source, testCase.problem); got != testCase.want {
				t.Errorf("got %v, want %v", got, testCase.want)
			}
		})
	}
}

func TestCopiedKeys(t *testing.T) {
	cases := map[string]struct {
		allowed string // empty for no annotation
		chosen  []string
		want    []string
	}{
		"all":                           {},
		"by the spec":                   {chosen: []string{"a", "b*"}, want: []string{"a", "b*"}},
		"by the owner":                  {allowed: "b,a*", want: []string{"a*", "b"}},
		"by both, the spec with names":  {allowed: "*", chosen: []string{"a"}, want: []string{"a"}},
		"by both, the spec with a glob": {allowed: "a", chosen: []string{"a", "b*"}, want: []string{"a"}},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			source := newObject("vault", "settings")
			if testCase.allowed != "" {
				withAllowedKeys(testCase.allowed)(source)
			}
			if diff := cmp.Diff(testCase.want, CopiedKeys(newReplika(withKeys(testCase.chosen...)), source)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWidenCopiedKeys(t *testing.T) {
	known := func(keys ...string) *v1alpha1.SourceStatus {
		return &v1alpha1.SourceStatus{ResourceVersion: "1", CopiedKeys: keys}
	}
	var many []string
	for i := range maxCopiedKeys {
		many = append(many, fmt.Sprint("key-", i))
	}
	cases := map[string]struct {
		status *v1alpha1.SourceStatus
		copied []string
		want   []string
	}{
		"nothing copied yet":    {nil, []string{"a"}, []string{"a"}},
		"only consent was read": {&v1alpha1.SourceStatus{AllowedNamespaces: []string{"shop"}}, []string{"a"}, []string{"a"}},
		"same":                  {known("a"), []string{"a"}, []string{"a"}},
		"more and less":         {known("b", "c"), []string{"a", "b"}, []string{"a", "b", "c"}},
		"all keys until now":    {known(), []string{"a"}, nil},
		"all keys from now on":  {known("a"), nil, nil},
		"too many to list":      {known(many...), []string{"a"}, nil},
		"as many as can be":     {known(many[1:]...), []string{many[0]}, slices.Sorted(slices.Values(many))},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(testCase.want, WidenCopiedKeys(testCase.status, testCase.copied)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Copies that can have keys that are not allowed any more do not stay while the template cannot be made.
func TestPlan_KeysWithdrawn(t *testing.T) {
	withdrawn := func(in *Input) { in.KeysWithdrawn = true }
	former := newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Name, r.Spec.Target.Name = "former", "settings" })
	cases := map[string]struct {
		change []func(*Input)
		copied func(*Template) *unstructured.Unstructured
		want   ActionType
	}{
		"copy of the source":           {change: []func(*Input){withoutTemplate, withdrawn}, want: Delete},
		"copy of the source, retained": {change: []func(*Input){withoutTemplate, withdrawn, withRetainPolicy}, want: Release},
		"copy of another source": {change: []func(*Input){withoutTemplate, withdrawn}, copied: func(*Template) *unstructured.Unstructured {
			return newCopy(t, mustTemplate(t, former, newObject("vault", "former")), "shop")
		}, want: Keep},
		"consent as it was": {change: []func(*Input){withoutTemplate}, want: Keep},
		"template":          {change: []func(*Input){withdrawn}, want: Keep},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			object := newCopy(t, in.Template, "shop")
			if testCase.copied != nil {
				object = testCase.copied(in.Template)
			}
			in.Observed = []*Observed{mustObserve(t, object)}
			for _, change := range testCase.change {
				change(in)
			}
			for _, action := range Plan(in) {
				if action.Namespace == "shop" && action.Type != testCase.want {
					t.Errorf("got %s, want %s", action.Type, testCase.want)
				}
			}
		})
	}
}

// While suspended, copies that can have keys that are not allowed any more do not stay, unless they are known not to have them.
func TestPlanSuspended_KeysWithdrawn(t *testing.T) {
	source := types.NamespacedName{Namespace: "vault", Name: "settings"}
	in := newInput(t)
	two := newObject("vault", "settings", withContent("ConfigMap", fields{"data": fields{"mode": "fast", "b": "2"}}))
	in.Observed = []*Observed{
		mustObserve(t, newCopy(t, in.Template, "shop")), mustObserve(t, newCopy(t, mustTemplate(t, newReplika(), two), "web")),
	}
	for name, testCase := range map[string]struct {
		consent Consent
		want    []string
	}{
		"as it was":               {Consent{Template: in.Template}, nil},
		"one has the wanted keys": {Consent{KeysWithdrawn: true, Template: in.Template}, []string{"web"}},
		"no template":             {Consent{KeysWithdrawn: true}, []string{"shop", "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			testCase.consent.Source, testCase.consent.Allowed = source, []string{"*"}
			var got []string
			for _, action := range PlanSuspended(in, &testCase.consent) {
				got = append(got, action.Namespace)
			}
			if diff := cmp.Diff(testCase.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
