package controllers_test

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A change of the spec", func() {
	It("of the copies' name makes new copies and leaves no orphan", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b), naming("before"))
		eventuallyCopiedAs(ctx, source, "before", a, b)
		Expect(read(ctx, source, a)).To(BeNil(), "the source's own name")

		edit(ctx, replika, naming("after"))
		eventuallyCopiedAs(ctx, source, "after", a, b)
		eventuallyReady(ctx, replika, 2)
		Expect(s.copies(ctx, &corev1.ConfigMap{})).To(ConsistOf(a+"/after", b+"/after"))
		remove(ctx, replika)
		Expect(s.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
	})

	It("of the copies' name, kept from a foreign object, gives up the old copies all the same", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, configMap(a, "after", "theirs"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, naming(foreign.Name))
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		eventuallyGone(ctx, source, a)
		Expect(read(ctx, foreign, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("of the source updates the copies of another name in place", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		home := s.namespace(ctx, "source")
		first, second := create(ctx, configMap(home, "first", "one")), create(ctx, configMap(home, "second", "two"))
		replika := s.replika(ctx, first, into(a), naming("shared"))
		eventuallyReady(ctx, replika, 1)
		shared := configMap("", "shared", "")
		uid := read(ctx, shared, a).GetUID()
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = second.Name })
		eventuallyCopiedAs(ctx, second, "shared", a)
		eventuallyReady(ctx, replika, 1)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(uid))
		Eventually(ctx, func() map[string]string { return read(ctx, shared, a).GetAnnotations() }).
			Should(HaveKeyWithValue(v1alpha1.AnnotationSource, home+"/second"))
	})

	It("of the source's kind makes new copies and leaves no orphan", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		home := s.namespace(ctx, "source")
		before, after := create(ctx, configMap(home, "settings", "one")), create(ctx, secret(home, "settings", "one"))
		replika := s.replika(ctx, before, into(a, b))
		eventuallyReady(ctx, replika, 2)
		edit(ctx, replika, ofKind("", "v1", "Secret"))
		eventuallyCopied(ctx, after, a, b)
		eventuallyGone(ctx, before, a, b)
		eventuallyReady(ctx, replika, 2)

		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			ofKind("", "v1", "ConfigMap")(replika)
			into(b)(replika)
		})
		eventuallyCopied(ctx, before, b)
		eventuallyGone(ctx, after, a, b)
		Expect(read(ctx, before, a)).To(BeNil())
	})

	It("of the source's kind to one that is not served gives up the old copies all the same", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, ofKind("no.example.com", "v1", "Thing"))
		eventuallyGone(ctx, source, a)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
	})

	It("of kind and name while it was suspended, then deleted, leaves no orphan", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), naming("before"))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, suspended)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			ofKind("", "v1", "Secret")(replika)
			naming("after")(replika)
		})
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		remove(ctx, replika)
		Expect(s.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
	})

	It("to another source namespace never writes there, not even to a copy from before", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		other := create(ctx, configMap(a, "others", "two"))
		replika := s.replika(ctx, source, into(a, b), naming("shared"))
		eventuallyReady(ctx, replika, 2)
		before := read(ctx, configMap("", "shared", ""), a)

		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Namespace, replika.Spec.Source.Name = a, other.Name
			into(b)(replika)
		})
		eventuallyCopiedAs(ctx, other, "shared", b)
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(read(ctx, before, a)).To(Equal(before))

		Expect(api.Delete(ctx, before)).To(Succeed())
		eventuallyReady(ctx, replika, 1)
	})
})

// copies lists, as namespace/name, the objects of like's kind in the scene that bear our label.
func (s *scene) copies(ctx context.Context, like client.Object) []string {
	GinkgoHelper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kindOf(like))
	Expect(api.List(ctx, list, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	var found []string
	for i := range list.Items {
		if copied := &list.Items[i]; strings.HasPrefix(copied.Namespace, s.name("")) {
			found = append(found, copied.Namespace+"/"+copied.Name)
		}
	}
	return found
}
