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
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Drift", func() {
	DescribeTable("Should be repaired in a copy",
		func(ctx SpecContext, spoil func(*corev1.ConfigMap)) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
			source.Labels = map[string]string{"tier": "back"}
			source.Annotations = map[string]string{"note": "mine"}
			create(ctx, source)
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 2)
			good, other := read(ctx, source, a), read(ctx, source, b)

			spoiled := kit.CopyIn(a, source)
			update(ctx, spoiled, spoil)
			Expect(spoiled.ResourceVersion).NotTo(Equal(good.GetResourceVersion()), "the copy was not changed")

			Eventually(ctx, func(g Gomega) {
				now := read(ctx, source, a)
				g.Expect(now.GetResourceVersion()).NotTo(Equal(spoiled.ResourceVersion), "not repaired yet")
				g.Expect(now.GetUID()).To(Equal(good.GetUID()), "an update does not re-create it")
				g.Expect(now.GetLabels()).To(Equal(good.GetLabels()))
				g.Expect(now.GetAnnotations()).To(Equal(good.GetAnnotations()))
				g.Expect(kit.Content(now)).To(Equal(kit.Content(good)))
			}).Should(Succeed())
			expect.Ready(ctx, api, replika, 2)
			Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(other.GetResourceVersion()), "the other copy")
		},
		Entry("with another value", func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" }),
		Entry("with another key", func(copy *corev1.ConfigMap) { copy.Data["more"] = "" }),
		Entry("without its data", func(copy *corev1.ConfigMap) { copy.Data = nil }),
		Entry("with another field", func(copy *corev1.ConfigMap) { copy.BinaryData = map[string][]byte{"more": {1}} }),
		Entry("without a label of the source", func(copy *corev1.ConfigMap) { delete(copy.Labels, "tier") }),
		Entry("with another value of a label of the source", func(copy *corev1.ConfigMap) { copy.Labels["tier"] = "front" }),
		Entry("without an annotation of the source", func(copy *corev1.ConfigMap) { delete(copy.Annotations, "note") }),
		Entry("without the label created-by", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelCreatedBy) }),
		Entry("without the label part-of", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelPartOf) }),
		Entry("with another value of the label part-of", func(copy *corev1.ConfigMap) { copy.Labels[v1alpha1.LabelPartOf] = "another" }),
		Entry("without labels", func(copy *corev1.ConfigMap) { copy.Labels = nil }),
		Entry("without annotations", func(copy *corev1.ConfigMap) { copy.Annotations = nil }),
		Entry("with a forged owner", func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationOwner] = copy.Namespace + "/nobody"
		}),
		Entry("with a forged source", func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationSource] = copy.Namespace + "/nothing"
		}),
	)

	It("Should be repaired after the deletion of a copy", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "account", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		deleted := read(ctx, source, a)

		Expect(api.Delete(ctx, deleted)).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			now := read(ctx, source, a)
			g.Expect(now).NotTo(BeNil())
			g.Expect(now.GetUID()).NotTo(Equal(deleted.GetUID()))
		}).Should(Succeed())
		expect.Copied(ctx, api, source, a)
	})

	It("Should be repaired after the deletion of a copy, once its finalizer is removed", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		held := kit.CopyIn(a, source)
		addFinalizer(ctx, held)
		Expect(api.Delete(ctx, held)).To(Succeed())

		failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		Expect(failing.Status.Copies.Synced).To(BeEquivalentTo(1))
		removeFinalizers(ctx, held)
		expect.Ready(ctx, api, replika, 2)
		Expect(read(ctx, source, a).GetUID()).NotTo(Equal(held.UID))
	})

	It("Should be repaired in nested lists, without touching the copy's status", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, playlist(f.namespace(ctx, "source"), "evening"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)

		spoiled := read(ctx, source, a)
		patchStatus(ctx, spoiled, `{"status":{"plays":1}}`)
		spoiled = read(ctx, source, a)
		barrier(ctx, source, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(spoiled.GetResourceVersion()), "a copy keeps its own status")

		update(ctx, spoiled, func(copy *unstructured.Unstructured) {
			matrix, _, _ := unstructured.NestedSlice(copy.Object, "spec", "matrix")
			matrix[0] = []any{int64(2), int64(1)}
			Expect(unstructured.SetNestedSlice(copy.Object, matrix, "spec", "matrix")).To(Succeed())
		})
		expect.Copied(ctx, api, source, a)
		Expect(read(ctx, source, a).Object).To(HaveKeyWithValue("status", HaveKeyWithValue("plays", BeEquivalentTo(1))))
	})

	It("Should not include the metadata of other tools", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{"tier": "back"}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)

		theirs := kit.CopyIn(a, source)
		update(ctx, theirs, func(copy *corev1.ConfigMap) {
			copy.Labels["tool.example.com/label"] = "kept"
			copy.Annotations["tool.example.com/annotation"] = "kept"
			copy.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: a, UID: namespaceUID(ctx, a)}}
		})
		addFinalizer(ctx, theirs)
		barrier(ctx, source, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(theirs.ResourceVersion), "what others add is no drift")

		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Data["key"] = "two"
			source.Labels = map[string]string{"tier": "front"}
		})
		expect.Copied(ctx, api, source, a)
		now := read(ctx, source, a)
		Expect(now.GetLabels()).To(And(HaveKeyWithValue("tool.example.com/label", "kept"), HaveKeyWithValue("tier", "front")))
		Expect(now.GetAnnotations()).To(HaveKeyWithValue("tool.example.com/annotation", "kept"))
		Expect(now.GetFinalizers()).To(ConsistOf(foreignFinalizer))
		Expect(now.GetOwnerReferences()).To(HaveLen(1))
	})

	It("Should be repaired together with an update of the source", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, kit.CopyIn(a, source), func(copy *corev1.ConfigMap) { maps.Copy(copy.Data, map[string]string{"key": "edited", "more": ""}) })
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, a)
	})
})
