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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Re-creation of a copy", func() {
	// replace re-creates the source, as its owner has to, while the Replika is suspended.
	replace := func(ctx context.Context, replika *v1alpha1.Replika, before, after client.Object) {
		GinkgoHelper()
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, before)
		create(ctx, after)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
	}
	frozen := func(namespace, value string) *corev1.ConfigMap {
		made := kit.ConfigMap(namespace, "settings", value)
		made.Immutable = new(true)
		return made
	}
	typed := func(namespace string, secretType corev1.SecretType) *corev1.Secret {
		made := kit.Secret(namespace, "settings", "same")
		made.Type = secretType
		return made
	}

	DescribeTable("Should be tried by a dry run before the former copy is deleted",
		func(ctx SpecContext, resource string, sources func(namespace string) (before, after client.Object)) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			before, after := sources(f.namespace(ctx, "source"))
			create(ctx, before)
			replika := f.replika(ctx, before, kit.TargetNamespaces(a))
			expect.Ready(ctx, api, replika, 1)
			since := markAudit()

			replace(ctx, replika, before, after)
			expect.Copied(ctx, api, after, a)
			expect.Ready(ctx, api, replika, 1)
			Eventually(ctx, func() []string {
				var requests []string
				for _, event := range f.attemptedWrites(since, resource, "settings") {
					verb := event.Verb
					if isDryRun(event) {
						verb = "try to " + verb
					}
					requests = append(requests, fmt.Sprintf("%s: %d", verb, event.Code))
				}
				return requests
			}).Should(Equal([]string{"patch: 422", "try to create: 409", "delete: 200", "create: 201"}))
		},
		Entry("immutable ConfigMap", "configmaps", func(namespace string) (before, after client.Object) {
			return frozen(namespace, "one"), frozen(namespace, "two")
		}),
		Entry("Secret with another type", "secrets", func(namespace string) (before, after client.Object) {
			return typed(namespace, "example.com/one"), typed(namespace, "example.com/two")
		}),
	)

	It("Should not happen while the new copy would be denied", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		home := f.namespace(ctx, "source")
		before, after := create(ctx, frozen(home, "one")), frozen(home, "two")
		replika := f.replika(ctx, before, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		policy := installDenyPolicy(ctx, a, "nothing new here", nil, admissionregistrationv1.Create)
		old, since := read(ctx, before, a), markAudit()

		replace(ctx, replika, before, after)
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
		expect.Copied(ctx, api, after, b)
		barrier(ctx, before, replika)
		Expect(read(ctx, before, a)).To(Equal(old))
		f.eventuallyWrites(ctx, since, "configmaps", "settings").Should(ConsistOf("delete in "+b, "create in "+b))

		Expect(api.Delete(ctx, policy)).To(Succeed())
		expect.Copied(ctx, api, after, a)
		expect.Ready(ctx, api, replika, 2)
	})
})
