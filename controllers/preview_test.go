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
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// previewScenarios is the number of random scenarios; many more where everything is tested.
func previewScenarios() int {
	if os.Getenv("REPLIKA_TEST_EVERYTHING") != "" {
		return 1000
	}
	return 40
}

// previewParts is the number of specs that share the random scenarios, so that they run in parallel.
const previewParts = 4

var _ = Describe("A preview", func() {
	for part := range previewParts {
		text := fmt.Sprintf("Should be what the operator then does, action by action, in random scenarios, part %d", part+1)
		It(text, func(ctx SpecContext) {
			f := newFixture()
			targets := []string{
				f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "d", map[string]string{"team": f.id}),
				f.namespace(ctx, "e", map[string]string{v1alpha1.LabelOptOut: v1alpha1.OptOutValue}),
			}
			home := f.namespace(ctx, "source")
			for i := part; i < previewScenarios(); i += previewParts {
				seed := int(GinkgoRandomSeed()) + i
				s := &previewScenario{f: f, home: home, targets: targets, id: i, scenarioChoices: drawScenario(targets).Example(seed)}
				By(fmt.Sprintf("scenario %d: %+v", seed, s.scenarioChoices))
				s.run(ctx)
			}
		})
	}
})

// scenarioChoices is what differs from scenario to scenario: the spec that the operator enforced, what happened since, and the spec that
// is previewed.
type scenarioChoices struct {
	Secret        bool
	Foreign       []string
	Former, Next  specChoices
	Rival         []string
	RivalSuspends bool
	Disturbed     map[string]disturbance
	Source        sourceChange
}

type specChoices struct {
	Targets, Excluded []string
	Selects, MatchAll bool
	Name              string
	Labelled          bool
	Adopt, Retain     bool
	DeleteWithSource  bool
	KeepImmutable     bool
	Type              string
}

type (
	disturbance  string
	sourceChange string
)

const (
	undisturbed       disturbance  = "none"
	editedCopy        disturbance  = "edited"
	deletedCopy       disturbance  = "deleted"
	strippedLabels    disturbance  = "labels stripped"
	strippedMarks     disturbance  = "marks stripped"
	gotController     disturbance  = "got a controller"
	unchangedSource   sourceChange = "none"
	editedSource      sourceChange = "edited"
	deletedSource     sourceChange = "deleted"
	restrictedSource  sourceChange = "restricted"
	unreadableConsent sourceChange = "unreadable consent"
	markedSource      sourceChange = "marked as a copy"
)

func drawScenario(targets []string) *rapid.Generator[scenarioChoices] {
	return rapid.Custom(func(t *rapid.T) scenarioChoices {
		subset := func(label string) []string {
			return slices.DeleteFunc(slices.Clone(targets), func(target string) bool { return !rapid.Bool().Draw(t, label+target) })
		}
		spec := func(label string) specChoices {
			return specChoices{
				Targets: subset(label + "target"), Excluded: subset(label + "excluded"),
				Selects: rapid.Bool().Draw(t, label+"selects"), MatchAll: rapid.IntRange(0, 5).Draw(t, label+"all") == 0,
				Name:     rapid.SampledFrom([]string{"", "", "", "renamed"}).Draw(t, label+"name"),
				Labelled: rapid.Bool().Draw(t, label+"labelled"), Adopt: rapid.Bool().Draw(t, label+"adopt"),
				Retain: rapid.Bool().Draw(t, label+"retain"), DeleteWithSource: rapid.Bool().Draw(t, label+"deleteWithSource"),
				KeepImmutable: rapid.Bool().Draw(t, label+"keepImmutable"),
				Type:          rapid.SampledFrom([]string{"", "", "example.com/other"}).Draw(t, label+"type"),
			}
		}
		choices := scenarioChoices{
			Secret: rapid.Bool().Draw(t, "secret"), Foreign: subset("foreign"), Former: spec("former"), Next: spec("next"),
			Rival: subset("rival"), RivalSuspends: rapid.Bool().Draw(t, "rivalSuspends"), Disturbed: map[string]disturbance{},
			Source: rapid.SampledFrom([]sourceChange{
				unchangedSource, unchangedSource, editedSource, deletedSource, restrictedSource, unreadableConsent,
			}).Draw(t, "source"),
		}
		for _, target := range targets {
			choices.Disturbed[target] = rapid.SampledFrom([]disturbance{
				undisturbed, undisturbed, editedCopy, deletedCopy, strippedLabels, strippedMarks, gotController,
			}).Draw(t, "disturbed"+target)
		}
		return choices
	})
}

type previewScenario struct {
	scenarioChoices
	f       *fixture
	home    string
	targets []string
	id      int

	source  client.Object
	replika *v1alpha1.Replika
	// bystanders are suspended Replikas of the source, by the beginnings of their names.
	bystanders map[string]kit.ReplikaOption
	// rival is nil if it has no targets.
	rival *v1alpha1.Replika
}

func (s *previewScenario) run(ctx SpecContext) {
	s.prepare(ctx)
	s.disturb(ctx)
	if s.rival != nil {
		barrier(ctx, s.source, s.rival) // it does now whatever it can
	}

	current := s.replika.DeepCopy()
	Expect(api.Get(ctx, client.ObjectKeyFromObject(s.replika), current)).To(Succeed())
	next := current.DeepCopy()
	s.apply(&s.Next, next)
	next.Spec.Suspend = false
	next.Generation++
	planned := s.preview(ctx, next)
	before := s.objects(ctx)

	update(ctx, current, func(replika *v1alpha1.Replika) { replika.Spec = next.Spec })
	expect.Status(ctx, api, current, func(g Gomega, replika *v1alpha1.Replika) {
		g.Expect(kit.Ready(replika).Reason).NotTo(BeElementOf(v1alpha1.ReasonProgressing, v1alpha1.ReasonSuspended))
	})
	done := s.changes(before, s.objects(ctx))
	for key, action := range planned {
		// The rival recreates what it is given if an immutable field differs.
		if action == v1alpha1.PlannedHandOver && done[key] == v1alpha1.PlannedDelete {
			done[key] = action
		}
	}
	// The operator finds a copy without labels only by its name, where it writes or where another Replika makes it look.
	maps.DeleteFunc(done, func(key types.NamespacedName, _ v1alpha1.PlannedActionType) bool {
		return planned[key] == "" && s.Disturbed[key.Namespace] == strippedLabels
	})
	Expect(done).To(Equal(planned), "what was planned is not what was done")
	Expect(api.Get(ctx, client.ObjectKeyFromObject(s.replika), current)).To(Succeed())
	Expect(s.preview(ctx, current)).To(BeEmpty(), "something is still planned")
	for _, object := range s.objects(ctx) {
		if object.GetDeletionTimestamp() != nil {
			Expect(api.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
		}
	}
	s.f.deleteReplikas(ctx)
}

// prepare has the operator enforce the former spec, beside a rival.
func (s *previewScenario) prepare(ctx context.Context) {
	name := fmt.Sprintf("settings-%d", s.id)
	newObject := func(namespace, value string) client.Object {
		if s.Secret {
			return kit.Secret(namespace, name, value)
		}
		return kit.ConfigMap(namespace, name, value)
	}
	s.source = create(ctx, newObject(s.home, "one"))
	for _, namespace := range s.Foreign {
		create(ctx, newObject(namespace, "foreign"))
	}
	s.replika = s.f.replika(ctx, s.source, kit.WithName(fmt.Sprintf("replika-%d", s.id)), func(replika *v1alpha1.Replika) { s.apply(&s.Former, replika) })
	reconciled := func(g Gomega, replika *v1alpha1.Replika) {
		g.Expect(kit.Ready(replika).Reason).NotTo(Equal(v1alpha1.ReasonProgressing))
	}
	expect.Status(ctx, api, s.replika, reconciled)
	if len(s.Rival) > 0 {
		s.rival = s.f.replika(ctx, s.source, kit.WithName(fmt.Sprintf("rival-%d", s.id)), kit.TargetNamespaces(s.Rival...))
		expect.Status(ctx, api, s.rival, reconciled)
		if s.RivalSuspends {
			update(ctx, s.rival, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
			expect.Reason(ctx, api, s.rival, v1alpha1.ReasonSuspended)
		}
	}
	for beginning, option := range s.bystanders {
		name := kit.WithName(fmt.Sprintf("%s-%d", beginning, s.id))
		bystander := s.f.replika(ctx, s.source, name, kit.Suspended(), kit.TargetNamespaces(s.targets...), option)
		expect.Reason(ctx, api, bystander, v1alpha1.ReasonSuspended)
	}
	update(ctx, s.replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
	expect.Reason(ctx, api, s.replika, v1alpha1.ReasonSuspended)
}

// apply sets the spec that was chosen.
func (s *previewScenario) apply(choices *specChoices, replika *v1alpha1.Replika) {
	spec := &replika.Spec
	spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
	if choices.Retain {
		spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionRetain
	if choices.DeleteWithSource {
		spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
	}
	spec.Target = v1alpha1.TargetSpec{
		Name: choices.Name, ConflictPolicy: v1alpha1.ConflictPolicyFail,
		Namespaces: v1alpha1.TargetNamespaces{
			ReplicateIn: append([]string{s.targets[0]}, choices.Targets...), ExcludeFrom: choices.Excluded,
		},
	}
	if choices.MatchAll { // but for the namespaces of other specs
		spec.Target.Namespaces.ReplicateIn = []string{s.f.name("*")}
	}
	if choices.Selects {
		spec.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": s.f.id}}
	}
	if choices.Adopt {
		spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt
	}
	if choices.KeepImmutable {
		spec.Target.ImmutableFields = v1alpha1.ImmutableFieldsFail
	}
	if choices.Labelled {
		spec.Target.Labels = v1alpha1.Labels{"labelled": "yes"}
	}
	if s.Secret {
		spec.Target.Type = choices.Type
	}
}

// disturb changes the copies and the source while the Replika is suspended.
func (s *previewScenario) disturb(ctx context.Context) {
	for key, object := range s.objects(ctx) {
		if owner := object.GetAnnotations()[v1alpha1.AnnotationOwner]; owner != client.ObjectKeyFromObject(s.replika).String() {
			continue
		}
		switch s.Disturbed[key.Namespace] {
		case editedCopy:
			drift(object)
			Expect(api.Update(ctx, object)).To(Succeed())
		case deletedCopy:
			Expect(api.Delete(ctx, object)).To(Succeed())
		case strippedLabels:
			object.SetLabels(nil)
			Expect(api.Update(ctx, object)).To(Succeed())
		case strippedMarks:
			object.SetAnnotations(nil)
			Expect(api.Update(ctx, object)).To(Succeed())
		case gotController:
			object.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: "v1", Kind: "ConfigMap", Name: "kube-root-ca.crt", UID: s.rootCA(ctx, key.Namespace), Controller: new(true),
			}})
			Expect(api.Update(ctx, object)).To(Succeed())
		case terminatingNamespace:
			object.SetFinalizers([]string{testFinalizer})
			Expect(api.Update(ctx, object)).To(Succeed())
			Expect(api.Delete(ctx, kit.Namespace(key.Namespace))).To(Succeed())
			Eventually(ctx, func() *metav1.Time { return read(ctx, s.source, key.Namespace).GetDeletionTimestamp() }).ShouldNot(BeNil())
		case undisturbed, "":
		default:
			tableCases[s.Disturbed[key.Namespace]](object)
			Expect(api.Update(ctx, object)).To(Succeed())
			if s.Disturbed[key.Namespace] == terminatingCopy {
				Expect(api.Delete(ctx, object)).To(Succeed())
			}
		}
	}
	switch s.Source {
	case editedSource:
		s.changeSource(ctx, func(object *unstructured.Unstructured) { object.Object["data"] = map[string]any{"key": "dHdv"} })
	case deletedSource:
		deleteAndWait(ctx, s.source)
	case restrictedSource:
		s.annotateSource(ctx, s.targets[0]+", "+s.targets[3])
	case unreadableConsent:
		s.annotateSource(ctx, "“a”")
	case markedSource:
		marked := read(ctx, s.source, s.targets[0])
		s.changeSource(ctx, func(object *unstructured.Unstructured) {
			object.SetLabels(marked.GetLabels())
			object.SetAnnotations(marked.GetAnnotations())
			setAnnotation(v1alpha1.AnnotationSelf, s.home+"/"+object.GetName())(object)
		})
	case unchangedSource:
	}
}

// rootCA returns the UID of an object that exists in every namespace.
func (*previewScenario) rootCA(ctx context.Context, namespace string) types.UID {
	object := &corev1.ConfigMap{}
	Eventually(ctx, func() error {
		return api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "kube-root-ca.crt"}, object)
	}).Should(Succeed())
	return object.UID
}

func (s *previewScenario) annotateSource(ctx context.Context, allowed string) {
	s.changeSource(ctx, func(object *unstructured.Unstructured) {
		object.SetAnnotations(map[string]string{v1alpha1.AnnotationAllowedNamespaces: allowed})
	})
}

func (s *previewScenario) changeSource(ctx context.Context, change func(*unstructured.Unstructured)) {
	object := read(ctx, s.source, s.home)
	change(object)
	Expect(api.Update(ctx, object)).To(Succeed())
}

// objects returns the objects that can be copies, by namespace and name.
func (s *previewScenario) objects(ctx context.Context) map[types.NamespacedName]*unstructured.Unstructured {
	objects := map[types.NamespacedName]*unstructured.Unstructured{}
	for _, namespace := range append(slices.Clone(s.targets), s.home) {
		for _, name := range []string{s.source.GetName(), "renamed"} {
			if namespace == s.home && name == s.source.GetName() {
				continue
			}
			like := s.source.DeepCopyObject().(client.Object)
			like.SetName(name)
			if object := read(ctx, like, namespace); object != nil {
				objects[client.ObjectKeyFromObject(object)] = object
			}
		}
	}
	return objects
}

// preview returns the actions that change a copy.
func (s *previewScenario) preview(ctx context.Context, replika *v1alpha1.Replika) map[types.NamespacedName]v1alpha1.PlannedActionType {
	replikas := &v1alpha1.ReplikaList{}
	Expect(api.List(ctx, replikas)).To(Succeed())
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	Expect(api.List(ctx, namespaces)).To(Succeed())
	previewer, err := controllers.NewPreviewer(controlPlane.Config, controllers.Options{MaxConcurrentWrites: 4},
		authorizationv1.SubjectAccessReviewSpec{User: operatorUser, Groups: []string{"system:authenticated"}})
	Expect(err).NotTo(HaveOccurred())
	preview, err := previewer.Plan(ctx, replika, &controllers.Cluster{Replikas: replikas.Items, Namespaces: namespaces.Items})
	Expect(err).NotTo(HaveOccurred())
	planned := map[types.NamespacedName]v1alpha1.PlannedActionType{}
	for _, action := range preview.Actions {
		switch action.Action {
		case v1alpha1.PlannedConflict, v1alpha1.PlannedWait, v1alpha1.PlannedFail:
		default:
			planned[types.NamespacedName{Namespace: action.Namespace, Name: action.Name}] = action.Action
		}
	}
	return planned
}

// changes returns what was done, as the objects show.
func (s *previewScenario) changes(before, after map[types.NamespacedName]*unstructured.Unstructured) map[types.NamespacedName]v1alpha1.PlannedActionType {
	self := client.ObjectKeyFromObject(s.replika).String()
	ownerOf := func(object *unstructured.Unstructured) string {
		return object.GetAnnotations()[v1alpha1.AnnotationOwner]
	}
	done := map[types.NamespacedName]v1alpha1.PlannedActionType{}
	for key, object := range before {
		if ownerOf(object) == self && after[key] == nil {
			done[key] = v1alpha1.PlannedDelete
		}
	}
	for key, object := range after {
		former := before[key]
		switch {
		case former == nil && ownerOf(object) == self:
			done[key] = v1alpha1.PlannedCreate
		case former == nil: // the rival's
		case former.GetUID() != object.GetUID() && ownerOf(object) != self:
			done[key] = v1alpha1.PlannedDelete
		case former.GetUID() != object.GetUID():
			done[key] = v1alpha1.PlannedRecreate
		case former.GetResourceVersion() == object.GetResourceVersion():
		case ownerOf(former) == self && ownerOf(object) == "":
			done[key] = v1alpha1.PlannedRelease
		case ownerOf(former) == self && ownerOf(object) != self:
			done[key] = v1alpha1.PlannedHandOver
		case ownerOf(object) == self && isAdopted(object) && !isAdopted(former):
			done[key] = v1alpha1.PlannedAdopt
		case ownerOf(object) == self:
			done[key] = v1alpha1.PlannedUpdate
		}
	}
	return done
}

func isAdopted(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationAdopted] != ""
}
