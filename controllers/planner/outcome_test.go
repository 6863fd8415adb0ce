package planner

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestFollowASurprise(t *testing.T) {
	template := newInput(t).Template
	shop := Namespace{Name: "shop"}
	ourCopy := copyOf(t, template, "shop")
	cases := map[string]struct {
		wanted  bool
		found   *unstructured.Unstructured
		attempt int
		want    ActionType // empty for nothing more
	}{
		"wanted, and it is gone":                {true, nil, 1, Create},
		"wanted, and it is in sync by now":      {true, ourCopy, 1, Keep},
		"wanted, and it drifted again":          {true, copyOf(t, template, "shop", withField("slow", "data", "mode")), 1, Update},
		"wanted, and a foreign one is there":    {true, newObject("shop", "settings"), 1, Conflict},
		"wanted, and it is on its way out":      {true, copyOf(t, template, "shop", terminating), 1, Wait},
		"wanted, the last time":                 {true, nil, 3, Create},
		"wanted, once too often":                {true, nil, 4, ""},
		"not wanted, and it is gone":            {false, nil, 1, Keep},
		"not wanted, and it changed":            {false, ourCopy, 1, Delete},
		"not wanted, and a foreign one":         {false, newObject("shop", "settings"), 1, Keep},
		"not wanted, and on its way":            {false, copyOf(t, template, "shop", terminating), 1, Keep},
		"not wanted, and it was adopted since":  {false, copyOf(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})), 1, Release},
		"not wanted, and too often":             {false, ourCopy, 4, ""},
		"not wanted, and it is a rival's since": {false, copyOf(t, mustTemplate(t, newReplika(named(theirs)), newObject("vault", "settings")), "shop"), 1, Keep},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			var found *Observed
			if c.found != nil {
				found = mustObserve(t, c.found)
			}
			action := Action{Type: Update, Namespace: "shop", Name: "settings", Desired: c.wanted, Observed: mustObserve(t, ourCopy)}
			got, more := in.NextAction(action, shop, Stale, found, c.attempt)
			if got.Type != c.want || more != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got.Type, more, c.want)
			}
			if more && (got.Observed != found || got.Desired != c.wanted) {
				t.Errorf("the next action is not about what was found: %+v", got)
			}
		})
	}
}

// A hand-over that the heir's account may not make leaves the copy to be given up without an heir.
func TestFollowAForbiddenHandOver(t *testing.T) {
	template := newInput(t).Template
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	cases := map[string]struct {
		action ActionType
		object *unstructured.Unstructured
		policy v1alpha1.DeletionPolicy
		want   ActionType // empty for nothing more
	}{
		"a hand-over":                 {HandOver, copyOf(t, template, "shop"), v1alpha1.DeletionPolicyDelete, Delete},
		"a hand-over, to be retained": {HandOver, copyOf(t, template, "shop"), v1alpha1.DeletionPolicyRetain, Release},
		"a hand-over of an adopted":   {HandOver, copyOf(t, template, "shop", adopted), v1alpha1.DeletionPolicyDelete, Release},
		"a deletion":                  {Delete, copyOf(t, template, "shop"), v1alpha1.DeletionPolicyDelete, ""},
		"an update":                   {Update, copyOf(t, template, "shop"), v1alpha1.DeletionPolicyDelete, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			in.DeletionPolicy = c.policy
			action := Action{Type: c.action, Namespace: "shop", Name: "settings", Observed: mustObserve(t, c.object), NewOwner: theirs}
			got, more := in.NextAction(action, Namespace{Name: "shop"}, Forbidden, nil, 1)
			if got.Type != c.want || more != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got.Type, more, c.want)
			}
			if more && (got.NewOwner != types.NamespacedName{}) {
				t.Errorf("it still has the heir %s", got.NewOwner)
			}
		})
	}
}

func TestFollowAnImmutableField(t *testing.T) {
	template := newInput(t).Template
	ourCopy := copyOf(t, template, "shop", withField("slow", "data", "mode"))
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	cases := map[string]struct {
		kind   schema.GroupKind
		policy v1alpha1.ImmutableFieldsPolicy
		action ActionType
		adopt  bool
		object *unstructured.Unstructured
		want   bool
	}{
		"a ConfigMap":                   {configMapKind, "", Update, false, ourCopy, true},
		"a Secret":                      {secretKind, "", Update, false, ourCopy, true},
		"any other kind":                {deployment, "", Update, false, ourCopy, false},
		"a Secret of another group":     {schema.GroupKind{Group: "example.com", Kind: "Secret"}, "", Update, false, ourCopy, false},
		"any other kind under Recreate": {deployment, v1alpha1.ImmutableFieldsRecreate, Update, false, ourCopy, true},
		"a ConfigMap under Fail":        {configMapKind, v1alpha1.ImmutableFieldsFail, Update, false, ourCopy, false},
		"one to be adopted":             {configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, true, newObject("shop", "settings"), false},
		"one that was adopted": {
			configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false,
			copyOf(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})), false,
		},
		"one that is taken over from a rival": {
			configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false,
			copyOf(t, mustTemplate(t, newReplika(named(theirs)), newObject("vault", "settings")), "shop"), false,
		},
		"a legacy copy":          {configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false, newObject("shop", "settings", legacyLabels("sync")), false},
		"one that is recreated":  {configMapKind, v1alpha1.ImmutableFieldsRecreate, Recreate, false, ourCopy, false},
		"one that is released":   {configMapKind, v1alpha1.ImmutableFieldsRecreate, Release, false, ourCopy, false},
		"one that is not there ": {configMapKind, v1alpha1.ImmutableFieldsRecreate, Create, false, nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, func(in *Input) { in.Kind, in.ImmutableFields = c.kind, c.policy })
			action := Action{Type: c.action, Namespace: "shop", Name: "settings", Desired: true, Adopt: c.adopt, Template: template}
			if c.object != nil {
				action.Observed = mustObserve(t, c.object)
			}
			got, more := in.NextAction(action, Namespace{Name: "shop"}, Immutable, nil, 1)
			if more != c.want {
				t.Fatalf("got %v, want %v", more, c.want)
			}
			if more && (got.Type != Recreate || got.Observed != action.Observed || got.Template != template || !got.Desired) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// All other outcomes end the pass for the object: what is to come of them is for the next pass, or for people.
func TestFollowNothingElse(t *testing.T) {
	in := newInput(t)
	observed := mustObserve(t, copyOf(t, in.Template, "shop"))
	for _, outcome := range []Outcome{Done, Unchanged, Rejected, Forbidden, QuotaExceeded, NamespaceGone, KindGone, Unavailable} {
		action := Action{Type: Update, Namespace: "shop", Name: "settings", Desired: true, Observed: observed, Template: in.Template}
		if next, more := in.NextAction(action, Namespace{Name: "shop"}, outcome, observed, 1); more {
			t.Errorf("%s is followed by %s", outcome, next.Type)
		}
	}
}
