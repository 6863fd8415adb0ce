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

package executor_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
)

// denyPolicy is a policy that denies the requests for which the CEL expression `when` is true.
type denyPolicy struct {
	when              string
	message           string
	messageExpression string
	reason            metav1.StatusReason
}

// createDenyPolicy creates a ValidatingAdmissionPolicy for the namespace of the environment and returns when it is in effect.
func createDenyPolicy(ctx SpecContext, e *env, deny denyPolicy) {
	GinkgoHelper()
	const isProbe = `(request.operation == "CREATE" && object.metadata.name == "probe")`
	validation := admissionregistrationv1.Validation{
		Expression: "!(" + isProbe + " || (" + deny.when + "))", Message: deny.message, MessageExpression: deny.messageExpression,
	}
	if deny.reason != "" {
		validation.Reason = &deny.reason
	}
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: e.id + "-deny"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: matchResources(e),
			Validations:      []admissionregistrationv1.Validation{validation},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        policy.Name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	for _, object := range []client.Object{policy, binding} {
		Expect(api.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, object)).To(Succeed()) })
	}
	probe := configMap(nil)
	probe.Namespace, probe.Name = e.namespace, "probe"
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring(policy.Name)))
}

// createMutatingWebhook creates a webhook for the namespace of the environment, which merges fields into every new or updated
// object, and returns when it is in effect.
func createMutatingWebhook(ctx SpecContext, e *env, fields func(*admissionv1.AdmissionRequest) map[string]any) {
	GinkgoHelper()
	server, reached := kit.ServeWebhook(func(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return kit.MergeFields(request, fields(request))
	})
	DeferCleanup(server.Close)
	resources := matchResources(e)
	rule := resources.ResourceRules[0].RuleWithOperations
	rule.Operations = []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update}
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: e.id + "-mutate"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: e.id + ".example.com", SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: resources.NamespaceSelector, Rules: []admissionregistrationv1.RuleWithOperations{rule}, ClientConfig: reached,
		}},
	}
	Expect(api.Create(ctx, configuration)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, configuration)).To(Succeed()) })
	probe := toUnstructured(configMap(nil))
	probe.SetNamespace(e.namespace)
	probe.SetName("probe")
	Eventually(ctx, func(g Gomega) {
		mutated := probe.DeepCopy()
		g.Expect(api.Create(ctx, mutated, client.DryRunAll)).To(Succeed())
		g.Expect(mutated.Object).To(Or(HaveKey("data"), HaveKey("immutable")), "the probe has neither")
	}).Should(Succeed())
}

// always are the same fields for each request.
func always(fields map[string]any) func(*admissionv1.AdmissionRequest) map[string]any {
	return func(*admissionv1.AdmissionRequest) map[string]any { return fields }
}

// createWebhook creates a validating webhook for the namespace of the environment and returns when it is in effect. It allows a
// request if review returns nil. If review panics with a string, the webhook fails with that message.
func createWebhook(ctx SpecContext, e *env, review func(*admissionv1.AdmissionRequest) *metav1.Status) {
	GinkgoHelper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		admissionReview := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(request.Body).Decode(admissionReview); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		defer func() {
			if message, panicked := recover().(string); panicked {
				http.Error(writer, message, http.StatusInternalServerError)
			}
		}()
		denial := review(admissionReview.Request)
		if admissionReview.Request.Name == "probe" {
			denial = &metav1.Status{Message: "probe denied"}
		}
		admissionReview.Response = &admissionv1.AdmissionResponse{
			UID: admissionReview.Request.UID, Allowed: denial == nil, Result: denial,
		}
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(admissionReview)
	}))
	DeferCleanup(server.Close)
	url, none := server.URL, admissionregistrationv1.SideEffectClassNone
	resources := matchResources(e)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: e.id + "-webhook"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: e.id + ".example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: resources.NamespaceSelector,
			Rules:             []admissionregistrationv1.RuleWithOperations{resources.ResourceRules[0].RuleWithOperations},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
		}},
	}
	Expect(api.Create(ctx, configuration)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, configuration)).To(Succeed()) })
	probe := configMap(nil)
	probe.Namespace, probe.Name = e.namespace, "probe"
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring("webhook")))
}

// matchResources matches writes of ConfigMaps and Secrets in the namespace of the environment.
func matchResources(e *env) *admissionregistrationv1.MatchResources {
	return &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{envLabel: e.id}},
		ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{
					admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete,
				},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps", "secrets"},
				},
			},
		}},
	}
}
