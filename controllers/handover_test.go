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
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Handover between Replikas", func() {
	// How the owner stops claiming the object. A slice: all parallel processes must build the same tree of specs.
	for _, testCase := range []struct {
		when string
		end  func(ctx context.Context, owner *v1alpha1.Replika)
	}{
		{"is deleted", func(ctx context.Context, owner *v1alpha1.Replika) { deleteAndWait(ctx, owner) }},
		{"selects other namespaces", func(ctx context.Context, owner *v1alpha1.Replika) {
			update(ctx, owner, kit.TargetNamespaces("no-such-namespace-*"))
		}},
		{"gives its copies another name", func(ctx context.Context, owner *v1alpha1.Replika) {
			update(ctx, owner, kit.TargetName("otherwise"))
		}},
		{"is deleted and retains its copies", func(ctx context.Context, owner *v1alpha1.Replika) {
			update(ctx, owner, kit.Retain())
			deleteAndWait(ctx, owner)
		}},
	} {
		It("Should leave the object to its owner, and replace it without a gap when the owner "+testCase.when, func(ctx SpecContext) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			home := f.namespace(ctx, "source")
			first, second := create(ctx, kit.ConfigMap(home, "first", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
			owner := f.replika(ctx, first, kit.TargetNamespaces(a), kit.TargetName("shared"))
			expect.Ready(ctx, api, owner, 1)
			shared := kit.ConfigMap(a, "shared", "")
			before := read(ctx, shared, a)

			rival := f.replika(ctx, second, kit.TargetNamespaces(a), kit.TargetName("shared"))
			failing := expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
			barrier(ctx, shared, owner, rival)
			Expect(read(ctx, shared, a).GetResourceVersion()).To(Equal(before.GetResourceVersion()))
			expect.Ready(ctx, api, owner, 1)

			seen := watchValues(ctx, shared)
			testCase.end(ctx, owner)
			expect.CopiedAs(ctx, api, second, "shared", a)
			expect.Ready(ctx, api, rival, 1)
			Expect(read(ctx, shared, a).GetUID()).To(Equal(before.GetUID()))
			Expect(read(ctx, shared, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationOwner, rival.Namespace+"/"+rival.Name))
			Eventually(ctx, seen).Should(ContainElement("two"))
			Expect(seen()).To(HaveEach(BeElementOf("one", "two")))

			deleteAndWait(ctx, rival)
			expect.Gone(ctx, api, shared, a)
		})
	}

	It("Should not happen when the owner's copy is deleted: the owner re-creates it", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		first, second := create(ctx, kit.ConfigMap(home, "first", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
		patient := kit.Interval(time.Hour)
		// No other spec has copies of this name. A change of another Replika with such copies makes the operator reconcile the
		// claimant, which creates the object if it is missing at that time.
		name := "shared-" + f.id
		owner := f.replika(ctx, first, kit.TargetNamespaces(a), kit.TargetName(name), patient)
		expect.Ready(ctx, api, owner, 1)
		rival := f.replika(ctx, second, kit.TargetNamespaces(a), kit.TargetName(name), patient)
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		barrier(ctx, first) // a reconcile of the claimant that is still queued could create the object
		for range 5 {
			before := read(ctx, kit.ConfigMap("", name, ""), a)
			Expect(api.Delete(ctx, before)).To(Succeed())
			expect.CopiedAs(ctx, api, first, name, a)
		}
		// The owner ignores events in a namespace that it no longer selects; there, the claimant must be reconciled.
		update(ctx, owner, kit.TargetNamespaces("no-such-namespace-*"))
		expect.CopiedAs(ctx, api, second, name, a)
	})

	It("Should leave no copy when the claimant is suspended from the beginning", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		first, second := create(ctx, kit.ConfigMap(home, "first", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
		owner := f.replika(ctx, first, kit.TargetNamespaces(a), kit.TargetName("shared"))
		expect.Ready(ctx, api, owner, 1)
		rival := f.replika(ctx, second, kit.TargetNamespaces(a), kit.TargetName("shared"), kit.Suspended())
		expect.Reason(ctx, api, rival, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, owner)
		deleteAndWait(ctx, rival)
		expect.Gone(ctx, api, kit.ConfigMap("", "shared", ""), a)
	})

	It("Should not take place to a claimant that is suspended and changes to the kind", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		first := create(ctx, kit.ConfigMap(home, "shared", "one"))
		second := create(ctx, kit.Secret(home, "shared", "two"))
		owner := f.replika(ctx, first, kit.TargetNamespaces(a))
		rival := f.replika(ctx, second, kit.WithName("rival"), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, owner, 1)
		expect.Ready(ctx, api, rival, 1)
		update(ctx, rival, kit.Suspended())
		expect.Reason(ctx, api, rival, v1alpha1.ReasonSuspended)
		update(ctx, rival, kit.SourceKind("", "v1", "ConfigMap"))
		expect.Status(ctx, api, rival, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.ObservedGeneration).To(Equal(now.Generation))
		})
		deleteAndWait(ctx, owner)
		Expect(read(ctx, first, a)).To(BeNil(), "a suspended claimant would keep the former owner's content")
		deleteAndWait(ctx, rival)
		expect.Gone(ctx, api, first, a)
		expect.Gone(ctx, api, second, a)
	})

	It("Should be decided in each namespace separately", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		home := f.namespace(ctx, "source")
		first, second := create(ctx, kit.ConfigMap(home, "first", "one")), create(ctx, kit.ConfigMap(home, "second", "two"))
		owner := f.replika(ctx, first, kit.TargetNamespaces(a, b), kit.TargetName("shared"))
		expect.Ready(ctx, api, owner, 2)
		rival := f.replika(ctx, second, kit.TargetNamespaces(b, c), kit.TargetName("shared"))
		expect.Failures(ctx, api, rival, map[string]string{b: v1alpha1.FailureConflict})
		expect.CopiedAs(ctx, api, first, "shared", a, b)
		expect.CopiedAs(ctx, api, second, "shared", c)

		deleteAndWait(ctx, rival)
		expect.Gone(ctx, api, kit.ConfigMap("", "shared", ""), c)
		expect.CopiedAs(ctx, api, first, "shared", a, b)
		expect.Ready(ctx, api, owner, 2)
	})

	It("Should not happen between Replikas of the same name with different copies", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		first := create(ctx, kit.ConfigMap(f.namespace(ctx, "one"), "first", "one"))
		second := create(ctx, kit.ConfigMap(f.namespace(ctx, "two"), "second", "two"))
		deleted := f.replika(ctx, first, kit.WithName("same"), kit.TargetNamespaces(a))
		stays := f.replika(ctx, second, kit.WithName("same"), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, deleted, 1)
		expect.Ready(ctx, api, stays, 1)
		before := read(ctx, second, a)
		Expect(before.GetLabels()).To(Equal(read(ctx, first, a).GetLabels()), "the labels of the copies are equal")

		deleteAndWait(ctx, deleted)
		expect.Gone(ctx, api, first, a)
		barrier(ctx, second, stays)
		Expect(read(ctx, second, a)).To(Equal(before))
		expect.Ready(ctx, api, stays, 1)
	})

	It("Should leave the owner's copy unchanged when a claimant of the same name is deleted", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		first := create(ctx, kit.ConfigMap(f.namespace(ctx, "one"), "shared", "one"))
		second := create(ctx, kit.ConfigMap(f.namespace(ctx, "two"), "shared", "two"))
		owner := f.replika(ctx, first, kit.WithName("same"), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, owner, 1)
		rival := f.replika(ctx, second, kit.WithName("same"), kit.TargetNamespaces(a))
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		before := read(ctx, first, a)
		deleteAndWait(ctx, rival)
		barrier(ctx, first, owner)
		Expect(read(ctx, first, a)).To(Equal(before))
	})
})

// watchValues watches a ConfigMap and returns a function that lists the values that it has had, "gone" for none.
func watchValues(ctx context.Context, object *corev1.ConfigMap) func() []string {
	GinkgoHelper()
	watcher, err := client.NewWithWatch(controlPlane.Config, client.Options{Scheme: kit.Scheme()})
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
