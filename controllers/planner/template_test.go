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

func TestTemplate(t *testing.T) {
	source := newObject("vault", "settings",
		withLabels(map[string]string{"app": "shop", "tier": "gold", "helm.sh/chart": "shop-1"}),
		withAnnotations(map[string]string{"note": "source", "kubectl.kubernetes.io/last-applied-configuration": "{}"}),
		withField("busy", "status"), controlled, terminating,
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
	// What the spec names wins, a key that is cleaned off the source among it: the user asked for it.
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
				v1alpha1.AnnotationApplied:      `{"labels":["app","helm.sh/chart","tier"],"annotations":["extra","note"]}`,
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// One digest stands for every copy: it depends neither on the namespace nor on whether the object was adopted.
func TestEveryCopyInSyncHasTheDigestsOfTheTemplate(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(map[string]string{"app": "shop"})))
	cases := map[string]struct {
		change func(*unstructured.Unstructured)
		want   []string
	}{
		"as rendered":           {func(*unstructured.Unstructured) {}, nil},
		"adopted":               {withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"}), nil},
		"with keys of others":   {withLabels(map[string]string{"example.com/other": "x"}), nil},
		"with status":           {withField("busy", "status"), nil},
		"with a controller":     {controlled, nil},
		"other content":         {withField("slow", "data", "mode"), []string{"data"}},
		"more content":          {withField(true, "immutable"), []string{"immutable"}},
		"other label":           {withLabels(map[string]string{"app": "web"}), []string{"metadata"}},
		"our label stripped":    {withLabels(map[string]string{v1alpha1.LabelCreatedBy: ""}), []string{"metadata"}},
		"made for another name": {withLabels(map[string]string{v1alpha1.LabelPartOf: "other"}), []string{"metadata"}},
		"from another source":   {withAnnotations(map[string]string{v1alpha1.AnnotationSource: "vault/other"}), []string{"metadata"}},
		"with more applied": {
			withAnnotations(map[string]string{v1alpha1.AnnotationApplied: `{"labels":["app","old"]}`}), []string{"metadata"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, namespace := range []string{"shop", "web"} {
				observed := mustObserve(t, copyOf(t, template, namespace, c.change))
				if diff := cmp.Diff(c.want, template.Digests.Differing(observed.Digests)); diff != "" {
					t.Errorf("%s: %s", namespace, diff)
				}
			}
		})
	}
}

// The schema refuses such a spec. One that slipped past it must not forge marks.
func TestReservedKeysOfASpecAreDropped(t *testing.T) {
	template := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) {
		r.Spec.Target.Labels = v1alpha1.Labels{v1alpha1.LabelPartOf: "forged", v1alpha1.KeyPrefix + "x": "1", "app": "shop"}
		r.Spec.Target.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "true", v1alpha1.AnnotationOwner: "a/b"}
	}), newObject("vault", "settings"))
	if diff := cmp.Diff(Applied{Labels: []string{"app"}}, template.Applied()); diff != "" {
		t.Error(diff)
	}
	observed := mustObserve(t, copyOf(t, template, "shop"))
	if !observed.OwnedBy(ours) || observed.Adopted || observed.Digests != template.Digests {
		t.Errorf("the copy is not ours, plain and in sync: %+v", observed)
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	secret := func(secretType string) *unstructured.Unstructured {
		return newObject("vault", "settings", withField("Secret", "kind"), withField(secretType, "type"))
	}
	original := mustTemplate(t, newReplika(), newObject("vault", "settings"))
	cases := map[string]struct {
		source *unstructured.Unstructured
		want   string
	}{
		"a plain object":         {newObject("vault", "settings"), ""},
		"an opaque Secret":       {secret("Opaque"), ""},
		"a TLS Secret":           {secret("kubernetes.io/tls"), ""},
		"a ServiceAccount token": {secret("kubernetes.io/service-account-token"), "valid in one place only"},
		"a bootstrap token":      {secret("bootstrap.kubernetes.io/token"), "valid in one place only"},
		"another kind may have such a type": {
			newObject("vault", "settings", withField("bootstrap.kubernetes.io/token", "type")), "",
		},
		"a copy": {copyOf(t, original, "shop"), "owned by Replika ops/sync"},
		"a copy of a newer operator": {
			copyOf(t, original, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"})), "itself a copy",
		},
		"a copy of the 2022 release": {newObject("vault", "settings", legacyLabels("any")), v1alpha1.LabelCreatedBy},
		"a duplicate of a copy with its labels": {
			copyOf(t, original, "shop", func(o *unstructured.Unstructured) { o.SetName("other") }), v1alpha1.LabelCreatedBy,
		},
		"a duplicate of a copy without them": {
			copyOf(t, original, "shop", func(o *unstructured.Unstructured) { o.SetName("other"); o.SetLabels(nil) }), "",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			template, err := NewCleaner().NewTemplate(newReplika(), c.source)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want == "":
				if len(template.Labels) > 0 || len(template.Annotations) > 0 {
					t.Errorf("something of a former copy is left: %v, %v", template.Labels, template.Annotations)
				}
			case !errors.Is(err, ErrSourceNotAllowed) || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestTemplateOfWhatIsNoJSON(t *testing.T) {
	source := newObject("vault", "settings")
	source.Object["data"] = func() {}
	_, err := NewCleaner().NewTemplate(newReplika(), source)
	if err == nil || errors.Is(err, ErrSourceNotAllowed) {
		t.Errorf("got %v", err)
	}
	if _, err := NewCleaner().Observe(source); err == nil {
		t.Error("it was observed")
	}
}

func TestObserve(t *testing.T) {
	template := mustTemplate(t, newReplika(), newObject("vault", "settings", withLabels(map[string]string{"app": "shop"})))
	key := types.NamespacedName{Namespace: "shop", Name: "settings"}

	observed := mustObserve(t, copyOf(t, template, "shop"))
	if observed.Key() != key || observed.UID != "uid-1" || observed.ResourceVersion != "1" || !observed.HasAnyMark ||
		observed.Marks != MarksValid || observed.Terminating || observed.HasController || observed.Adopted ||
		!observed.HasLabels || !observed.HasAnnotations {
		t.Errorf("a copy: %+v", observed)
	}
	if owner, marked := observed.Owner(); owner != ours || !marked || !observed.OwnedBy(ours) || observed.OwnedBy(theirs) {
		t.Errorf("its owner: %v, %v", owner, marked)
	}
	if diff := cmp.Diff(template.Applied(), observed.Applied()); diff != "" {
		t.Error(diff)
	}
	twin := mustObserve(t, copyOf(t, template, "web"))
	if twin.Origin != observed.Origin {
		t.Error("two copies of one source do not share what they have in common")
	}

	bare := mustObserve(t, newObject("shop", "settings"))
	if bare.HasAnyMark || bare.Marks != MarksAbsent || bare.HasLabels || bare.HasAnnotations || !cmp.Equal(bare.Applied(), Applied{}) {
		t.Errorf("a bare object: %+v", bare)
	}
	if _, marked := bare.Owner(); marked {
		t.Error("nobody's object has an owner")
	}

	other := mustObserve(t, copyOf(t, template, "shop", controlled, terminating, withAnnotations(map[string]string{
		v1alpha1.AnnotationAdopted: "true",
	})))
	if !other.HasController || !other.Terminating || !other.Adopted {
		t.Errorf("a controlled, terminating, adopted copy: %+v", other)
	}

	forged := mustObserve(t, copyOf(t, template, "shop", func(o *unstructured.Unstructured) { o.SetNamespace("web") }))
	if _, marked := forged.Owner(); marked || forged.Marks != MarksAbsent || !forged.HasAnyMark || forged.OwnedBy(ours) ||
		!cmp.Equal(forged.Applied(), Applied{}) {
		t.Errorf("a duplicate: %+v", forged)
	}
	halfMarked := mustObserve(t, copyOf(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationMarksVersion)))
	if halfMarked.Marks != MarksAbsent || !halfMarked.HasAnyMark {
		t.Errorf("half its marks: %+v", halfMarked)
	}
}
