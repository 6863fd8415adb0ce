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
)

var _ = Describe("An immutable field", func() {
	frozenSecret := func(namespace, value string) client.Object {
		source := secret(namespace, "frozen", value)
		source.Immutable = new(true)
		return source
	}
	typedSecret := func(namespace, value string) client.Object {
		source := secret(namespace, "frozen", "same")
		source.Type = corev1.SecretType("example.com/" + value)
		return source
	}
	frozenConfigMap := func(namespace, value string) client.Object {
		source := configMap(namespace, "frozen", value)
		source.Immutable = new(true)
		return source
	}
	roleBinding := func(namespace, value string) client.Object {
		return fromYAML(fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: %s, name: frozen},
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %s}}`, namespace, value))
	}
	claim := func(namespace, value string) client.Object {
		return fromYAML(fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: %s, name: frozen},
			spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`, namespace, value))
	}

	type kind func(namespace, value string) client.Object
	// replace makes the source anew, as its owner has to.
	replace := func(ctx context.Context, kind kind, old client.Object) client.Object {
		GinkgoHelper()
		remove(ctx, old)
		return create(ctx, kind(old.GetNamespace(), "two"))
	}

	DescribeTable("makes the copy anew",
		func(ctx SpecContext, kind kind, policy v1alpha1.ImmutableFieldsPolicy) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := create(ctx, kind(s.namespace(ctx, "source"), "one"))
			replika := s.replika(ctx, source, into(a, b), withImmutableFields(policy))
			eventuallyReady(ctx, replika, 2)
			eventuallyCopied(ctx, source, a, b)
			uid := read(ctx, source, a).GetUID()

			source = replace(ctx, kind, source)
			eventuallyCopied(ctx, source, a, b)
			eventuallyReady(ctx, replika, 2)
			Expect(read(ctx, source, a).GetUID()).NotTo(Equal(uid))
		},
		Entry("of an immutable Secret, by default", kind(frozenSecret), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of an immutable Secret, under Recreate", kind(frozenSecret), v1alpha1.ImmutableFieldsRecreate),
		Entry("of a Secret of another type, by default", kind(typedSecret), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of an immutable ConfigMap, by default", kind(frozenConfigMap), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of another kind, under Recreate", kind(roleBinding), v1alpha1.ImmutableFieldsRecreate),
		Entry("of a kind that is merged and has a finalizer, under Recreate", kind(claim), v1alpha1.ImmutableFieldsRecreate),
	)

	DescribeTable("is reported, and the copy stays as it is until the policy changes",
		func(ctx SpecContext, kind kind, policy v1alpha1.ImmutableFieldsPolicy) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := create(ctx, kind(s.namespace(ctx, "source"), "one"))
			replika := s.replika(ctx, source, into(a), withImmutableFields(policy))
			eventuallyReady(ctx, replika, 1)
			before := read(ctx, source, a)

			source = replace(ctx, kind, source)
			failing := eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureImmutable})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring("immutable"))
			Consistently(ctx, func(g Gomega) {
				now := read(ctx, source, a)
				g.Expect(now.GetUID()).To(Equal(before.GetUID()))
				g.Expect(content(now)).To(Equal(content(before)))
			}).Should(Succeed())

			edit(ctx, replika, withImmutableFields(v1alpha1.ImmutableFieldsRecreate))
			eventuallyCopied(ctx, source, a)
			eventuallyReady(ctx, replika, 1)
		},
		Entry("of an immutable Secret, under Fail", kind(frozenSecret), v1alpha1.ImmutableFieldsFail),
		Entry("of an immutable ConfigMap, under Fail", kind(frozenConfigMap), v1alpha1.ImmutableFieldsFail),
		Entry("of another kind, by default", kind(roleBinding), v1alpha1.ImmutableFieldsPolicy("")),
		Entry("of a kind that is merged, by default", kind(claim), v1alpha1.ImmutableFieldsPolicy("")),
	)

	It("that only the copy has is overcome too", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		eventuallyReady(ctx, s.replika(ctx, source, into(a)), 1)
		edit(ctx, in(a, source), func(copy *corev1.ConfigMap) { copy.Immutable = new(true) })
		eventuallyCopied(ctx, source, a)
		Expect(content(read(ctx, source, a))).NotTo(HaveKey("immutable"))
	})

	It("does not keep a copy from being made anew while others hold it, then it is", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, frozenSecret(s.namespace(ctx, "source"), "one"))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		held := &unstructured.Unstructured{}
		*held = *read(ctx, source, a)
		hold(ctx, held)
		source = replace(ctx, frozenSecret, source)
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		letGo(ctx, held)
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
	})
})
