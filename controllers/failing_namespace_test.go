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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A failing namespace", func() {
	Describe("in deletion", func() {
		// A namespace stays Terminating while an object in it has a finalizer.
		terminate := func(ctx context.Context, namespace string, held client.Object) {
			GinkgoHelper()
			addFinalizer(ctx, held)
			Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		}

		It("Should be no target, and delay no other namespace", func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			terminate(ctx, b, create(ctx, kit.ConfigMap(b, "held", "")))
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 1)
			expect.Copied(ctx, api, source, a)
			Expect(read(ctx, source, b)).To(BeNil())
			update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
			expect.Copied(ctx, api, source, a)
			deleteAndWait(ctx, replika)
			expect.Gone(ctx, api, source, a)
		})

		It("Should keep a copy with a finalizer, which blocks neither other copies nor the Replika's deletion", func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 2)
			terminate(ctx, b, kit.CopyIn(b, source))
			expect.Ready(ctx, api, replika, 1)
			update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
			expect.Copied(ctx, api, source, a)
			deleteAndWait(ctx, replika)
			expect.Gone(ctx, api, source, a)
		})

		It("Should get a copy when it is created again", func(ctx SpecContext) {
			f := newFixture()
			b := f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(b), kit.Interval(time.Hour))
			expect.Ready(ctx, api, replika, 1)
			expect.DeleteNamespace(ctx, api, b)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonTargetNamespaceNotFound)
			f.namespace(ctx, "b")
			expect.Copied(ctx, api, source, b)
			expect.Ready(ctx, api, replika, 1)
		})
	})

	Describe("with an exhausted quota", func() {
		It("Should be reported, and get a copy when the quota is deleted", func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			full := fillQuota(ctx, a)
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureQuotaExceeded})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(full.Name))
			expect.Copied(ctx, api, source, b)
			Expect(api.Delete(ctx, full)).To(Succeed())
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 2)
		})

		It("Should be reported as a conflict if there is a foreign object", func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			foreign := create(ctx, kit.ConfigMap(a, "settings", "theirs"))
			fillQuota(ctx, a)
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			expect.Failures(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a, b)), map[string]string{a: v1alpha1.FailureConflict})
			expect.Copied(ctx, api, source, b)
			Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
		})
	})

	DescribeTable("Should be reported when a policy denies the copy, and get it when the policy is deleted",
		func(ctx SpecContext, message string, reason *metav1.StatusReason) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			policy := installDenyPolicy(ctx, a, message, reason, admissionregistrationv1.Create)
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(message))
			expect.Copied(ctx, api, source, b)
			Expect(api.Delete(ctx, policy)).To(Succeed())
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 2)
		},
		Entry("as invalid", "no settings here", nil),
		Entry("as forbidden", "no settings here", new(metav1.StatusReasonForbidden)),
		Entry("as forbidden, with a message like the authorizer's", "this team cannot have settings", new(metav1.StatusReasonForbidden)),
		Entry("as forbidden, with a message like a quota's", "team exceeded quota: settings", new(metav1.StatusReasonForbidden)),
		Entry("as too large", "no settings here", new(metav1.StatusReasonRequestEntityTooLarge)),
	)

	DescribeTable("Should keep its copy when a policy denies updates: a denial is not an immutable field",
		func(ctx SpecContext, reason *metav1.StatusReason) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 2)
			policy := installDenyPolicy(ctx, a, "settings are frozen", reason, admissionregistrationv1.Update)
			before := read(ctx, source, a)

			update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
			expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected})
			expect.Copied(ctx, api, source, b)
			Expect(read(ctx, source, a)).To(Equal(before))
			Expect(api.Delete(ctx, policy)).To(Succeed())
			expect.Copied(ctx, api, source, a)
			Expect(read(ctx, source, a).GetUID()).To(Equal(before.GetUID()))
		},
		Entry("as invalid", nil),
		Entry("as forbidden", new(metav1.StatusReasonForbidden)),
	)

	It("Should be reported when a webhook is unavailable, and get a copy when the webhook is deleted", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		hook := installBrokenWebhook(ctx, a, admissionregistrationv1.Create)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureUnavailable})
		expect.Copied(ctx, api, source, b)
		Expect(api.Delete(ctx, hook)).To(Succeed())
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 2)
	})
})

// fillQuota allows the namespace no more ConfigMaps than it has.
func fillQuota(ctx context.Context, namespace string) *corev1.ResourceQuota {
	GinkgoHelper()
	const counted = corev1.ResourceName("count/configmaps")
	expect.Exists(ctx, api, kit.ConfigMap("", "kube-root-ca.crt", ""), namespace)
	list := &corev1.ConfigMapList{}
	Expect(api.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	full := *resource.NewQuantity(int64(len(list.Items)), resource.DecimalSI)
	quota := create(ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{counted: full}},
	})
	Eventually(ctx, func(g Gomega) {
		g.Expect(api.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
		used := quota.Status.Used[counted]
		g.Expect(used.Cmp(full)).To(BeZero(), "the quota is not counted yet")
	}).Should(Succeed())
	return quota
}

// installDenyPolicy installs a policy that denies ConfigMaps in a namespace, until the returned binding is deleted or the
// spec ends.
func installDenyPolicy(ctx context.Context, namespace, message string, reason *metav1.StatusReason, operation admissionregistrationv1.OperationType) client.Object {
	GinkgoHelper()
	policy := create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "refuse-" + namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: selectNamespace(namespace),
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{operation},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				}}},
			},
			// Namespace deletion needs an update of this one.
			Validations: []admissionregistrationv1.Validation{{
				Expression: "object.metadata.name == 'kube-root-ca.crt'", Message: message, Reason: reason,
			}},
		},
	})
	DeferCleanup(deleteAndWait, policy)
	binding := create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	})
	DeferCleanup(deleteAndWait, binding)
	waitUntilDenied(ctx, namespace, operation)
	return binding
}

// installBrokenWebhook installs an unreachable webhook for ConfigMaps in the namespace.
func installBrokenWebhook(ctx context.Context, namespace string, operation admissionregistrationv1.OperationType) client.Object {
	GinkgoHelper()
	hook := create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "broken-" + namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "broken.suite.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/")},
			NamespaceSelector:       selectNamespace(namespace),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{operation},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	})
	DeferCleanup(deleteAndWait, hook)
	waitUntilDenied(ctx, namespace, operation)
	return hook
}

// waitUntilDenied waits until admission, which learns its rules with a delay, denies ConfigMaps in the namespace.
func waitUntilDenied(ctx context.Context, namespace string, operation admissionregistrationv1.OperationType) {
	GinkgoHelper()
	probe := kit.ConfigMap(namespace, "probe", "")
	probe.GenerateName, probe.Name = "probe-", ""
	if operation == admissionregistrationv1.Update {
		probe = kit.ConfigMap(namespace, "settings", "")
	}
	Eventually(ctx, func() error {
		trial := probe.DeepCopy()
		if operation == admissionregistrationv1.Update {
			return api.Patch(ctx, trial, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"probe":""}}`)), client.DryRunAll)
		}
		return api.Create(ctx, trial, client.DryRunAll)
	}).Should(Satisfy(func(err error) bool { return err != nil && !apierrors.IsNotFound(err) }), fmt.Sprintf("%s in %s", operation, namespace))
}

func selectNamespace(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}
}
