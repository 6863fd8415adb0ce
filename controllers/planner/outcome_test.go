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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestOutcome_Classification(t *testing.T) {
	cases := map[Outcome]struct {
		wantTransient bool
		wantReason    string
	}{
		Done:          {false, ""},
		Unchanged:     {false, ""},
		NamespaceGone: {false, ""},
		Stale:         {true, v1alpha1.FailureContested},
		Unavailable:   {true, v1alpha1.FailureUnavailable},
		KindGone:      {false, v1alpha1.FailureUnavailable},
		Immutable:     {false, v1alpha1.FailureImmutable},
		Rejected:      {false, v1alpha1.FailureRejected},
		Forbidden:     {false, v1alpha1.FailureForbidden},
		QuotaExceeded: {false, v1alpha1.FailureQuotaExceeded},
	}
	for outcome, testCase := range cases {
		t.Run(string(outcome), func(t *testing.T) {
			if got := outcome.Transient(); got != testCase.wantTransient {
				t.Errorf("transient: got %v, want %v", got, testCase.wantTransient)
			}
			if got := outcome.FailureReason(); got != testCase.wantReason {
				t.Errorf("reason: got %q, want %q", got, testCase.wantReason)
			}
		})
	}
}

// A new outcome without a reason is a programming error: its failure would be missing in the status.
func TestOutcome_FailureReason_Unknown(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("FailureReason returned for an unknown outcome")
		}
	}()
	_ = Outcome("unknown").FailureReason()
}

func TestNextAction_Stale(t *testing.T) {
	template := newInput(t).Template
	shop := Namespace{Name: "shop"}
	ourCopy := newCopy(t, template, "shop")
	cases := map[string]struct {
		desired bool
		current *unstructured.Unstructured
		attempt int
		want    ActionType // empty for no action
	}{
		"desired, deleted":                      {true, nil, 1, Create},
		"desired, in sync":                      {true, ourCopy, 1, Keep},
		"desired, drifted":                      {true, newCopy(t, template, "shop", withField("slow", "data", "mode")), 1, Update},
		"desired, foreign object":               {true, newObject("shop", "settings"), 1, Conflict},
		"desired, terminating":                  {true, newCopy(t, template, "shop", withTerminating), 1, Wait},
		"desired, last attempt":                 {true, nil, 3, Create},
		"desired, too many attempts":            {true, nil, 4, ""},
		"not desired, deleted":                  {false, nil, 1, Keep},
		"not desired, changed":                  {false, ourCopy, 1, Delete},
		"not desired, foreign object":           {false, newObject("shop", "settings"), 1, Keep},
		"not desired, terminating":              {false, newCopy(t, template, "shop", withTerminating), 1, Keep},
		"not desired, adopted meanwhile":        {false, newCopy(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})), 1, Release},
		"not desired, too many attempts":        {false, ourCopy, 4, ""},
		"not desired, owned by another Replika": {false, newCopy(t, mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings")), "shop"), 1, Keep},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			var current *Observed
			if testCase.current != nil {
				current = mustObserve(t, testCase.current)
			}
			action := Action{Type: Update, Namespace: "shop", Name: "settings", Desired: testCase.desired, Observed: mustObserve(t, ourCopy)}
			got, more := in.NextAction(action, shop, Stale, current, testCase.attempt)
			if got.Type != testCase.want || more != (testCase.want != "") {
				t.Errorf("got %q, %v, want %q", got.Type, more, testCase.want)
			}
			if more && (got.Observed != current || got.Desired != testCase.desired) {
				t.Errorf("the next action does not apply to the current object: %+v", got)
			}
		})
	}
}

// If the new owner's account is not allowed to write, the copy is pruned without a handover.
// The first Replika in turn is not allowed to write: the next ones are asked before the copy is deleted.
func TestNextAction_ForbiddenHandOver_NextInTurn(t *testing.T) {
	second, third := types.NamespacedName{Namespace: "x", Name: "second"}, types.NamespacedName{Namespace: "x", Name: "third"}
	in := newInput(t, withClaimants(
		newReplika(withName(otherReplikaKey), withCreationTime(1)), newReplika(withName(second), withCreationTime(2)),
		newReplika(withName(third), withCreationTime(3)),
	))
	in.Selection = nil
	namespace := Namespace{Name: "shop"}
	action, _ := in.prune(namespace, mustObserve(t, newCopy(t, in.Template, "shop")))
	for _, want := range []types.NamespacedName{otherReplikaKey, second, third} {
		if action.Type != HandOver || action.NewOwner != want {
			t.Fatalf("got %s to %s, want %s to %s", action.Type, action.NewOwner, HandOver, want)
		}
		action, _ = in.NextAction(action, namespace, Forbidden, nil, 1)
	}
	if action.Type != Delete {
		t.Errorf("got %s, want %s", action.Type, Delete)
	}
}

func TestNextAction_ForbiddenHandOver(t *testing.T) {
	template := newInput(t).Template
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	cases := map[string]struct {
		action ActionType
		object *unstructured.Unstructured
		policy v1alpha1.DeletionPolicy
		want   ActionType // empty for no action
	}{
		"handover":                      {HandOver, newCopy(t, template, "shop"), v1alpha1.DeletionPolicyDelete, Delete},
		"handover under Retain":         {HandOver, newCopy(t, template, "shop"), v1alpha1.DeletionPolicyRetain, Release},
		"handover of an adopted object": {HandOver, newCopy(t, template, "shop", adopted), v1alpha1.DeletionPolicyDelete, Release},
		"delete":                        {Delete, newCopy(t, template, "shop"), v1alpha1.DeletionPolicyDelete, ""},
		"update":                        {Update, newCopy(t, template, "shop"), v1alpha1.DeletionPolicyDelete, ""},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t)
			in.DeletionPolicy = testCase.policy
			action := Action{Type: testCase.action, Namespace: "shop", Name: "settings", Observed: mustObserve(t, testCase.object), NewOwner: otherReplikaKey}
			got, more := in.NextAction(action, Namespace{Name: "shop"}, Forbidden, nil, 1)
			if got.Type != testCase.want || more != (testCase.want != "") {
				t.Errorf("got %q, %v, want %q", got.Type, more, testCase.want)
			}
			if more && (got.NewOwner != types.NamespacedName{}) {
				t.Errorf("got new owner %s, want none", got.NewOwner)
			}
		})
	}
}

func TestNextAction_Immutable(t *testing.T) {
	template := newInput(t).Template
	ourCopy := newCopy(t, template, "shop", withField("slow", "data", "mode"))
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	cases := map[string]struct {
		kind   schema.GroupKind
		policy v1alpha1.ImmutableFieldsPolicy
		action ActionType
		adopt  bool
		object *unstructured.Unstructured
		want   bool
	}{
		"ConfigMap":                 {configMapKind, "", Update, false, ourCopy, true},
		"Secret":                    {secretKind, "", Update, false, ourCopy, true},
		"other kind":                {deployment, "", Update, false, ourCopy, false},
		"Secret of another group":   {schema.GroupKind{Group: "example.com", Kind: "Secret"}, "", Update, false, ourCopy, false},
		"other kind under Recreate": {deployment, v1alpha1.ImmutableFieldsRecreate, Update, false, ourCopy, true},
		"ConfigMap under Fail":      {configMapKind, v1alpha1.ImmutableFieldsFail, Update, false, ourCopy, false},
		"object to adopt":           {configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, true, newObject("shop", "settings"), false},
		"adopted object": {
			configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false,
			newCopy(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})), false,
		},
		"copy owned by another Replika": {
			configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false,
			newCopy(t, mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings")), "shop"), false,
		},
		"legacy copy": {configMapKind, v1alpha1.ImmutableFieldsRecreate, Update, false, newObject("shop", "settings", withLegacyLabels("sync")), false},
		"recreate":    {configMapKind, v1alpha1.ImmutableFieldsRecreate, Recreate, false, ourCopy, false},
		"release":     {configMapKind, v1alpha1.ImmutableFieldsRecreate, Release, false, ourCopy, false},
		"create":      {configMapKind, v1alpha1.ImmutableFieldsRecreate, Create, false, nil, false},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, func(in *Input) { in.Kind, in.ImmutableFields = testCase.kind, testCase.policy })
			action := Action{Type: testCase.action, Namespace: "shop", Name: "settings", Desired: true, Adopt: testCase.adopt, Template: template}
			if testCase.object != nil {
				action.Observed = mustObserve(t, testCase.object)
			}
			got, more := in.NextAction(action, Namespace{Name: "shop"}, Immutable, nil, 1)
			if more != testCase.want {
				t.Fatalf("got %v, want %v", more, testCase.want)
			}
			if more && (got.Type != Recreate || got.Observed != action.Observed || got.Template != template || !got.Desired) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// The API server accepted the update, and kept the former value of one field: the recreation applies to the updated copy.
func TestNextAction_Immutable_Updated(t *testing.T) {
	in := newInput(t)
	cases := map[string]struct {
		changes []func(*unstructured.Unstructured)
		want    bool
	}{
		"copy":           {nil, true},
		"adopted object": {[]func(*unstructured.Unstructured){withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})}, false},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			current := mustObserve(t, newCopy(t, in.Template, "shop", testCase.changes...))
			action := Action{Type: Update, Namespace: "shop", Name: "settings", Desired: true, Template: in.Template, Observed: mustObserve(t, newCopy(t, in.Template, "shop"))}
			got, more := in.NextAction(action, Namespace{Name: "shop"}, Immutable, current, 1)
			if more != testCase.want || more && (got.Type != Recreate || got.Observed != current) {
				t.Errorf("got %v, %+v", more, got)
			}
		})
	}
}

// All other outcomes end this reconcile for the object.
func TestNextAction_OtherOutcomes(t *testing.T) {
	in := newInput(t)
	observed := mustObserve(t, newCopy(t, in.Template, "shop"))
	for _, outcome := range []Outcome{Done, Unchanged, Rejected, Forbidden, QuotaExceeded, NamespaceGone, KindGone, Unavailable} {
		action := Action{Type: Update, Namespace: "shop", Name: "settings", Desired: true, Observed: observed, Template: in.Template}
		if next, more := in.NextAction(action, Namespace{Name: "shop"}, outcome, observed, 1); more {
			t.Errorf("%s: got next action %s, want none", outcome, next.Type)
		}
	}
}
