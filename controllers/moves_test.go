package controllers_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A Replika that moves on", func() {
	var (
		s             *scene
		a, b, c, home string
		source        *corev1.ConfigMap
		replika       *v1alpha1.Replika
	)
	// copied is where each spec begins: copies in a and b.
	copied := func(ctx context.Context, changes ...change) {
		GinkgoHelper()
		s = newScene()
		a, b, c, home = s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c"), s.namespace(ctx, "source")
		source = create(ctx, configMap(home, "settings", "one"))
		replika = s.replika(ctx, source, append([]change{into(a, b)}, changes...)...)
		eventuallyReady(ctx, replika, 2)
	}

	It("to another source leaves no copy that bears the name of the former one", func(ctx SpecContext) {
		copied(ctx)
		other := create(ctx, configMap(home, "others", "two"))
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = other.Name })
		eventuallyCopied(ctx, other, a, b)
		eventuallyGone(ctx, source, a, b)
		eventuallyReady(ctx, replika, 2)
		Expect(read(ctx, source, home).GetResourceVersion()).To(Equal(source.ResourceVersion))
	})

	It("to a source that does not exist leaves no copy of the former one", func(ctx SpecContext) {
		copied(ctx)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = "missing" })
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		eventuallyGone(ctx, source, a, b)
	})

	It("to another source in place costs one write for each copy", func(ctx SpecContext) {
		copied(ctx, naming("shared"))
		other := create(ctx, configMap(s.namespace(ctx, "other"), "others", "two"))
		since := thisMoment()
		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Source.Namespace = other.Name, other.Namespace
		})
		eventuallyCopiedAs(ctx, other, "shared", a, b)
		eventuallyReady(ctx, replika, 2)
		Expect(s.changesOf(since, "configmaps", "")).To(ConsistOf("patch in "+a, "patch in "+b))
	})

	It("in every respect at once leaves what it wants now, and nothing of what it wanted", func(ctx SpecContext) {
		copied(ctx)
		account := secret(s.namespace(ctx, "other"), "account", "pass")
		create(ctx, account)
		edit(ctx, replika, func(replika *v1alpha1.Replika) {
			ofKind("", "v1", "Secret")(replika)
			replika.Spec.Source.Namespace, replika.Spec.Source.Name = account.Namespace, account.Name
			replika.Spec.Target.Name, replika.Spec.Target.Labels = "renamed", v1alpha1.Labels{"tier": "back"}
			into(b, c)(replika)
		})
		eventuallyCopiedAs(ctx, account, "renamed", b, c)
		await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(s.copies(ctx, source)).To(BeEmpty())
			g.Expect(s.copies(ctx, account)).To(ConsistOf(b+"/renamed", c+"/renamed"))
			g.Expect(now.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "secrets"), "no other kind is to be looked after")
		})
		eventuallyReady(ctx, replika, 2)
	})

	It("to a kind that cannot be copied leaves none of the former kind", func(ctx SpecContext) {
		copied(ctx)
		edit(ctx, replika, ofKind("", "v1", "Node"))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotAllowed)
		eventuallyGone(ctx, source, a, b)
	})

	DescribeTable("releases what it leaves behind under Retain",
		func(ctx SpecContext, move change) {
			copied(ctx, retaining)
			create(ctx, secret(home, source.Name, "pass"))
			create(ctx, configMap(home, "others", "two"))
			uid := read(ctx, source, a).GetUID()
			edit(ctx, replika, move)
			eventuallyReady(ctx, replika, 2)
			eventuallyReleased(ctx, source, a, uid)
			Expect(content(read(ctx, source, a))).To(Equal(content(read(ctx, source, home))))
		},
		Entry("when it gives its copies another name", naming("renamed")),
		Entry("when it names another source", change(func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = "others" })),
		Entry("when it names another kind", ofKind("", "v1", "Secret")),
	)
})
