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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// promptly is how soon the operator handles a watch's event: much sooner than any interval of these specs, which is an hour, even
// on a machine that stalls.
const promptly = 2 * time.Minute

// expectPromptly checks that the function returns promptly.
func expectPromptly(wait func()) {
	GinkgoHelper()
	began := time.Now()
	wait()
	Expect(time.Since(began)).To(BeNumerically("<", promptly))
}

// watchFixture is a Replika with an interval of an hour, of a source with copies in two namespaces: only watches show what
// happens.
type watchFixture struct {
	*fixture
	home, a, b string
	source     *corev1.ConfigMap
	replika    *v1alpha1.Replika
}

func newWatchFixture(ctx SpecContext, options ...kit.ReplikaOption) *watchFixture {
	GinkgoHelper()
	f := newFixture()
	selected := map[string]string{"wants": f.id}
	w := &watchFixture{
		fixture: f,
		home:    f.namespace(ctx, "source"), a: f.namespace(ctx, "a", selected), b: f.namespace(ctx, "b", selected),
	}
	w.source = kit.ConfigMap(w.home, "settings", "one")
	w.source.Labels = map[string]string{"tier": "back"}
	create(ctx, w.source)
	options = append([]kit.ReplikaOption{kit.SelectNamespaces(selected), kit.Interval(time.Hour)}, options...)
	w.replika = f.replika(ctx, w.source, options...)
	expect.Ready(ctx, api, w.replika, 2)
	return w
}

var _ = Describe("A watch", func() {
	DescribeTable("Should cause a prompt repair of a copy", func(ctx SpecContext, spoil func(*corev1.ConfigMap)) {
		f := newWatchFixture(ctx)
		other := read(ctx, f.source, f.b)
		good := read(ctx, f.source, f.a)
		update(ctx, kit.CopyIn(f.a, f.source), spoil)
		expectPromptly(func() {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, f.source, f.a)
				g.Expect(kit.Content(now)).To(Equal(kit.Content(good)))
				g.Expect(now.GetLabels()).To(Equal(good.GetLabels()))
				g.Expect(now.GetAnnotations()).To(Equal(good.GetAnnotations()))
			}).Should(Succeed())
		})
		Expect(read(ctx, f.source, f.b).GetResourceVersion()).To(Equal(other.GetResourceVersion()), "the other copy")
	},
		Entry("with another value", func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" }),
		Entry("with another value of a label of the source", func(copy *corev1.ConfigMap) { copy.Labels["tier"] = "front" }),
		Entry("without the label that the watch selects", func(copy *corev1.ConfigMap) { delete(copy.Labels, v1alpha1.LabelCreatedBy) }),
		Entry("without labels", func(copy *corev1.ConfigMap) { copy.Labels = nil }),
		Entry("without annotations", func(copy *corev1.ConfigMap) { copy.Annotations = nil }),
		Entry("without labels and with another value", func(copy *corev1.ConfigMap) {
			copy.Labels, copy.Data = nil, map[string]string{"key": "edited"}
		}),
		Entry("with a forged owner", func(copy *corev1.ConfigMap) { copy.Annotations[v1alpha1.AnnotationOwner] = "no/body" }),
	)

	It("Should cause a prompt update of all copies", func(ctx SpecContext) {
		f := newWatchFixture(ctx)
		for _, value := range []string{"two", "three"} {
			update(ctx, f.source, func(source *corev1.ConfigMap) { source.Data["key"] = value })
			expectPromptly(func() { expect.Copied(ctx, api, f.source, f.a, f.b) })
		}
		expect.Status(ctx, api, f.replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.Source.ResourceVersion).To(Equal(f.source.ResourceVersion))
		})
		began := markAudit()
		update(ctx, f.source, func(source *corev1.ConfigMap) {
			source.Finalizers = []string{"suite.example.com/unimportant"}
		})
		update(ctx, f.source, func(source *corev1.ConfigMap) { source.Finalizers = nil })
		Consistently(ctx, func() []string { return f.writes(began) }).Should(BeEmpty(), "the content did not change")
	})

	It("Should cause a prompt re-creation of a deleted copy", func(ctx SpecContext) {
		f := newWatchFixture(ctx)
		gone := read(ctx, f.source, f.a)
		Expect(api.Delete(ctx, gone)).To(Succeed())
		expectPromptly(func() {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, f.source, f.a)
				g.Expect(now).NotTo(BeNil())
				g.Expect(now.GetUID()).NotTo(Equal(gone.GetUID()))
			}).Should(Succeed())
			expect.Copied(ctx, api, f.source, f.a)
		})
	})

	It("Should follow new namespaces and changes of their labels promptly", func(ctx SpecContext) {
		f := newWatchFixture(ctx)
		made := f.namespace(ctx, "made", map[string]string{"wants": f.id})
		expectPromptly(func() { expect.Copied(ctx, api, f.source, made) })
		plain := f.namespace(ctx, "plain")
		relabel(ctx, plain, map[string]string{"wants": f.id})
		expectPromptly(func() { expect.Copied(ctx, api, f.source, plain) })
		expect.Ready(ctx, api, f.replika, 4)
		relabel(ctx, plain, map[string]string{"wants": "nothing"})
		expectPromptly(func() { expect.Gone(ctx, api, f.source, plain) })
		expect.Ready(ctx, api, f.replika, 3)
	})

	DescribeTable("Should cause a copy to replace a deleted foreign object promptly", func(ctx SpecContext, deselect bool) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		second := create(ctx, kit.ConfigMap(b, source.Name, "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Interval(time.Hour))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})

		Expect(api.Delete(ctx, foreign)).To(Succeed())
		expectPromptly(func() { expect.Copied(ctx, api, source, a) })
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureConflict})
		if deselect {
			// Objects that no longer conflict are not watched.
			update(ctx, replika, kit.TargetNamespaces(a))
			expect.Ready(ctx, api, replika, 1)
			Expect(api.Delete(ctx, second)).To(Succeed())
			barrier(ctx, source, replika)
			expectAbsent(ctx, source, b)
			return
		}
		// The copy replaces it again after a deletion.
		Expect(api.Delete(ctx, kit.CopyIn(a, source))).To(Succeed())
		expectPromptly(func() { expect.Copied(ctx, api, source, a) })
		update(ctx, second, func(second *corev1.ConfigMap) { second.Data["key"] = "edited" })
		Expect(api.Delete(ctx, second)).To(Succeed())
		expectPromptly(func() { expect.Copied(ctx, api, source, b) })
		expect.Ready(ctx, api, replika, 2)
	},
		Entry("one after the other", false),
		Entry("while the other namespace is deselected", true),
	)

	It("Should cause a copy to replace a foreign object once its finalizer is removed", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		addFinalizer(ctx, foreign)
		Expect(api.Delete(ctx, foreign)).To(Succeed())
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		removeFinalizers(ctx, foreign)
		expectPromptly(func() { expect.Copied(ctx, api, source, a) })
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should notice the deletion and the re-creation of a source promptly", func(ctx SpecContext) {
		f := newWatchFixture(ctx)
		kept := read(ctx, f.source, f.a)
		deleteAndWait(ctx, f.source)
		expectPromptly(func() { expect.Reason(ctx, api, f.replika, v1alpha1.ReasonSourceNotFound) })
		Expect(read(ctx, kept, f.a).GetResourceVersion()).To(Equal(kept.GetResourceVersion()))
		f.source = create(ctx, kit.ConfigMap(f.home, "settings", "new"))
		expectPromptly(func() { expect.Copied(ctx, api, f.source, f.a, f.b) })
		expect.Ready(ctx, api, f.replika, 2)
	})

	It("Should notice the deletion of a source promptly under onSourceDeletion Delete", func(ctx SpecContext) {
		f := newWatchFixture(ctx, kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		deleteAndWait(ctx, f.source)
		expectPromptly(func() { expect.Gone(ctx, api, f.source, f.a, f.b) })
		f.source = create(ctx, kit.ConfigMap(f.home, "settings", "new"))
		expectPromptly(func() { expect.Copied(ctx, api, f.source, f.a, f.b) })
		expect.Ready(ctx, api, f.replika, 2)
	})

	It("Should cover a released object that becomes a copy again", func(ctx SpecContext) {
		f := newWatchFixture(ctx, kit.Retain())
		relabel(ctx, f.a, map[string]string{"wants": "nothing"})
		expectPromptly(func() {
			Eventually(ctx, func() map[string]string { return read(ctx, f.source, f.a).GetLabels() }).
				ShouldNot(HaveKey(v1alpha1.LabelCreatedBy))
		})
		update(ctx, f.replika, kit.Adopt())
		relabel(ctx, f.a, map[string]string{"wants": f.id})
		expectPromptly(func() { expect.Copied(ctx, api, f.source, f.a) })
		update(ctx, kit.CopyIn(f.a, f.source), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		expectPromptly(func() { expect.Copied(ctx, api, f.source, f.a) })
	})
})
