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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Every change of consent is noticed promptly: the interval of these Replikas is an hour.
var _ = Describe("Consent to keys", func() {
	// copied returns a source with the keys ca.crt, tls.crt and tls.key, and a Replika that has copied it to the namespace.
	copied := func(ctx context.Context, f *fixture, a string, options ...kit.ReplikaOption) (*corev1.Secret, *v1alpha1.Replika) {
		GinkgoHelper()
		source := tlsSecret(f.namespace(ctx, "source"))
		source.Type = corev1.SecretTypeOpaque
		create(ctx, source)
		replika := f.replika(ctx, source, append([]kit.ReplikaOption{kit.TargetNamespaces(a), kit.Interval(time.Hour)}, options...)...)
		expect.Ready(ctx, api, replika, 1)
		return source, replika
	}

	It("Should limit the copies to what is allowed, at once", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source, replika := copied(ctx, f, a)
		eventuallyHasKeys(ctx, source, a, "ca.crt", "tls.crt", "tls.key")
		allowKeys(ctx, source, "*.crt")
		eventuallyHasKeys(ctx, source, a, "ca.crt", "tls.crt")
		Expect(read(ctx, source, a).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationAllowedKeys))
		eventuallyCopiedKeys(ctx, replika, "*.crt")
		allowKeys(ctx, source, "ca.crt")
		eventuallyHasKeys(ctx, source, a, "ca.crt")
		update(ctx, source, func(source *corev1.Secret) { source.Annotations = nil })
		expect.Copied(ctx, api, source, a)
		eventuallyCopiedKeys(ctx, replika)
	})

	DescribeTable("Should remove a copy of a key that the spec names, when it is withdrawn",
		func(ctx SpecContext, policy v1alpha1.DeletionPolicy) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source, replika := copied(ctx, f, a, chooseKeys("ca.crt", "tls.key"), func(replika *v1alpha1.Replika) { replika.Spec.DeletionPolicy = policy })
			allowKeys(ctx, source, "ca.crt,*.pub")
			refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
			Expect(kit.Ready(refused).Message).To(And(ContainSubstring(v1alpha1.AnnotationAllowedKeys), ContainSubstring("tls.key")))
			Expect(refused.Status.Copies).To(HaveValue(Equal(v1alpha1.CopiesStatus{})))
			if policy == v1alpha1.DeletionPolicyRetain {
				Expect(kit.OwnKeys(read(ctx, source, a))).To(BeEmpty(), "the copy is released")
				return
			}
			Expect(read(ctx, source, a)).To(BeNil())
			update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = []string{"ca.crt"} })
			expect.Ready(ctx, api, replika, 1)
			eventuallyHasKeys(ctx, source, a, "ca.crt")
		},
		Entry("Delete", v1alpha1.DeletionPolicyDelete),
		Entry("Retain", v1alpha1.DeletionPolicyRetain),
	)

	It("Should leave the copies as they are when only the spec asks for more", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source, replika := copied(ctx, f, a, chooseKeys("ca.crt"))
		allowKeys(ctx, source, "ca.crt")
		before := read(ctx, source, a)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = []string{"ca.crt", "tls.key"} })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(read(ctx, source, a)).To(Equal(before))
	})

	It("Should win over a key that is waited for", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source, replika := copied(ctx, f, a)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = []string{"*", "missing.crt"} })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyNotFound)
		eventuallyHasKeys(ctx, source, a, "ca.crt", "tls.crt", "tls.key")
		allowKeys(ctx, source, "*.crt")
		expect.Gone(ctx, api, source, a)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyNotFound)
		update(ctx, source, func(source *corev1.Secret) { source.Data["missing.crt"] = []byte("here") })
		expect.Ready(ctx, api, replika, 1)
		eventuallyHasKeys(ctx, source, a, "ca.crt", "tls.crt", "missing.crt")
	})

	It("Should be known for every key that copies can have, until all copies are in sync", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source, replika := copied(ctx, f, a, chooseKeys("ca.crt", "tls.key"))
		copiedKeys := func(keys ...string) {
			GinkgoHelper()
			expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
				g.Expect(current.Status.Source.CopiedKeys).To(Equal(keys))
			})
		}
		copiedKeys("ca.crt", "tls.key")

		By("narrowing the spec while another namespace has a foreign object in the way")
		foreign := create(ctx, kit.Secret(b, source.Name, "theirs"))
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Keys, replika.Spec.Target.Namespaces.ReplicateIn = []string{"ca.crt"}, []string{a, b}
		})
		expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureConflict})
		copiedKeys("ca.crt", "tls.key")

		By("removing the object")
		deleteAndWait(ctx, foreign)
		expect.Ready(ctx, api, replika, 2)
		copiedKeys("ca.crt")
	})

	It("Should win over suspension", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source, replika := copied(ctx, f, a)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		before := read(ctx, source, a)
		allowKeys(ctx, source, "tls.*, ca.*")
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		reconcile(ctx, replika)
		Expect(read(ctx, source, a)).To(Equal(before), "every key of the copy is allowed")
		allowKeys(ctx, source, "ca.crt")
		expect.Gone(ctx, api, source, a)
	})

	It("Should change no copy because of a list that cannot be read", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source, replika := copied(ctx, f, a)
		before := read(ctx, source, a)
		for _, list := range []string{"“ca.crt”", "ca.crt;tls.crt", `^ca\.crt$`, "ca.crt,,tls.crt"} {
			update(ctx, source, func(source *corev1.Secret) {
				source.Annotations = map[string]string{v1alpha1.AnnotationAllowedKeys: list}
				source.Data["ca.crt"] = []byte("changed with " + list)
			})
			frozen := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
			Expect(kit.Ready(frozen).Message).To(ContainSubstring(v1alpha1.AnnotationAllowedKeys))
			reconcile(ctx, replika)
			Expect(read(ctx, source, a)).To(Equal(before), list)
		}
		allowKeys(ctx, source, "ca.crt")
		eventuallyHasKeys(ctx, source, a, "ca.crt")
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should freeze a kind without keys", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.FromYAML(`{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: `+f.namespace(ctx, "source")+`, name: robot,
			annotations: {replika.prosimcorp.com/allowed-keys: ca.crt}}}`))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(kit.Ready(refused).Message).To(ContainSubstring("only ConfigMaps and Secrets have keys"))
		expectAbsent(ctx, source, a)
	})
})

// eventuallyCopiedKeys waits until the status of the Replika, which is ready, has these copied keys; none for all.
func eventuallyCopiedKeys(ctx context.Context, replika *v1alpha1.Replika, keys ...string) {
	GinkgoHelper()
	expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
		g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonSynced))
		g.Expect(current.Status.Source).NotTo(BeNil())
		g.Expect(current.Status.Source.CopiedKeys).To(ConsistOf(keys))
	})
}
