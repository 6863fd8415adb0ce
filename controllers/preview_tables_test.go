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

package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
)

var _ = Describe("A preview", func() {
	for group := range slices.Chunk(slices.Sorted(maps.Keys(tableCases)), 4) {
		It(fmt.Sprintf("Should be what the operator then does, in the cases of the planner's tables: %q", group), func(ctx SpecContext) {
			f := newFixture()
			disturbed := map[string]disturbance{}
			for i, name := range group {
				disturbed[f.namespace(ctx, string('a'+rune(i)))] = name
			}
			runTableCase(ctx, f, slices.Sorted(maps.Keys(disturbed)), disturbed, unchangedSource)
		})
	}

	It("Should be what the operator then does, if the source is marked as a copy", func(ctx SpecContext) {
		f := newFixture()
		runTableCase(ctx, f, []string{f.namespace(ctx, "a"), f.namespace(ctx, "b")}, nil, markedSource)
	})

	It("Should be what the operator then does, in a namespace that is being deleted", func(ctx SpecContext) {
		f := newFixture()
		home, stays := f.namespace(ctx, "source"), f.namespace(ctx, "stays")
		for id, excluded := range []bool{false, true} {
			leaving := f.namespace(ctx, fmt.Sprintf("leaving-%d", id))
			targets := []string{stays, leaving}
			former := specChoices{Targets: targets}
			next := former
			if excluded {
				next.Excluded = targets
			}
			s := &previewScenario{f: f, home: home, targets: targets, id: id, scenarioChoices: scenarioChoices{
				Former: former, Next: next, Disturbed: map[string]disturbance{leaving: terminatingNamespace}, Source: unchangedSource,
			}}
			s.run(ctx)
		}
	})
})

// runTableCase compares the preview of four changes of a spec with what the operator does, for the same objects.
func runTableCase(ctx SpecContext, f *fixture, targets []string, disturbed map[string]disturbance, source sourceChange) {
	home := f.namespace(ctx, "source")
	former := specChoices{Targets: targets[1:]}
	adopting, excluding, retaining := former, former, former
	adopting.Adopt = true
	excluding.Excluded = targets
	retaining.Excluded, retaining.Retain = targets, true
	for id, next := range []specChoices{former, adopting, excluding, retaining} {
		s := &previewScenario{f: f, home: home, targets: targets, id: id, bystanders: bystanders, scenarioChoices: scenarioChoices{
			Secret: id%2 == 0, Former: former, Next: next, Disturbed: disturbed, Source: source,
		}}
		By(fmt.Sprintf("scenario %d: %+v", id, s.scenarioChoices))
		s.run(ctx)
	}
}

// bystanders are Replikas that own copies in the tables, but do not claim them.
var bystanders = map[string]kit.ReplikaOption{
	"selects-others":  kit.TargetNamespaces("elsewhere-*"),
	"of-another-kind": kit.SourceKind("", "v1", "Service"),
	"of-another-name": kit.TargetName("another"),
}

// ownedBy makes a bystander the owner of a copy. Their names end as that of the copy does.
func ownedBy(bystander string) func(*unstructured.Unstructured) {
	return func(copied *unstructured.Unstructured) {
		source, _, _ := strings.Cut(copied.GetAnnotations()[v1alpha1.AnnotationSource], "/")
		_, id, _ := strings.Cut(copied.GetName(), "-")
		setAnnotation(v1alpha1.AnnotationOwner, source+"/"+bystander+"-"+id)(copied)
	}
}

// terminatingNamespace is that of a copy which a finalizer holds.
const terminatingNamespace disturbance = "terminating namespace"

// terminatingCopy is a copy that is deleted, but that a finalizer holds.
const terminatingCopy disturbance = "terminating"

const testFinalizer = "suite.example.com/hold"

// tableCases are the objects of the planner's tables (TestDecide, TestPrune) that the random scenarios do not have. Each changes a copy
// in sync.
var tableCases = map[disturbance]func(*unstructured.Unstructured){
	"keys of other clients":       setLabel("example.com/mine", "x"),
	"adopted":                     setAnnotation(v1alpha1.AnnotationAdopted, "true"),
	"adopted, drifted":            inTurn(setAnnotation(v1alpha1.AnnotationAdopted, "true"), drift),
	"marks of a newer version":    setAnnotation(v1alpha1.AnnotationMarksVersion, "2"),
	"marks version removed":       setAnnotation(v1alpha1.AnnotationMarksVersion, ""),
	"incomplete marks":            setAnnotation(v1alpha1.AnnotationOwner, ""),
	"malformed marks":             setAnnotation(v1alpha1.AnnotationApplied, ""),
	"marks of another resource":   setAnnotation(v1alpha1.AnnotationResource, "deployments.apps"),
	"marks of an earlier version": setAnnotation(v1alpha1.AnnotationResource, ""),
	"duplicate of a copy":         setAnnotation(v1alpha1.AnnotationSelf, "elsewhere/settings"),
	"owner selects others":        ownedBy("selects-others"),
	"owner copies another kind":   ownedBy("of-another-kind"),
	"owner uses another name":     ownedBy("of-another-name"),
	"owner does not exist":        setAnnotation(v1alpha1.AnnotationOwner, "elsewhere/nobody"),
	"owner does not exist, adopted": inTurn(setAnnotation(v1alpha1.AnnotationOwner, "elsewhere/nobody"),
		setAnnotation(v1alpha1.AnnotationAdopted, "true")),
	terminatingCopy:                           func(o *unstructured.Unstructured) { o.SetFinalizers([]string{testFinalizer}) },
	"legacy copy, drifted":                    inTurn(removeAnnotations, drift),
	"legacy copy with additional field":       inTurn(removeAnnotations, func(o *unstructured.Unstructured) { o.Object["immutable"] = true }),
	"legacy copy of another Replika":          inTurn(removeAnnotations, setLabel(v1alpha1.LabelPartOf, "other")),
	"legacy copy without created-by label":    inTurn(removeAnnotations, setLabel(v1alpha1.LabelCreatedBy, "")),
	"legacy copy with additional annotation":  inTurn(removeAnnotations, setAnnotation("note", "x")),
	"legacy copy with Argo CD tracking label": inTurn(removeAnnotations, setLabel("argocd.argoproj.io/instance", "x")),
}

func inTurn(changes ...func(*unstructured.Unstructured)) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) {
		for _, change := range changes {
			change(object)
		}
	}
}

// drift changes the content of a ConfigMap or Secret.
func drift(object *unstructured.Unstructured) {
	object.Object["data"] = map[string]any{"key": "ZWRpdGVk"}
}

func removeAnnotations(object *unstructured.Unstructured) { object.SetAnnotations(nil) }

// setAnnotation sets an annotation, or removes it if the value is empty.
func setAnnotation(key, value string) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) {
		object.SetAnnotations(withPair(object.GetAnnotations(), key, value))
	}
}

// setLabel sets a label, or removes it if the value is empty.
func setLabel(key, value string) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) { object.SetLabels(withPair(object.GetLabels(), key, value)) }
}

func withPair(pairs map[string]string, key, value string) map[string]string {
	if value == "" {
		delete(pairs, key)
		return pairs
	}
	if pairs == nil {
		pairs = map[string]string{}
	}
	pairs[key] = value
	return pairs
}
