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

package security

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("What a Secret holds", func() {
	const home, served, strict, taken = "vault", "vault-served", "vault-strict", "vault-taken"
	values := []string{"correct-horse-battery", "staple-the-second", "somebody-else's-word"}

	It("is said nowhere", func(ctx SpecContext) {
		restartLeader(ctx, "--zap-log-level=10")
		for _, namespace := range []string{home, served, strict, taken} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		rejectAndQuote(ctx, strict)
		foreign := secretOf(taken, values[2])
		create(ctx, foreign)

		source := secretOf(home, values[0])
		create(ctx, source)
		replika := replikaOf(source, served, strict, taken)
		create(ctx, replika)
		eventuallyReasons(ctx, replika, v1alpha1.FailureRejected, v1alpha1.FailureConflict)
		edit(ctx, source, func() { source.Data["password"] = []byte(values[1]) })
		eventuallyCopy(ctx, source, served, HaveField("Object",
			HaveKeyWithValue("data", HaveKeyWithValue("password", base64.StdEncoding.EncodeToString([]byte(values[1]))))))
		edit(ctx, replika, func() { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt })
		eventuallyReasons(ctx, replika, v1alpha1.FailureRejected)

		said := emitted(ctx, replika, source, served, taken)
		Expect(said).To(And(HaveKey("log"), HaveKey("events"), HaveKey("metrics"), HaveKey("Replika"), HaveKey(served), HaveKey(taken)))
		for where, text := range said {
			Expect(text).To(ContainSubstring("vault"), "what is searched in %s", where)
			for _, value := range values {
				for _, disguise := range disguises(value) {
					Expect(strings.Contains(text, disguise)).To(BeFalse(), "%s tells %q as %q", where, value, disguise)
				}
			}
		}
		remove(ctx, replika)
	})
})

func secretOf(namespace, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault"}, Data: map[string][]byte{"password": []byte(value)},
	}
}

// rejectAndQuote has the API server refuse Secrets in the namespace, and quote
// them.
func rejectAndQuote(ctx context.Context, namespace string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "suite-quote"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression: "false", MessageExpression: `"no " + string(object.data["password"]) + " here"`,
			}},
		},
	}
	create(ctx, policy)
	create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	})
	Eventually(ctx, func() error {
		return admin.Create(ctx, secretOf(namespace, "probe"), client.DryRunAll)
	}).Should(MatchError(ContainSubstring("no ")))
}

// eventuallyReasons waits until that is why copies failed.
func eventuallyReasons(ctx context.Context, replika *v1alpha1.Replika, reasons ...string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		var found []string
		for _, failure := range replika.Status.Failures {
			found = append(found, failure.Reason)
		}
		g.Expect(found).To(ConsistOf(reasons))
	}).Should(Succeed())
}

// emitted is all that the operator has let out, but for the content of copies.
func emitted(ctx context.Context, replika *v1alpha1.Replika, source *corev1.Secret, copies ...string) map[string]string {
	GinkgoHelper()
	said := map[string]string{"log": leader.Log(), "metrics": metricsOfLeader(ctx)}
	events := &eventsv1.EventList{}
	Expect(admin.List(ctx, events)).To(Succeed())
	said["events"] = text(events.Items)
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
	said["Replika"] = text(replika)
	for _, namespace := range copies {
		said[namespace] = text(read(ctx, Default, source, namespace).Object["metadata"])
	}
	return said
}

func text(object any) string {
	GinkgoHelper()
	text, err := json.Marshal(object)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// metricsOfLeader are the metrics, as one gets them who may read them.
func metricsOfLeader(ctx context.Context) string {
	GinkgoHelper()
	letReadMetrics(ctx, tenant, copier)
	status, metrics := scrape(ctx, Default, leader.metrics, tokenOf(ctx, tenant, copier), &tls.Config{InsecureSkipVerify: true})
	Expect(status).To(Equal(http.StatusOK))
	return metrics
}

// disguises are the value as it is, as the API has it, and digests by which it
// could be guessed.
func disguises(value string) []string {
	encoded := base64.StdEncoding.EncodeToString([]byte(value))
	disguises := []string{value, encoded, strings.TrimRight(encoded, "=")}
	for _, content := range []string{value, encoded, `{"password":"` + encoded + `"}`} {
		digest := sha256.Sum256([]byte(content))
		// The beginning of one would do to guess.
		disguises = append(disguises, hex.EncodeToString(digest[:6]), base64.StdEncoding.EncodeToString(digest[:6]))
	}
	return disguises
}
