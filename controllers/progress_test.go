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
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A slow reconcile", func() {
	It("Should be reported while it lasts, and delay no other namespace", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		installSlowWebhook(ctx, a)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		progressing := expect.Progressing(ctx, api, replika)
		Expect(progressing.Status.ObservedGeneration).To(BeEquivalentTo(-1), "the reconcile is not finished")
		Expect(meta.IsStatusConditionTrue(progressing.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue())
		Expect(read(ctx, source, a)).To(BeNil(), "the reconcile has ended")
		Expect(read(ctx, source, b)).NotTo(BeNil())
		expect.Ready(ctx, api, replika, 2)
		expect.Copied(ctx, api, source, a)
	})

	It("Should never be reported as the result of a spec that was written meanwhile", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		installSlowWebhook(ctx, a)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Progressing(ctx, api, replika)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = "renamed" })
		renamed := kit.ConfigMap(a, "renamed", "")
		Eventually(ctx, func(g Gomega) {
			current := &v1alpha1.Replika{}
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
			if current.Status.ObservedGeneration == replika.Generation && read(ctx, renamed, a) == nil {
				StopTrying("the status claims a generation that was not reconciled").Now()
			}
			g.Expect(current.Status.ObservedGeneration).To(Equal(replika.Generation))
		}).Should(Succeed())
		expect.Ready(ctx, api, replika, 1)
	})
})

// installSlowWebhook installs a webhook that never responds, and that is ignored after a delay, for ConfigMaps in the
// namespace.
func installSlowWebhook(ctx context.Context, namespace string) {
	GinkgoHelper()
	const delay = 4 * time.Second
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(silent.Close)
	hook := create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow-" + namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "slow.suite.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://" + silent.Addr().String() + "/")},
			NamespaceSelector:       selectNamespace(namespace),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			FailurePolicy:           new(admissionregistrationv1.Ignore),
			TimeoutSeconds:          new(int32(delay / time.Second)),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	})
	DeferCleanup(deleteAndWait, hook)
	Eventually(ctx, func() time.Duration {
		began := time.Now()
		Expect(api.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-"}}, client.DryRunAll)).To(Succeed())
		return time.Since(began)
	}).Should(BeNumerically(">=", delay))
}
