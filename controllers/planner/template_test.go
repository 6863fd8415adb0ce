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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestNewTemplate(t *testing.T) {
	source := newObject("vault", "settings",
		withLabels(map[string]string{"app": "shop", "tier": "gold", "helm.sh/chart": "shop-1"}),
		withAnnotations(map[string]string{"note": "source", "kubectl.kubernetes.io/last-applied-configuration": "{}"}),
		withField("busy", "status"), withController, withTerminating,
	)
	before := source.DeepCopy()
	replika := newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Name = "shared"
		r.Spec.Target.Labels = v1alpha1.Labels{"tier": "silver", "helm.sh/chart": "mine"}
		r.Spec.Target.Annotations = map[string]string{"note": "target", "extra": ""}
	})
	template := mustTemplate(t, replika, source)

	if diff := cmp.Diff(before, source); diff != "" {
		t.Errorf("the source changed: %s", diff)
	}
	// The spec takes precedence, even with a key that is stripped from the source.
	if diff := cmp.Diff(map[string]string{"app": "shop", "tier": "silver", "helm.sh/chart": "mine"}, template.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"note": "target", "extra": ""}, template.Annotations); diff != "" {
		t.Error(diff)
	}
	wantApplied := Applied{Labels: []string{"app", "helm.sh/chart", "tier"}, Annotations: []string{"extra", "note"}}
	if diff := cmp.Diff(wantApplied, template.Applied()); diff != "" {
		t.Error(diff)
	}

	rendered, err := template.Render("shop")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(rendered, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"data":       map[string]any{"mode": "fast"},
		"metadata": map[string]any{
			"namespace": "shop",
			"name":      "shared",
			"labels": map[string]any{
				"app": "shop", "tier": "silver", "helm.sh/chart": "mine",
				v1alpha1.LabelCreatedBy: "replika-controller", v1alpha1.LabelPartOf: "sync",
			},
			"annotations": map[string]any{
				"note": "target", "extra": "",
				v1alpha1.AnnotationMarksVersion: "1",
				v1alpha1.AnnotationOwner:        "ops/sync",
				v1alpha1.AnnotationSource:       "vault/settings",
				v1alpha1.AnnotationSelf:         "shop/shared",
				v1alpha1.AnnotationResource:     "configmaps",
				v1alpha1.AnnotationApplied:      `{"labels":["app","helm.sh/chart","tier"],"annotations":["extra","note"]}`,
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// All copies in sync have the same digests: these depend neither on the namespace nor on adoption.
func TestTemplate_Digests(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(map[string]string{"app": "shop"})))
	cases := map[string]struct {
		change func(*unstructured.Unstructured)
		want   []string
	}{
		"as rendered":                        {func(*unstructured.Unstructured) {}, nil},
		"adopted":                            {withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"}), nil},
		"with keys of other clients":         {withLabels(map[string]string{"example.com/other": "x"}), nil},
		"with status":                        {withField("busy", "status"), nil},
		"with owners that are no controller": {withOwner, nil},
		"changed content":                    {withField("slow", "data", "mode"), []string{"data"}},
		"additional field":                   {withField(true, "immutable"), []string{"immutable"}},
		"changed label":                      {withLabels(map[string]string{"app": "web"}), []string{"metadata"}},
		"operator label removed":             {withLabels(map[string]string{v1alpha1.LabelCreatedBy: ""}), []string{"metadata"}},
		"part-of label of another Replika":   {withLabels(map[string]string{v1alpha1.LabelPartOf: "other"}), []string{"metadata"}},
		"another source":                     {withAnnotations(map[string]string{v1alpha1.AnnotationSource: "vault/other"}), []string{"metadata"}},
		"additional applied key": {
			withAnnotations(map[string]string{v1alpha1.AnnotationApplied: `{"labels":["app","old"]}`}), []string{"metadata"},
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			for _, namespace := range []string{"shop", "web"} {
				observed := mustObserve(t, newCopy(t, template, namespace, testCase.change))
				if diff := cmp.Diff(testCase.want, template.Digests.Differing(observed.Digests)); diff != "" {
					t.Errorf("%s: %s", namespace, diff)
				}
			}
		})
	}
}

// The schema rejects a spec with reserved keys, but a stored Replika can be older than the schema.
func TestNewTemplate_DropsReservedKeys(t *testing.T) {
	template := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Labels = v1alpha1.Labels{v1alpha1.LabelPartOf: "forged", v1alpha1.KeyPrefix + "x": "1", "app": "shop"}
		r.Spec.Target.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "true", v1alpha1.AnnotationOwner: "a/b"}
	}), newObject("vault", "settings"))
	if diff := cmp.Diff(Applied{Labels: []string{"app"}}, template.Applied()); diff != "" {
		t.Error(diff)
	}
	observed := mustObserve(t, newCopy(t, template, "shop"))
	if !observed.OwnedBy(replikaKey) || observed.Adopted || observed.Digests != template.Digests {
		t.Errorf("the copy is not owned, not adopted and in sync: %+v", observed)
	}
}

func TestNewTemplate_SourceNotAllowed(t *testing.T) {
	secret := func(secretType string) *unstructured.Unstructured {
		return newObject("vault", "settings", withField("Secret", "kind"), withField(secretType, "type"))
	}
	original := mustTemplate(t, newReplika(), newObject("vault", "settings"))
	cases := map[string]struct {
		source *unstructured.Unstructured
		want   string // part of the error; empty for no error
	}{
		"ConfigMap":            {newObject("vault", "settings"), ""},
		"opaque Secret":        {secret("Opaque"), ""},
		"TLS Secret":           {secret("kubernetes.io/tls"), ""},
		"ServiceAccount token": {secret("kubernetes.io/service-account-token"), "kubernetes.io/service-account-token"},
		"bootstrap token":      {secret("bootstrap.kubernetes.io/token"), "bootstrap.kubernetes.io/token"},
		"another kind with a token type": {
			newObject("vault", "settings", withField("bootstrap.kubernetes.io/token", "type")), "",
		},
		"copy": {newCopy(t, original, "shop"), replikaKey.String()},
		"copy with marks of a newer version": {
			newCopy(t, original, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"})), replikaKey.String(),
		},
		"copy of the 2022 release": {newObject("vault", "settings", withLegacyLabels("any")), v1alpha1.LabelCreatedBy},
		"duplicate of a copy, with labels": {
			newCopy(t, original, "shop", func(o *unstructured.Unstructured) { o.SetName("other") }), v1alpha1.LabelCreatedBy,
		},
		"duplicate of a copy, without labels": {
			newCopy(t, original, "shop", func(o *unstructured.Unstructured) { o.SetName("other"); o.SetLabels(nil) }), "",
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			template, err := NewCleaner().NewTemplate(resourceOf(testCase.source), newReplika(), testCase.source)
			switch {
			case testCase.want == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case testCase.want == "":
				if len(template.Labels) > 0 || len(template.Annotations) > 0 {
					t.Errorf("the template has keys of a copy: %v, %v", template.Labels, template.Annotations)
				}
			case !errors.Is(err, ErrSourceNotAllowed) || !strings.Contains(err.Error(), testCase.want):
				t.Errorf("got error %v, want ErrSourceNotAllowed with %q", err, testCase.want)
			}
		})
	}
}

func TestNewTemplate_InvalidContent(t *testing.T) {
	source := newObject("vault", "settings")
	source.Object["data"] = func() {}
	_, err := NewCleaner().NewTemplate(resourceOf(source), newReplika(), source)
	if err == nil || errors.Is(err, ErrSourceNotAllowed) {
		t.Errorf("got error %v, want another one", err)
	}
	if _, err := NewCleaner().Observe(resourceOf(source), source); err == nil {
		t.Error("Observe accepted invalid content")
	}
}

func TestObserve(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(map[string]string{"app": "shop"})))
	key := types.NamespacedName{Namespace: "shop", Name: "settings"}

	observed := mustObserve(t, newCopy(t, template, "shop"))
	if observed.Key() != key || observed.UID != "uid-1" || observed.ResourceVersion != "1" || !observed.HasAnyMark ||
		observed.Marks != MarksValid || observed.Terminating || observed.HasController || observed.Adopted ||
		!observed.HasLabels || !observed.HasAnnotations {
		t.Errorf("a copy: %+v", observed)
	}
	if owner, marked := observed.Owner(); owner != replikaKey || !marked || !observed.OwnedBy(replikaKey) || observed.OwnedBy(otherReplikaKey) {
		t.Errorf("its owner: %v, %v", owner, marked)
	}
	if applied, ok := decodeApplied(observed.Origin.Value().Applied); !ok || !cmp.Equal(template.Applied(), applied) {
		t.Errorf("applied %v, want %v", applied, template.Applied())
	}
	twin := mustObserve(t, newCopy(t, template, "web"))
	if twin.Origin != observed.Origin {
		t.Error("two copies of one source do not share their origin")
	}

	bare := mustObserve(t, newObject("shop", "settings"))
	if bare.HasAnyMark || bare.Marks != MarksAbsent || bare.HasLabels || bare.HasAnnotations || bare.Origin.Value().Applied != "" {
		t.Errorf("a bare object: %+v", bare)
	}
	if _, marked := bare.Owner(); marked {
		t.Error("an object without marks has an owner")
	}

	other := mustObserve(t, newCopy(t, template, "shop", withController, withTerminating, withAnnotations(map[string]string{
		v1alpha1.AnnotationAdopted: "true",
	})))
	if !other.HasController || !other.HasOwners || !other.Terminating || other.Marks != MarksAbsent || other.Adopted {
		t.Errorf("a controlled, terminating, adopted copy: %+v", other)
	}

	duplicate := mustObserve(t, newCopy(t, template, "shop", func(o *unstructured.Unstructured) { o.SetNamespace("web") }))
	if _, marked := duplicate.Owner(); marked || duplicate.Marks != MarksAbsent || !duplicate.HasAnyMark || duplicate.OwnedBy(replikaKey) ||
		duplicate.Origin.Value().Applied != "" {
		t.Errorf("a duplicate: %+v", duplicate)
	}
	incomplete := mustObserve(t, newCopy(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationMarksVersion)))
	if incomplete.Marks != MarksAbsent || !incomplete.HasAnyMark {
		t.Errorf("incomplete marks: %+v", incomplete)
	}
}

// A source is shared by Replikas that are reconciled at the same time.
func TestNewTemplate_KeepsSource(t *testing.T) {
	secret := func() *unstructured.Unstructured {
		object := newObject("a", "x", withField("b25l", "data", "ca.crt"), withField("dHdv", "data", "tls.crt"), withField("kubernetes.io/tls", "type"))
		object.SetKind("Secret")
		return object
	}
	account := newObject("a", "x", withField([]any{
		map[string]any{"name": "x-dockercfg-abcde"}, map[string]any{"name": "registry"},
	}, "imagePullSecrets"), withField([]any{map[string]any{"name": "x-token"}}, "secrets"))
	account.SetKind("ServiceAccount")
	service := newObject("a", "x", withField(map[string]any{
		"clusterIP": "10.0.0.1", "ports": []any{map[string]any{"port": int64(80), "nodePort": int64(30000)}},
	}, "spec"))
	service.SetKind("Service")
	cases := map[string]struct {
		source *unstructured.Unstructured
		change func(*v1alpha1.Replika)
	}{
		"ConfigMap": {newObject("a", "x", withLabels(map[string]string{"app": "x"})), func(*v1alpha1.Replika) {}},
		"renamed key": {secret(), func(r *v1alpha1.Replika) {
			r.Spec.Source.Keys = []v1alpha1.DataKeyPattern{"ca.crt"}
			r.Spec.Target.Type = "Opaque"
			r.Spec.Target.Keys = []v1alpha1.TargetKey{{Name: "ca", From: "ca.crt"}}
		}},
		"ServiceAccount": {account, func(*v1alpha1.Replika) {}},
		"Service":        {service, func(*v1alpha1.Replika) {}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika, before := newReplika(), tc.source.DeepCopy()
			tc.change(replika)
			if _, err := NewCleaner().NewTemplate(resourceOf(tc.source), replika, tc.source); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tc.source); diff != "" {
				t.Errorf("the source was changed (-before +after):\n%s", diff)
			}
		})
	}
}
