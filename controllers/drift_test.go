package controllers_test

import (
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Drift", func() {
	DescribeTable("of a copy is repaired",
		func(ctx SpecContext, spoil func(*corev1.ConfigMap)) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := configMap(s.namespace(ctx, "source"), "settings", "one")
			source.Labels = map[string]string{"tier": "back"}
			source.Annotations = map[string]string{"note": "mine"}
			create(ctx, source)
			replika := s.replika(ctx, source, into(a, b))
			eventuallyReady(ctx, replika, 2)
			good, other := read(ctx, source, a), read(ctx, source, b)

			spoiled := in(a, source)
			edit(ctx, spoiled, spoil)
			Expect(spoiled.ResourceVersion).NotTo(Equal(good.GetResourceVersion()), "nothing was spoiled")

			Eventually(ctx, func(g Gomega) {
				now := read(ctx, source, a)
				g.Expect(now.GetResourceVersion()).NotTo(Equal(spoiled.ResourceVersion), "not repaired yet")
				g.Expect(now.GetUID()).To(Equal(good.GetUID()), "an edit is no reason to make it anew")
				g.Expect(now.GetLabels()).To(Equal(good.GetLabels()))
				g.Expect(now.GetAnnotations()).To(Equal(good.GetAnnotations()))
				g.Expect(content(now)).To(Equal(content(good)))
			}).Should(Succeed())
			eventuallyReady(ctx, replika, 2)
			Expect(read(ctx, source, b).GetResourceVersion()).To(Equal(other.GetResourceVersion()), "the other copy")
		},
		Entry("whose value was edited", func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" }),
		Entry("that got a key more", func(copy *corev1.ConfigMap) { copy.Data["more"] = "" }),
		Entry("that lost its data", func(copy *corev1.ConfigMap) { copy.Data = nil }),
		Entry("that got a field more", func(copy *corev1.ConfigMap) { copy.BinaryData = map[string][]byte{"more": {1}} }),
		Entry("that lost a label of the source", func(copy *corev1.ConfigMap) { delete(copy.Labels, "tier") }),
		Entry("with another value of a label of the source", func(copy *corev1.ConfigMap) { copy.Labels["tier"] = "front" }),
		Entry("that lost an annotation of the source", func(copy *corev1.ConfigMap) { delete(copy.Annotations, "note") }),
		Entry("that lost one of our labels", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelCreatedBy) }),
		Entry("that lost the other one", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelPartOf) }),
		Entry("with a wrong one of our labels", func(copy *corev1.ConfigMap) { copy.Labels[v1alpha1.LabelPartOf] = "another" }),
		Entry("that lost all its labels", func(copy *corev1.ConfigMap) { copy.Labels = nil }),
		Entry("that lost all its annotations, marks too", func(copy *corev1.ConfigMap) { copy.Annotations = nil }),
		Entry("whose owner was falsified", func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationOwner] = copy.Namespace + "/nobody"
		}),
		Entry("whose source was falsified", func(copy *corev1.ConfigMap) {
			copy.Annotations[v1alpha1.AnnotationSource] = copy.Namespace + "/nothing"
		}),
	)

	It("that deletes a copy is repaired", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, secret(s.namespace(ctx, "source"), "account", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		deleted := read(ctx, source, a)

		Expect(api.Delete(ctx, deleted)).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			now := read(ctx, source, a)
			g.Expect(now).NotTo(BeNil())
			g.Expect(now.GetUID()).NotTo(Equal(deleted.GetUID()))
		}).Should(Succeed())
		eventuallyCopied(ctx, source, a)
	})

	It("that deletes a copy with a finalizer is repaired once the finalizer is gone", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b))
		eventuallyReady(ctx, replika, 2)
		held := in(a, source)
		hold(ctx, held)
		Expect(api.Delete(ctx, held)).To(Succeed())

		failing := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		Expect(failing.Status.Copies.Synced).To(BeEquivalentTo(1))
		letGo(ctx, held)
		eventuallyReady(ctx, replika, 2)
		Expect(read(ctx, source, a).GetUID()).NotTo(Equal(held.UID))
	})

	It("in nested lists is repaired, and what the API server adds to a copy is none", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, playlist(s.namespace(ctx, "source"), "evening"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)

		spoiled := read(ctx, source, a)
		spoiled.Object["status"] = map[string]any{"plays": int64(1)}
		Expect(api.Status().Update(ctx, spoiled)).To(Succeed())
		Consistently(ctx, func() string { return read(ctx, source, a).GetResourceVersion() }).
			Should(Equal(spoiled.GetResourceVersion()), "a copy's status is its own")

		edit(ctx, spoiled, func(copy *unstructured.Unstructured) {
			matrix, _, _ := unstructured.NestedSlice(copy.Object, "spec", "matrix")
			matrix[0] = []any{int64(2), int64(1)}
			Expect(unstructured.SetNestedSlice(copy.Object, matrix, "spec", "matrix")).To(Succeed())
		})
		eventuallyCopied(ctx, source, a)
		Expect(read(ctx, source, a).Object).To(HaveKeyWithValue("status", HaveKeyWithValue("plays", BeEquivalentTo(1))))
	})

	It("is not what another tool puts on a copy: that stays, over updates too", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := configMap(s.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{"tier": "back"}
		create(ctx, source)
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)

		theirs := in(a, source)
		edit(ctx, theirs, func(copy *corev1.ConfigMap) {
			copy.Labels["tool.example.com/label"] = "kept"
			copy.Annotations["tool.example.com/annotation"] = "kept"
			copy.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: a, UID: namespaceUID(ctx, a)}}
		})
		hold(ctx, theirs)
		Consistently(ctx, func() string { return read(ctx, source, a).GetResourceVersion() }).
			Should(Equal(theirs.ResourceVersion), "what others add is no drift")

		edit(ctx, source, func(source *corev1.ConfigMap) {
			source.Data["key"] = "two"
			source.Labels = map[string]string{"tier": "front"}
		})
		eventuallyCopied(ctx, source, a)
		now := read(ctx, source, a)
		Expect(now.GetLabels()).To(And(HaveKeyWithValue("tool.example.com/label", "kept"), HaveKeyWithValue("tier", "front")))
		Expect(now.GetAnnotations()).To(HaveKeyWithValue("tool.example.com/annotation", "kept"))
		Expect(now.GetFinalizers()).To(ConsistOf(foreignFinalizer))
		Expect(now.GetOwnerReferences()).To(HaveLen(1))
	})

	It("is repaired when it comes together with an edit of the source", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, in(a, source), func(copy *corev1.ConfigMap) { maps.Copy(copy.Data, map[string]string{"key": "edited", "more": ""}) })
		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, a)
	})
})
