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
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The source", func() {
	It("Should be waited for while it does not exist", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		waiting := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		Expect(kit.Ready(waiting).Message).To(ContainSubstring(source.Namespace + "/" + source.Name))
		create(ctx, source)
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should be waited for while its namespace does not exist", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.name("source"), "settings", "one")
		replika := f.replika(ctx, source, kit.InNamespace(a), kit.TargetNamespaces(a))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		f.namespace(ctx, "source")
		create(ctx, source)
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should leave its copies when it is deleted, and update them when it is created again", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		before := read(ctx, source, a)

		deleteAndWait(ctx, source)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		barrier(ctx, source, replika)
		Expect(read(ctx, source, a)).To(Equal(before))
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{a} })
		expect.Gone(ctx, api, source, b)

		again := create(ctx, kit.ConfigMap(source.Namespace, source.Name, "two"))
		expect.Copied(ctx, api, again, a)
		expect.Ready(ctx, api, replika, 1)
		Expect(read(ctx, source, a).GetUID()).To(Equal(before.GetUID()))
	})

	It("Should be deleted with its copies under Delete, which are re-created with it", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, source)
		expect.Gone(ctx, api, source, a)
		expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(kit.Ready(now).Reason).To(Equal(v1alpha1.ReasonSourceNotFound))
			g.Expect(now.Status.Copies).To(HaveField("Synced", BeZero()), "all copies are deleted")
		})

		again := create(ctx, kit.ConfigMap(source.Namespace, source.Name, "two"))
		expect.Copied(ctx, api, again, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should cause no deletion under Delete before it exists", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		expect.Reason(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete)), v1alpha1.ReasonSourceNotFound)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("Should leave a consistent status when it is deleted during a conflict", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		deleteAndWait(ctx, source)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
	})

	Describe("that is refused", func() {
		It("Should be reported if it is a copy", func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a)), 1)
			replika := f.replika(ctx, kit.CopyIn(a, source), kit.TargetNamespaces(b))
			refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
			Expect(kit.Ready(refused).Message).To(ContainSubstring("copy"))
			barrier(ctx, source, replika)
			expectAbsent(ctx, source, b)
		})

		DescribeTable("Should be reported if it is a token Secret",
			func(ctx SpecContext, secretType corev1.SecretType) {
				f := newFixture()
				a := f.namespace(ctx, "a")
				source := kit.Secret(f.namespace(ctx, "source"), "token", "s3cr3t")
				source.Type = secretType
				source.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
				expect.Exists(ctx, api, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, source.Namespace) // else the token is deleted promptly
				create(ctx, source)
				replika := f.replika(ctx, source, kit.TargetNamespaces(a))
				refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
				Expect(kit.Ready(refused).Message).To(ContainSubstring(string(secretType)))
				reconcile(ctx, replika)
				expectAbsent(ctx, source, a)

				deleteAndWait(ctx, source)
				expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
				harmless := create(ctx, kit.Secret(source.Namespace, source.Name, "one"))
				expect.Copied(ctx, api, harmless, a)
				expect.Ready(ctx, api, replika, 1)
			},
			Entry("ServiceAccount token", corev1.SecretTypeServiceAccountToken),
			Entry("bootstrap token", corev1.SecretTypeBootstrapToken),
		)

		It("Should leave earlier copies unchanged", func(ctx SpecContext) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a))
			expect.Ready(ctx, api, replika, 1)
			before := read(ctx, source, a)
			update(ctx, source, func(source *corev1.ConfigMap) {
				source.Labels = map[string]string{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
				source.Data["key"] = "two"
			})
			expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
			barrier(ctx, source, replika)
			Expect(read(ctx, source, a)).To(Equal(before))
			deleteAndWait(ctx, replika)
			expect.Gone(ctx, api, source, a)
			Expect(read(ctx, source, source.Namespace)).NotTo(BeNil(), "the source is no copy")
		})
	})
})
