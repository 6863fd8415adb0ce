package controllers_test

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Two Replikas that claim one object", func() {
	// Each way in which the owner stops to want the object.
	ends := map[string]func(context.Context, *v1alpha1.Replika){
		"is deleted": func(ctx context.Context, owner *v1alpha1.Replika) { remove(ctx, owner) },
		"wants other namespaces": func(ctx context.Context, owner *v1alpha1.Replika) {
			edit(ctx, owner, func(owner *v1alpha1.Replika) {
				owner.Spec.Target.Namespaces.ReplicateIn = []string{"no-such-namespace-*"}
			})
		},
		"calls its copies otherwise": func(ctx context.Context, owner *v1alpha1.Replika) {
			edit(ctx, owner, func(owner *v1alpha1.Replika) { owner.Spec.Target.Name = "otherwise" })
		},
		"is deleted and retains its copies": func(ctx context.Context, owner *v1alpha1.Replika) {
			edit(ctx, owner, retaining)
			remove(ctx, owner)
		},
	}
	for ending, end := range ends {
		It("agree: the owner keeps it, and the other takes it over, never missing, when the owner "+ending, func(ctx SpecContext) {
			s := newScene()
			a := s.namespace(ctx, "a")
			home := s.namespace(ctx, "source")
			first, second := create(ctx, configMap(home, "first", "one")), create(ctx, configMap(home, "second", "two"))
			owner := s.replika(ctx, first, into(a), naming("shared"))
			eventuallyReady(ctx, owner, 1)
			shared := configMap(a, "shared", "")
			before := read(ctx, shared, a)

			rival := s.replika(ctx, second, into(a), naming("shared"))
			failing := eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
			Consistently(ctx, func() string { return read(ctx, shared, a).GetResourceVersion() }).Should(Equal(before.GetResourceVersion()))
			eventuallyReady(ctx, owner, 1)

			seen := watchValues(ctx, shared)
			end(ctx, owner)
			eventuallyCopiedAs(ctx, second, "shared", a)
			eventuallyReady(ctx, rival, 1)
			Expect(read(ctx, shared, a).GetUID()).To(Equal(before.GetUID()))
			Expect(read(ctx, shared, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationOwner, rival.Namespace+"/"+rival.Name))
			Eventually(ctx, seen).Should(ContainElement("two"))
			Expect(seen()).To(HaveEach(BeElementOf("one", "two")))

			remove(ctx, rival)
			eventuallyGone(ctx, shared, a)
		})
	}

	It("agree: the owner makes its copy again when somebody deletes it, however often", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		first, second := create(ctx, configMap(home, "first", "one")), create(ctx, configMap(home, "second", "two"))
		patient := lookingEvery(time.Hour)
		owner := s.replika(ctx, first, into(a), naming("shared"), patient)
		eventuallyReady(ctx, owner, 1)
		rival := s.replika(ctx, second, into(a), naming("shared"), patient)
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		for range 5 {
			before := read(ctx, configMap("", "shared", ""), a)
			Expect(api.Delete(ctx, before)).To(Succeed())
			eventuallyCopiedAs(ctx, first, "shared", a)
		}
		// The owner may not be deaf to what it deselects: there, the rival is the one to be woken.
		edit(ctx, owner, into("no-such-namespace-*"))
		eventuallyCopiedAs(ctx, second, "shared", a)
	})

	It("leave nothing behind when the other one was suspended from the beginning", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		first, second := create(ctx, configMap(home, "first", "one")), create(ctx, configMap(home, "second", "two"))
		owner := s.replika(ctx, first, into(a), naming("shared"))
		eventuallyReady(ctx, owner, 1)
		rival := s.replika(ctx, second, into(a), naming("shared"), suspended)
		eventuallyNotReady(ctx, rival, v1alpha1.ReasonSuspended)
		remove(ctx, owner)
		remove(ctx, rival)
		eventuallyGone(ctx, configMap("", "shared", ""), a)
	})

	It("leave nothing behind when the other one came to the kind while it was suspended", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		first := create(ctx, configMap(home, "shared", "one"))
		second := create(ctx, secret(home, "shared", "two"))
		owner := s.replika(ctx, first, into(a))
		rival := s.replika(ctx, second, called("rival"), into(a))
		eventuallyReady(ctx, owner, 1)
		eventuallyReady(ctx, rival, 1)
		edit(ctx, rival, suspended)
		eventuallyNotReady(ctx, rival, v1alpha1.ReasonSuspended)
		edit(ctx, rival, ofKind("", "v1", "ConfigMap"))
		await(ctx, rival, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.ObservedGeneration).To(Equal(now.Generation))
		})
		remove(ctx, owner)
		Expect(read(ctx, first, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationOwner, home+"/rival"), "it inherits")
		remove(ctx, rival)
		eventuallyGone(ctx, first, a)
		eventuallyGone(ctx, second, a)
	})

	It("agree in every namespace on its own", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		home := s.namespace(ctx, "source")
		first, second := create(ctx, configMap(home, "first", "one")), create(ctx, configMap(home, "second", "two"))
		owner := s.replika(ctx, first, into(a, b), naming("shared"))
		eventuallyReady(ctx, owner, 2)
		rival := s.replika(ctx, second, into(b, c), naming("shared"))
		eventuallyFailing(ctx, rival, map[string]string{b: v1alpha1.FailureConflict})
		eventuallyCopiedAs(ctx, first, "shared", a, b)
		eventuallyCopiedAs(ctx, second, "shared", c)

		remove(ctx, rival)
		eventuallyGone(ctx, configMap("", "shared", ""), c)
		eventuallyCopiedAs(ctx, first, "shared", a, b)
		eventuallyReady(ctx, owner, 2)
	})

	It("are not those of one name in two namespaces with copies of their own: one ends, the other's copies stay", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		first := create(ctx, configMap(s.namespace(ctx, "one"), "first", "one"))
		second := create(ctx, configMap(s.namespace(ctx, "two"), "second", "two"))
		gone := s.replika(ctx, first, called("same"), into(a))
		stays := s.replika(ctx, second, called("same"), into(a))
		eventuallyReady(ctx, gone, 1)
		eventuallyReady(ctx, stays, 1)
		before := read(ctx, second, a)
		Expect(before.GetLabels()).To(Equal(read(ctx, first, a).GetLabels()), "their copies are labelled alike")

		remove(ctx, gone)
		eventuallyGone(ctx, first, a)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, second, a)).To(Equal(before)) }).Should(Succeed())
		eventuallyReady(ctx, stays, 1)
	})

	It("may have one name in two namespaces: the other one's deletion leaves the owner's copy alone", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		first := create(ctx, configMap(s.namespace(ctx, "one"), "shared", "one"))
		second := create(ctx, configMap(s.namespace(ctx, "two"), "shared", "two"))
		owner := s.replika(ctx, first, called("same"), into(a))
		eventuallyReady(ctx, owner, 1)
		rival := s.replika(ctx, second, called("same"), into(a))
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		before := read(ctx, first, a)
		remove(ctx, rival)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, first, a)).To(Equal(before)) }).Should(Succeed())
	})
})

// watchValues watches a ConfigMap and returns what reports the values that it had so far, with "gone" for none.
func watchValues(ctx context.Context, object *corev1.ConfigMap) func() []string {
	GinkgoHelper()
	watcher, err := client.NewWithWatch(controlPlane.Config, client.Options{Scheme: newScheme()})
	Expect(err).NotTo(HaveOccurred())
	stream, err := watcher.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(object.Namespace), client.MatchingFields{"metadata.name": object.Name})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stream.Stop)

	var mu sync.Mutex
	var values []string
	go func() {
		for event := range stream.ResultChan() {
			value := "gone"
			if now, ok := event.Object.(*corev1.ConfigMap); ok && event.Type != watch.Deleted && now.DeletionTimestamp == nil {
				value = now.Data["key"]
			}
			mu.Lock()
			values = append(values, value)
			mu.Unlock()
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), values...)
	}
}
