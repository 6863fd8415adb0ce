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
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A webhook that denies the deletion of a copy because something else is not found", func() {
	tenantNotFound := &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: `tenant "shop" not found`,
		Details: &metav1.StatusDetails{Group: "tenants.example.com", Kind: "tenants", Name: "shop"},
	}
	// A webhook can name anything in the details, even the copy.
	copyNotFound := &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: `configmaps "settings" not found`,
		Details: &metav1.StatusDetails{Kind: "configmaps", Name: "settings"},
	}

	DescribeTable("Should be reported while the copy stays, and be retried",
		func(ctx SpecContext, denial *metav1.Status) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 2)
			webhook := installDeletionWebhook(ctx, a, denial)

			update(ctx, replika, kit.TargetNamespaces(b))
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
			Expect(failing.Status.Failures[0].Message).To(And(ContainSubstring("admission webhook"), ContainSubstring(denial.Message)))
			expect.Copied(ctx, api, source, a, b)

			deleteAndWait(ctx, webhook)
			expect.Gone(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("such as a tenant", tenantNotFound),
		Entry("with the name of the copy", copyNotFound),
	)

	It("Should keep the Replika's finalizer, too", serial, func(ctx SpecContext) {
		restartWith(func(options *controllers.Options) { options.Timeouts.CleanupTimeout *= 100 })
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		webhook := installDeletionWebhook(ctx, a, copyNotFound)

		Expect(api.Delete(ctx, replika)).To(Succeed())
		expect.Gone(ctx, api, source, b)
		failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(copyNotFound.Message))
		Expect(failing.Finalizers).To(ContainElement(v1alpha1.Finalizer))
		Expect(read(ctx, source, a)).NotTo(BeNil())

		deleteAndWait(ctx, webhook)
		expect.Gone(ctx, api, replika, replika.Namespace)
		Expect(read(ctx, source, a)).To(BeNil())
	})
})

// installDeletionWebhook installs a webhook that denies the deletion of ConfigMaps in a namespace, until it is deleted or the
// spec ends, and returns when it is in effect.
func installDeletionWebhook(ctx context.Context, namespace string, denial *metav1.Status) client.Object {
	GinkgoHelper()
	server, reached := kit.ServeWebhook(func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Result: denial}
	})
	DeferCleanup(server.Close)
	hook := create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "keep-" + namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "keep.suite.example.com",
			ClientConfig:            reached,
			NamespaceSelector:       selectNamespace(namespace),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Delete},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	})
	DeferCleanup(deleteAndWait, hook)
	probe := create(ctx, kit.ConfigMap(namespace, "probe", ""))
	Eventually(ctx, func() error { return api.Delete(ctx, probe, client.DryRunAll) }).Should(MatchError(ContainSubstring("admission webhook")))
	return hook
}
