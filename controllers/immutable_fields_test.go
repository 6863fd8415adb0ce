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
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("An immutable field", func() {
	frozenSecret := func(namespace, value string) client.Object {
		source := kit.Secret(namespace, "frozen", value)
		source.Immutable = new(true)
		return source
	}
	typedSecret := func(namespace, value string) client.Object {
		source := kit.Secret(namespace, "frozen", "same")
		source.Type = corev1.SecretType("example.com/" + value)
		return source
	}
	frozenConfigMap := func(namespace, value string) client.Object {
		source := kit.ConfigMap(namespace, "frozen", value)
		source.Immutable = new(true)
		return source
	}
	roleBinding := func(namespace, value string) client.Object {
		return kit.FromYAML(fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: %s, name: frozen},
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}}`, namespace, value))
	}
	claim := func(namespace, value string) client.Object {
		return kit.FromYAML(fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: %s, name: frozen},
			spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`, namespace, value))
	}

	type kind func(namespace, value string) client.Object
	// replace re-creates the source, as its owner has to.
	replace := func(ctx context.Context, kind kind, old client.Object) client.Object {
		GinkgoHelper()
		deleteAndWait(ctx, old)
		return create(ctx, kind(old.GetNamespace(), "two"))
	}

	DescribeTable("Should cause the copy to be re-created",
		func(ctx SpecContext, kind kind, policy v1alpha1.ImmutableFieldsPolicy) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kind(f.namespace(ctx, "source"), "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.ImmutableFields(policy))
			expect.Ready(ctx, api, replika, 2)
			expect.Copied(ctx, api, source, a, b)
			uid := read(ctx, source, a).GetUID()

			source = replace(ctx, kind, source)
			expect.Copied(ctx, api, source, a, b)
			expect.Ready(ctx, api, replika, 2)
			Expect(read(ctx, source, a).GetUID()).NotTo(Equal(uid))
		},
		Entry("of an immutable Secret, by default", kind(frozenSecret), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of an immutable Secret, under Recreate", kind(frozenSecret), v1alpha1.ImmutableFieldsRecreate),
		Entry("of a Secret of another type, by default", kind(typedSecret), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of an immutable ConfigMap, by default", kind(frozenConfigMap), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of another kind, under Recreate", kind(roleBinding), v1alpha1.ImmutableFieldsRecreate),
		Entry("of a kind that is merged and has a finalizer, under Recreate", kind(claim), v1alpha1.ImmutableFieldsRecreate),
	)

	DescribeTable("Should be reported, and the copy stay unchanged until the policy changes",
		func(ctx SpecContext, kind kind, policy v1alpha1.ImmutableFieldsPolicy) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kind(f.namespace(ctx, "source"), "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ImmutableFields(policy))
			expect.Ready(ctx, api, replika, 1)
			before := read(ctx, source, a)

			source = replace(ctx, kind, source)
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(source.GetName()))
			barrier(ctx, source, replika)
			now := read(ctx, source, a)
			Expect(now.GetUID()).To(Equal(before.GetUID()))
			Expect(kit.Content(now)).To(Equal(kit.Content(before)))

			update(ctx, replika, kit.ImmutableFields(v1alpha1.ImmutableFieldsRecreate))
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("of an immutable Secret, under Fail", kind(frozenSecret), v1alpha1.ImmutableFieldsFail),
		Entry("of an immutable ConfigMap, under Fail", kind(frozenConfigMap), v1alpha1.ImmutableFieldsFail),
		Entry("of another kind, by default", kind(roleBinding), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of a kind that is merged, by default", kind(claim), v1alpha1.ImmutableFieldsPolicy("")),
	)

	It("Should be repaired if only the copy is immutable", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a)), 1)
		update(ctx, kit.CopyIn(a, source), func(copy *corev1.ConfigMap) { copy.Immutable = new(true) })
		expect.Copied(ctx, api, source, a)
		Expect(kit.Content(read(ctx, source, a))).NotTo(HaveKey("immutable"))
	})

	It("Should cause the copy to be re-created once its finalizer is removed", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, frozenSecret(f.namespace(ctx, "source"), "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		held := &unstructured.Unstructured{}
		*held = *read(ctx, source, a)
		addFinalizer(ctx, held)
		source = replace(ctx, frozenSecret, source)
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		removeFinalizers(ctx, held)
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})
})
