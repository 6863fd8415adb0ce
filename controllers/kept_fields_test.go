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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A field of which the API server keeps the former value", func() {
	service := func(namespace, clusterIP, app string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: corev1.ServiceSpec{
				ClusterIP: clusterIP, Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}
	}
	// replace re-creates the source, as its owner has to.
	replace := func(ctx context.Context, before, after *corev1.Service) {
		GinkgoHelper()
		deleteAndWait(ctx, before)
		create(ctx, after)
	}
	expectHeadless := func(ctx context.Context, source *corev1.Service, namespace string, want bool) {
		GinkgoHelper()
		Eventually(ctx, func(g Gomega) {
			copied := read(ctx, source, namespace)
			g.Expect(copied).NotTo(BeNil())
			isHeadless := valueAt(copied, "/spec/clusterIP") == corev1.ClusterIPNone
			g.Expect(isHeadless).To(Equal(want), "headless")
			g.Expect(valueAt(copied, "/spec/selector/app")).To(Equal(source.Spec.Selector["app"]))
		}).Should(Succeed())
	}

	DescribeTable("Should be reported, and the copy be re-created when the policy allows that",
		func(ctx SpecContext, before, after string) {
			f := newFixture()
			a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
			source := create(ctx, service(home, before, "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a))
			expect.Ready(ctx, api, replika, 1)
			uid := read(ctx, source, a).GetUID()

			changed := service(home, after, "two")
			replace(ctx, source, changed)
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring("clusterIP"))
			barrier(ctx, service(home, corev1.ClusterIPNone, "two"), replika) // each normal Service has its own cluster IP
			Expect(read(ctx, changed, a).GetUID()).To(Equal(uid))

			update(ctx, replika, kit.ImmutableFields(v1alpha1.ImmutableFieldsRecreate))
			expectHeadless(ctx, changed, a, after == corev1.ClusterIPNone)
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("when a headless Service becomes a normal one", corev1.ClusterIPNone, ""),
		Entry("when a normal Service becomes a headless one", "", corev1.ClusterIPNone),
	)
})
