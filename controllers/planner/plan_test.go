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
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// newInput returns the input of a reconcile of ops/sync with the empty target namespaces shop and web.
func newInput(t testing.TB, changes ...func(*Input)) *Input {
	t.Helper()
	replika := newReplika()
	in := &Input{
		Replika:         replikaKey,
		Kind:            configMapKind,
		Name:            "settings",
		Template:        mustTemplate(t, replika, newObject("vault", "settings")),
		Selection:       mustSelection(t, replika),
		SourceNamespace: "vault",
		SourceName:      "settings",
		Namespaces:      []Namespace{{Name: "vault"}, {Name: "shop"}, {Name: "web"}},
		Claimants:       newClaimants(replika),
	}
	for _, change := range changes {
		change(in)
	}
	return in
}

func withAdoptPolicy(in *Input)  { in.ConflictPolicy = v1alpha1.ConflictPolicyAdopt }
func withRetainPolicy(in *Input) { in.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
func withoutTemplate(in *Input)  { in.Template = nil }
func withoutSelection(in *Input) { in.Selection = nil }

func withClaimants(others ...*v1alpha1.Replika) func(*Input) {
	return func(in *Input) { in.Claimants = newClaimants(append(others, newReplika())...) }
}

func TestDecide(t *testing.T) {
	template := newInput(t).Template
	otherTemplate := mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings", withField("slow", "data", "mode")))
	other := newReplika(withName(otherReplikaKey))
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	newer := withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"})
	drifted := withField("slow", "data", "mode")
	ownedByOther := fmt.Sprintf(ownedByOtherMessage, otherReplikaKey)

	cases := map[string]struct {
		change      []func(*Input)
		object      *unstructured.Unstructured
		want        ActionType
		wantAdopt   bool
		wantMessage string
	}{
		"no object": {want: Create},
		"in sync":   {object: newCopy(t, template, "shop"), want: Keep},
		"in sync, with keys of other clients": {
			object: newCopy(t, template, "shop", withLabels(map[string]string{"example.com/mine": "x"})), want: Keep,
		},
		"in sync, adopted": {object: newCopy(t, template, "shop", adopted), want: Keep},
		"drifted":          {object: newCopy(t, template, "shop", drifted), want: Update},
		"drifted, adopted": {object: newCopy(t, template, "shop", adopted, drifted), want: Update},
		"labels removed":   {object: newCopy(t, template, "shop", func(o *unstructured.Unstructured) { o.SetLabels(nil) }), want: Update},

		"with controller":              {object: newCopy(t, template, "shop", withController), want: Conflict, wantMessage: hasControllerMessage},
		"with controller, under Adopt": {change: []func(*Input){withAdoptPolicy}, object: newCopy(t, template, "shop", withController), want: Conflict, wantMessage: hasControllerMessage},
		"drifted, with controller":     {object: newCopy(t, template, "shop", withController, drifted), want: Conflict, wantMessage: hasControllerMessage},
		"legacy copy with controller":  {object: newObject("shop", "settings", withLegacyLabels("sync"), withController), want: Conflict, wantMessage: hasControllerMessage},
		"marks of another resource":    {object: newCopy(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationResource: "secrets"})), want: Conflict, wantMessage: foreignObjectMessage},
		"marks of an earlier version":  {object: newCopy(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationResource)), want: Update},

		"terminating":                              {object: newCopy(t, template, "shop", withTerminating), want: Wait, wantMessage: terminatingMessage},
		"foreign object, terminating":              {object: newObject("shop", "settings", withTerminating), want: Wait, wantMessage: terminatingMessage},
		"foreign object, terminating, under Adopt": {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings", withTerminating), want: Wait, wantMessage: terminatingMessage},

		"marks of a newer version":              {object: newCopy(t, template, "shop", newer), want: Conflict, wantMessage: newerMarksMessage},
		"marks of a newer version, under Adopt": {change: []func(*Input){withAdoptPolicy}, object: newCopy(t, template, "shop", newer), want: Conflict, wantMessage: newerMarksMessage},

		"foreign object":                              {object: newObject("shop", "settings"), want: Conflict, wantMessage: foreignObjectMessage},
		"foreign object under Adopt":                  {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings"), want: Update, wantAdopt: true},
		"foreign object with controller":              {object: newObject("shop", "settings", withController), want: Conflict, wantMessage: hasControllerMessage},
		"foreign object with controller, under Adopt": {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings", withController), want: Conflict, wantMessage: hasControllerMessage},
		"duplicate of a copy":                         {object: newCopy(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") }), want: Conflict, wantMessage: foreignObjectMessage},
		"duplicate of a copy, under Adopt":            {change: []func(*Input){withAdoptPolicy}, object: newCopy(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") }), want: Update, wantAdopt: true},
		"incomplete marks":                            {object: newCopy(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationOwner)), want: Conflict, wantMessage: foreignObjectMessage},
		"marks version removed":                       {object: newCopy(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationMarksVersion)), want: Conflict, wantMessage: foreignObjectMessage},
		"all marks removed":                           {object: newCopy(t, template, "shop", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }), want: Update},

		"legacy copy":                             {object: newObject("shop", "settings", withLegacyLabels("sync")), want: Update},
		"legacy copy under Adopt":                 {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings", withLegacyLabels("sync")), want: Update},
		"legacy copy, drifted":                    {object: newObject("shop", "settings", withLegacyLabels("sync"), drifted), want: Conflict, wantMessage: foreignObjectMessage},
		"legacy copy with additional field":       {object: newObject("shop", "settings", withLegacyLabels("sync"), withField(true, "immutable")), want: Conflict, wantMessage: foreignObjectMessage},
		"legacy copy of another Replika":          {object: newObject("shop", "settings", withLegacyLabels("other")), want: Conflict, wantMessage: foreignObjectMessage},
		"legacy copy without created-by label":    {object: newObject("shop", "settings", withLabels(map[string]string{v1alpha1.LabelPartOf: "sync"})), want: Conflict, wantMessage: foreignObjectMessage},
		"legacy copy, drifted, under Adopt":       {change: []func(*Input){withAdoptPolicy}, object: newObject("shop", "settings", withLegacyLabels("sync"), drifted), want: Update, wantAdopt: true},
		"legacy copy with additional annotation":  {object: newObject("shop", "settings", withLegacyLabels("sync"), withAnnotations(map[string]string{"note": "x"})), want: Update},
		"legacy copy with Argo CD tracking label": {object: newObject("shop", "settings", withLegacyLabels("sync"), withLabels(map[string]string{"argocd.argoproj.io/instance": "x"})), want: Update},

		"owned by another Replika":                       {change: []func(*Input){withClaimants(other)}, object: newCopy(t, otherTemplate, "shop"), want: Conflict, wantMessage: ownedByOther},
		"owned by another Replika, under Adopt":          {change: []func(*Input){withClaimants(other), withAdoptPolicy}, object: newCopy(t, otherTemplate, "shop"), want: Conflict, wantMessage: ownedByOther},
		"owner does not exist":                           {object: newCopy(t, otherTemplate, "shop"), want: Update},
		"owner does not exist, adopted":                  {object: newCopy(t, otherTemplate, "shop", adopted), want: Update},
		"owner is being deleted":                         {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withDeletion))}, object: newCopy(t, otherTemplate, "shop"), want: Update},
		"owner does not select the namespace":            {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withTargetNamespaces("web")))}, object: newCopy(t, otherTemplate, "shop"), want: Update},
		"owner copies another kind":                      {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), func(r *v1alpha1.Replika) { r.Spec.Source.Kind = "Secret" }))}, object: newCopy(t, otherTemplate, "shop"), want: Update},
		"owner uses another target name":                 {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "other" }))}, object: newCopy(t, otherTemplate, "shop"), want: Update},
		"owner's source is deleted, copy not pruned yet": {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withSourceDeleted))}, object: newCopy(t, otherTemplate, "shop"), want: Conflict, wantMessage: ownedByOther},

		"no source, no object":                  {change: []func(*Input){withoutTemplate}, want: Keep},
		"no source, in sync":                    {change: []func(*Input){withoutTemplate}, object: newCopy(t, template, "shop"), want: Keep},
		"no source, drifted":                    {change: []func(*Input){withoutTemplate}, object: newCopy(t, template, "shop", drifted), want: Keep},
		"no source, foreign object under Adopt": {change: []func(*Input){withoutTemplate, withAdoptPolicy}, object: newObject("shop", "settings"), want: Keep},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, testCase.change...)
			var observed *Observed
			if testCase.object != nil {
				observed = mustObserve(t, testCase.object)
			}
			got := in.Decide(Namespace{Name: "shop"}, observed)
			if got.Type != testCase.want || got.Adopt != testCase.wantAdopt {
				t.Errorf("got %s, adopt %v, want %s, %v (%s)", got.Type, got.Adopt, testCase.want, testCase.wantAdopt, got.Message)
			}
			if got.Message != testCase.wantMessage {
				t.Errorf("message: got %q, want %q", got.Message, testCase.wantMessage)
			}
			wantReason := map[ActionType]string{Wait: v1alpha1.FailureUnavailable, Conflict: v1alpha1.FailureConflict}[testCase.want]
			if got.Reason != wantReason {
				t.Errorf("reason: got %q, want %q", got.Reason, wantReason)
			}
			if !got.Desired || got.Namespace != "shop" || got.Name != "settings" || got.Observed != observed || got.Template != in.Template {
				t.Errorf("the action is not about the object: %+v", got)
			}
		})
	}
}

// A webhook can change what is written. The state that the API server returned for this template is in sync with it.
func TestDecide_AcceptedDigests(t *testing.T) {
	template := newInput(t).Template
	observed := mustObserve(t, newCopy(t, template, "shop", withField("by a webhook", "data", "mode")))
	observed.AcceptedDigests = template.Digests
	cases := map[string]struct {
		template *Template
		want     ActionType
	}{
		"mutated by webhook": {template, Keep},
		"template changed": {
			mustTemplate(t, newReplika(), newObject("vault", "settings", withField("new", "data", "mode"))), Update,
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, func(in *Input) { in.Template = testCase.template })
			if got := in.Decide(Namespace{Name: "shop"}, observed); got.Type != testCase.want {
				t.Errorf("got %s, want %s", got.Type, testCase.want)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	template := newInput(t).Template
	adopted := withAnnotations(map[string]string{v1alpha1.AnnotationAdopted: "true"})
	other := newReplika(withName(otherReplikaKey))
	otherSource := newReplika(withName(otherReplikaKey), func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "other" })
	cases := map[string]struct {
		change    []func(*Input)
		namespace Namespace
		object    *unstructured.Unstructured
		want      ActionType // empty for no action
	}{
		"own copy":                            {object: newCopy(t, template, "shop"), want: Delete},
		"drifted":                             {object: newCopy(t, template, "shop", withField("slow", "data", "mode")), want: Delete},
		"under Retain":                        {change: []func(*Input){withRetainPolicy}, object: newCopy(t, template, "shop"), want: Release},
		"adopted":                             {object: newCopy(t, template, "shop", adopted), want: Release},
		"adopted, under Retain":               {change: []func(*Input){withRetainPolicy}, object: newCopy(t, template, "shop", adopted), want: Release},
		"claimed by another Replika":          {change: []func(*Input){withClaimants(other)}, object: newCopy(t, template, "shop"), want: HandOver},
		"adopted, claimed by another Replika": {change: []func(*Input){withClaimants(other)}, object: newCopy(t, template, "shop", adopted), want: HandOver},
		"claimed by another Replika, under Retain": {change: []func(*Input){withClaimants(other), withRetainPolicy}, object: newCopy(t, template, "shop"), want: HandOver},
		"claimant is being deleted":                {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withDeletion))}, object: newCopy(t, template, "shop"), want: Delete},
		"claimant's source is deleted":             {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withSourceDeleted))}, object: newCopy(t, template, "shop"), want: Delete},
		"claimant does not select the namespace":   {change: []func(*Input){withClaimants(newReplika(withName(otherReplikaKey), withTargetNamespaces("web")))}, object: newCopy(t, template, "shop"), want: Delete},

		"terminating":                                  {object: newCopy(t, template, "shop", withTerminating)},
		"terminating namespace":                        {namespace: Namespace{Name: "shop", Terminating: true}, object: newCopy(t, template, "shop")},
		"foreign object":                               {object: newObject("shop", "settings")},
		"owned by another Replika":                     {object: newCopy(t, mustTemplate(t, newReplika(withName(otherReplikaKey)), newObject("vault", "settings")), "shop")},
		"legacy copy":                                  {object: newObject("shop", "settings", withLegacyLabels("sync"))},
		"duplicate of a copy":                          {object: newCopy(t, template, "web", func(o *unstructured.Unstructured) { o.SetNamespace("shop") })},
		"marks of a newer version":                     {object: newCopy(t, template, "shop", withAnnotations(map[string]string{v1alpha1.AnnotationMarksVersion: "2"}))},
		"malformed marks":                              {object: newCopy(t, template, "shop", withoutAnnotation(v1alpha1.AnnotationApplied))},
		"source namespace":                             {namespace: Namespace{Name: "vault"}, object: newCopy(t, template, "vault"), want: Conflict},
		"source namespace, adopted":                    {namespace: Namespace{Name: "vault"}, object: newCopy(t, template, "vault", adopted), want: Conflict},
		"source namespace, under Retain":               {change: []func(*Input){withRetainPolicy}, namespace: Namespace{Name: "vault"}, object: newCopy(t, template, "vault"), want: Conflict},
		"source namespace, claimed by another Replika": {change: []func(*Input){withClaimants(otherSource)}, namespace: Namespace{Name: "vault"}, object: newCopy(t, template, "vault"), want: Conflict},
		"source namespace, foreign object":             {namespace: Namespace{Name: "vault"}, object: newObject("vault", "settings")},
		"source namespace, terminating":                {namespace: Namespace{Name: "vault"}, object: newCopy(t, template, "vault", withTerminating)},
		"source namespace, namespace terminating":      {namespace: Namespace{Name: "vault", Terminating: true}, object: newCopy(t, template, "vault")},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append(testCase.change, withoutSelection)...)
			if testCase.namespace.Name == "" {
				testCase.namespace.Name = "shop"
			}
			observed := mustObserve(t, testCase.object)
			got, needed := in.prune(testCase.namespace, observed)
			if got.Type != testCase.want || needed != (testCase.want != "") {
				t.Fatalf("got %q, %v, want %q (%s)", got.Type, needed, testCase.want, got.Message)
			}
			if !needed {
				return
			}
			if got.Desired || got.Template != nil || got.Observed != observed || got.Namespace != testCase.namespace.Name || got.Name != "settings" {
				t.Errorf("the action is not about the object: %+v", got)
			}
			if wantNewOwner := testCase.want == HandOver; wantNewOwner != (got.NewOwner == otherReplikaKey) {
				t.Errorf("new owner: %v", got.NewOwner)
			}
			if conflict := testCase.want == Conflict; conflict != (got.Message != "") || conflict != (got.Reason == v1alpha1.FailureConflict) {
				t.Errorf("reason %q, message %q", got.Reason, got.Message)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	template := newInput(t).Template
	renamed := mustTemplate(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Target.Name = "former" }), newObject("vault", "settings"))
	other := newReplika(withName(otherReplikaKey))
	observe := func(objects ...*unstructured.Unstructured) func(*Input) {
		return func(in *Input) {
			for _, object := range objects {
				in.Observed = append(in.Observed, mustObserve(t, object))
			}
		}
	}
	cases := map[string]struct {
		change []func(*Input)
		want   []string
	}{
		"first fan-out": {want: []string{"create shop/settings", "create web/settings"}},
		"in sync": {
			change: []func(*Input){observe(newCopy(t, template, "web"), newCopy(t, template, "shop"))},
			want:   []string{"keep shop/settings", "keep web/settings"},
		},
		"terminating namespace": {
			change: []func(*Input){func(in *Input) { in.Namespaces[1].Terminating = true }, observe(newCopy(t, template, "shop"))},
			want:   []string{"create web/settings"},
		},
		"namespace no longer selected": {
			change: []func(*Input){
				func(in *Input) { in.Selection = mustSelection(t, newReplika(withTargetNamespaces("web"))) },
				observe(newCopy(t, template, "shop"), newCopy(t, template, "web")),
			},
			want: []string{"delete shop/settings", "keep web/settings"},
		},
		"target name changed": {
			change: []func(*Input){observe(newCopy(t, renamed, "shop"), newCopy(t, template, "web"))},
			want:   []string{"delete shop/former", "create shop/settings", "keep web/settings"},
		},
		"target name changed, former name claimed by another Replika": {
			change: []func(*Input){
				withClaimants(newReplika(withName(otherReplikaKey), func(r *v1alpha1.Replika) { r.Spec.Target.Name = "former" })), observe(newCopy(t, renamed, "shop")),
			},
			want: []string{"hand over shop/former", "create shop/settings", "create web/settings"},
		},
		"Replika is being deleted": {
			change: []func(*Input){withoutSelection, withoutTemplate, observe(newCopy(t, template, "shop"), newObject("web", "settings"))},
			want:   []string{"delete shop/settings"},
		},
		"source deleted, copies retained": {
			change: []func(*Input){withoutTemplate, observe(newCopy(t, template, "shop"))},
			want:   []string{"keep shop/settings", "keep web/settings"},
		},
		"source deleted, namespace no longer selected": {
			change: []func(*Input){
				withoutTemplate, func(in *Input) { in.Selection = mustSelection(t, newReplika(withTargetNamespaces("web"))) }, observe(newCopy(t, template, "shop")),
			},
			want: []string{"delete shop/settings", "keep web/settings"},
		},
		"copy in the source namespace": {
			change: []func(*Input){observe(newCopy(t, template, "vault"))},
			want:   []string{"create shop/settings", "conflict vault/settings", "create web/settings"},
		},
		"selection includes the source namespace": {
			// The plan never writes into the source's namespace, whatever the selection selects.
			change: []func(*Input){func(in *Input) {
				in.Selection = mustSelection(t, newReplika(func(r *v1alpha1.Replika) { r.Spec.Source.Namespace = "other" }))
			}},
			want: []string{"create shop/settings", "create web/settings"},
		},
		"owned by another Replika": {
			change: []func(*Input){
				withClaimants(other), observe(newCopy(t, mustTemplate(t, other, newObject("vault", "settings")), "shop")),
			},
			want: []string{"conflict shop/settings", "create web/settings"},
		},
		"copy in a namespace that is not in the list, because it is deleted or new": {
			change: []func(*Input){observe(newCopy(t, template, "unknown"))},
			want:   []string{"create shop/settings", "create web/settings"},
		},
		"copy in a namespace that is not in the list, and no target is desired": {
			change: []func(*Input){withoutSelection, observe(newCopy(t, template, "unknown"))},
			want:   []string{"delete unknown/settings"},
		},
		"copy in the source namespace, which is not in the list": {
			change: []func(*Input){
				func(in *Input) { in.Namespaces = []Namespace{{Name: "shop"}} }, observe(newCopy(t, template, "vault")),
			},
			want: []string{"conflict vault/settings", "create shop/settings"},
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, testCase.change...)
			want := slices.Clone(testCase.want)
			slices.SortFunc(want, func(a, b string) int { return strings.Compare(actionKey(a), actionKey(b)) })
			for range 5 { // the order of a plan does not depend on the order of map iteration
				var got []string
				for _, action := range Plan(in) {
					got = append(got, string(action.Type)+" "+action.Namespace+"/"+action.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func actionKey(action string) string {
	return action[strings.LastIndex(action, " ")+1:]
}

// Another Replika can claim an unknown namespace by name, but not by label.
func TestPlan_UnknownNamespace(t *testing.T) {
	template := newInput(t).Template
	excluding := newReplika(withName(otherReplikaKey), func(r *v1alpha1.Replika) {
		r.Spec.Target.Namespaces.ExcludeFrom = []string{"new"}
	})
	for name, testCase := range map[string]struct {
		other *v1alpha1.Replika
		want  ActionType
	}{
		"claimed by name": {newReplika(withName(otherReplikaKey), withTargetNamespaces("new")), HandOver},
		"excluded":        {excluding, Delete},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, withClaimants(testCase.other), withoutSelection)
			in.Observed = []*Observed{mustObserve(t, newCopy(t, template, "new"))}
			plan := Plan(in)
			if len(plan) != 1 || plan[0].Type != testCase.want {
				t.Errorf("got %+v, want one %s", plan, testCase.want)
			}
		})
	}
}
