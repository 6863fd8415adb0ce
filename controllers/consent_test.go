package controllers_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// Every change of consent is noticed at once: these Replikas look again by themselves only in an hour.
var _ = Describe("The consent of a source's owner", func() {
	It("says where copies may be; where it is taken back, the copy goes", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := create(ctx, allowing(configMap(s.namespace(ctx, "source"), "settings", "one"), a, s.id+"-b*"))
		replika := s.replika(ctx, source, into(s.id+"-*"), lookingEvery(time.Hour))
		seen := eventuallyReady(ctx, replika, 2)
		Expect(seen.Status.Source.AllowedNamespaces).To(Equal([]string{a, s.id + "-b*"}))
		eventuallyCopied(ctx, source, a, b)
		Expect(read(ctx, source, c)).To(BeNil())
		Expect(read(ctx, source, a).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationAllowedNamespaces))

		edit(ctx, source, func(source *corev1.ConfigMap) { allowing(source, a, c) })
		eventuallyGone(ctx, source, b)
		eventuallyCopied(ctx, source, a, c)
		eventuallyReady(ctx, replika, 2)

		edit(ctx, source, func(source *corev1.ConfigMap) { source.Annotations = nil })
		seen = eventuallyReady(ctx, replika, 3)
		Expect(seen.Status.Source.AllowedNamespaces).To(BeEmpty())
	})

	It("leaves the copy where it is taken back, if the Replika retains what is not wanted", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, allowing(configMap(s.namespace(ctx, "source"), "settings", "one"), a, b))
		replika := s.replika(ctx, source, into(s.id+"-*"), retaining, lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 2)
		edit(ctx, source, func(source *corev1.ConfigMap) { allowing(source, a) })
		eventuallyReady(ctx, replika, 1)
		Expect(read(ctx, source, b).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationOwner))
	})

	It("is missed where the Replika asks for a namespace by name", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, allowing(configMap(s.namespace(ctx, "source"), "settings", "one"), a))
		replika := s.replika(ctx, source, into(a, b), lookingEvery(time.Hour))
		failing := eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(v1alpha1.AnnotationAllowedNamespaces))
		Expect(failing.Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{Desired: 2, Synced: 1, Failed: 1})))
		edit(ctx, source, func(source *corev1.ConfigMap) { allowing(source, "*") })
		eventuallyReady(ctx, replika, 2)
	})

	It("can be refused altogether", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, source, func(source *corev1.ConfigMap) { allowing(source) })
		refused := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(messageOf(refused)).To(ContainSubstring("allows no namespace"))
		Expect(refused.Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{})))
		Expect(read(ctx, source, a)).To(BeNil())
	})
})

var _ = Describe("The consent of a namespace's owner", func() {
	It("is taken back and given again by a label", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		byGlob := s.replika(ctx, source, into(s.id+"-*"), lookingEvery(time.Hour), called("by-glob"), naming("by-glob"))
		byName := s.replika(ctx, source, into(a, b), lookingEvery(time.Hour), called("by-name"), naming("by-name"))
		eventuallyReady(ctx, byGlob, 2)
		eventuallyReady(ctx, byName, 2)

		optOut(ctx, b, "true")
		for _, name := range []string{"by-glob", "by-name"} {
			eventuallyGone(ctx, configMap("", name, ""), b)
		}
		eventuallyReady(ctx, byGlob, 1)
		failing := eventuallyFailing(ctx, byName, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(v1alpha1.LabelOptOut))

		optOut(ctx, b, "false")
		eventuallyReady(ctx, byGlob, 2)
		eventuallyReady(ctx, byName, 2)
	})
})

var _ = Describe("The administrator's veto", Serial, func() {
	It("keeps copies out of the excluded namespaces, whatever a Replika selects", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c-1")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b, s.id+"-c*"))
		eventuallyReady(ctx, replika, 3)
		withOptions(func(options *controllers.Options) { options.Policy.ExcludedNamespaces = []string{b, s.id + "-c*"} })
		failing := eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("--excluded-namespaces"))
		eventuallyCopied(ctx, source, a)
		eventuallyGone(ctx, source, b, c)
	})

	It("can make the source's consent a condition", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		withOptions(func(options *controllers.Options) { options.Policy.RequireSourceConsent = true })
		refused := eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(messageOf(refused)).To(ContainSubstring("does not carry the annotation " + v1alpha1.AnnotationAllowedNamespaces))
		eventuallyGone(ctx, source, a)
		edit(ctx, source, func(source *corev1.ConfigMap) { allowing(source, a) })
		eventuallyReady(ctx, replika, 1)
	})
})

// allowing lists on a source where copies of it may be.
func allowing(source *corev1.ConfigMap, namespaces ...string) *corev1.ConfigMap {
	list := ""
	for _, namespace := range namespaces {
		list += namespace + ", "
	}
	metav1.SetMetaDataAnnotation(&source.ObjectMeta, v1alpha1.AnnotationAllowedNamespaces, list)
	return source
}

// optOut labels a namespace, whose owners want no copies if it says true.
func optOut(ctx context.Context, namespace, value string) {
	GinkgoHelper()
	edit(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, func(namespace *corev1.Namespace) {
		metav1.SetMetaDataLabel(&namespace.ObjectMeta, v1alpha1.LabelOptOut, value)
	})
}
