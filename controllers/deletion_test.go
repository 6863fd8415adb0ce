package controllers_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("The end of a copy", func() {
	// Each way in which a namespace stops to be a target of a Replika that copied to a and b: b stays where it can.
	ends := map[string]func(context.Context, *v1alpha1.Replika, string){
		"when its namespace is no longer listed": func(ctx context.Context, replika *v1alpha1.Replika, b string) {
			edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b} })
		},
		"when its namespace is excluded": func(ctx context.Context, replika *v1alpha1.Replika, _ string) {
			edit(ctx, replika, func(replika *v1alpha1.Replika) {
				namespaces := &replika.Spec.Target.Namespaces
				namespaces.ExcludeFrom = []string{namespaces.ReplicateIn[0]}
			})
		},
		"when the Replika is deleted": func(ctx context.Context, replika *v1alpha1.Replika, _ string) { remove(ctx, replika) },
	}
	for when, end := range ends {
		It(when+", is its deletion", func(ctx SpecContext) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			bystander := create(ctx, configMap(a, "bystander", "theirs"))
			replika := s.replika(ctx, source, into(a, b))
			eventuallyReady(ctx, replika, 2)

			end(ctx, replika, b)
			eventuallyGone(ctx, source, a)
			Expect(read(ctx, bystander, a).GetResourceVersion()).To(Equal(bystander.ResourceVersion))
			Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
		})

		It(when+", is its release under Retain", func(ctx SpecContext) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := configMap(s.namespace(ctx, "source"), "settings", "one")
			source.Labels = map[string]string{"tier": "back"}
			create(ctx, source)
			replika := s.replika(ctx, source, into(a, b), retaining)
			eventuallyReady(ctx, replika, 2)
			copied := in(a, source)
			edit(ctx, copied, func(copy *corev1.ConfigMap) { copy.Labels["tool.example.com/label"] = "kept" })

			end(ctx, replika, b)
			eventuallyReleased(ctx, source, a, copied.UID)
			released := read(ctx, source, a)
			Expect(released.GetLabels()).To(Equal(map[string]string{"tier": "back", "tool.example.com/label": "kept"}))
			Expect(content(released)).To(Equal(content(read(ctx, source, source.Namespace))))
			Consistently(ctx, func() string { return read(ctx, source, a).GetResourceVersion() }).
				Should(Equal(released.GetResourceVersion()), "a released object is nobody's")
		})
	}

	It("is what the policy says when the Replika is deleted, not what it said before", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		uid := read(ctx, source, a).GetUID()
		edit(ctx, replika, retaining)
		remove(ctx, replika)
		eventuallyReleased(ctx, source, a, uid)
	})

	It("finds a copy that lost its labels", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		// Suspended, so that nobody repairs the copy meanwhile.
		edit(ctx, replika, suspended)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		edit(ctx, in(a, source), func(copy *corev1.ConfigMap) { copy.Labels = nil })
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
	})

	It("leaves an object alone that lost its marks", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, suspended)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		kept := in(a, source)
		edit(ctx, kept, func(copy *corev1.ConfigMap) { copy.Annotations = nil })
		remove(ctx, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(kept.ResourceVersion))
	})

	It("does not wait for another tool's finalizer", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a, b))
		eventuallyReady(ctx, replika, 2)
		hold(ctx, in(a, source))
		remove(ctx, replika)
		eventuallyGone(ctx, source, b)
		Expect(read(ctx, source, a).GetDeletionTimestamp()).NotTo(BeNil())
	})

	It("comes too when the Replika's whole namespace is deleted", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "home")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, living(home), into(a))
		eventuallyReady(ctx, replika, 1)
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})).To(Succeed())
		// When the namespace's content is deleted is up to a controller that may be busy with other namespaces.
		Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, source, a) }).WithTimeout(2 * time.Minute).Should(BeNil())
		eventuallyGone(ctx, replika, home)
	})

	It("that must not be deleted is said, and the Replika goes all the same", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, podTemplate(s.namespace(ctx, "source")))
		grantIn(ctx, a, "podtemplates")
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		edit(ctx, replika, suspended) // so that nothing is in flight when the right is taken away
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		remove(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: a, Name: "operator-podtemplates"}})

		Expect(api.Delete(ctx, replika)).To(Succeed())
		eventuallyTold(ctx, replika, corev1.EventTypeWarning, "CopiesLeftBehind", a)
		eventuallyGone(ctx, replika, replika.Namespace)
		Expect(read(ctx, source, a)).NotTo(BeNil())
	})

	It("does not hinder a Replika that never had any", func(ctx SpecContext) {
		s := newScene()
		source := configMap(s.namespace(ctx, "source"), "missing", "")
		replika := s.replika(ctx, source, into(s.namespace(ctx, "a")))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		remove(ctx, replika)
	})

	It("does not hinder a Replika whose source and its namespace are gone", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "home")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, living(home), into(a))
		eventuallyReady(ctx, replika, 1)
		removeNamespace(ctx, source.Namespace)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		Expect(read(ctx, source, a)).NotTo(BeNil(), "the copy is retained")
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
	})
})

// eventuallyReleased waits until the very object of the source's name in the namespace carries no label or mark of ours.
func eventuallyReleased(ctx context.Context, source *corev1.ConfigMap, namespace string, uid any) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		object := read(ctx, source, namespace)
		g.Expect(object).NotTo(BeNil())
		g.Expect(object.GetUID()).To(Equal(uid))
		g.Expect(ourKeys(object)).To(BeEmpty())
	}).Should(Succeed())
}

// ourKeys are the labels and annotations on the object that the operator put there.
func ourKeys(object *unstructured.Unstructured) []string {
	var keys []string
	for _, from := range []map[string]string{object.GetLabels(), object.GetAnnotations()} {
		for key := range from {
			if len(key) > len(v1alpha1.KeyPrefix) && key[:len(v1alpha1.KeyPrefix)] == v1alpha1.KeyPrefix {
				keys = append(keys, key)
			}
		}
	}
	return keys
}
