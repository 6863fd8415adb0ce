package controllers_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("Making a copy anew", func() {
	// replace makes the source anew, as its owner has to, while the Replika does not look.
	replace := func(ctx context.Context, replika *v1alpha1.Replika, before, after client.Object) {
		GinkgoHelper()
		edit(ctx, replika, suspended)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSuspended)
		remove(ctx, before)
		create(ctx, after)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
	}
	frozen := func(namespace, value string) *corev1.ConfigMap {
		made := configMap(namespace, "settings", value)
		made.Immutable = new(true)
		return made
	}
	typed := func(namespace string, secretType corev1.SecretType) *corev1.Secret {
		made := secret(namespace, "settings", "same")
		made.Type = secretType
		return made
	}

	DescribeTable("is tried before the old one is deleted, and only then",
		func(ctx SpecContext, resource string, sources func(namespace string) (before, after client.Object)) {
			s := newScene()
			a := s.namespace(ctx, "a")
			before, after := sources(s.namespace(ctx, "source"))
			create(ctx, before)
			replika := s.replika(ctx, before, into(a))
			eventuallyReady(ctx, replika, 1)
			since := thisMoment()

			replace(ctx, replika, before, after)
			eventuallyCopied(ctx, after, a)
			eventuallyReady(ctx, replika, 1)
			Eventually(ctx, func() []string {
				var requests []string
				for _, event := range s.attemptsOn(since, resource, "settings") {
					verb := event.Verb
					if isDryRun(event) {
						verb = "try to " + verb
					}
					requests = append(requests, fmt.Sprintf("%s: %d", verb, event.Code))
				}
				return requests
			}).Should(Equal([]string{"patch: 422", "try to create: 409", "delete: 200", "create: 201"}))
		},
		Entry("for an immutable ConfigMap", "configmaps", func(namespace string) (before, after client.Object) {
			return frozen(namespace, "one"), frozen(namespace, "two")
		}),
		Entry("for a Secret of another type", "secrets", func(namespace string) (before, after client.Object) {
			return typed(namespace, "example.com/one"), typed(namespace, "example.com/two")
		}),
	)

	It("is left off where the new one would be refused, until it is not", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		home := s.namespace(ctx, "source")
		before, after := create(ctx, frozen(home, "one")), frozen(home, "two")
		replika := s.replika(ctx, before, into(a, b))
		eventuallyReady(ctx, replika, 2)
		policy := refuse(ctx, a, "nothing new here", nil, admissionregistrationv1.Create)
		old, since := read(ctx, before, a), thisMoment()

		replace(ctx, replika, before, after)
		eventuallyFailing(ctx, replika, map[string]string{a: v1alpha1.FailureRejected})
		eventuallyCopied(ctx, after, b)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, before, a)).To(Equal(old)) }).Should(Succeed())
		Expect(s.changesOf(since, "configmaps", "settings")).To(ConsistOf("delete in "+b, "create in "+b))

		Expect(api.Delete(ctx, policy)).To(Succeed())
		eventuallyCopied(ctx, after, a)
		eventuallyReady(ctx, replika, 2)
	})
})
