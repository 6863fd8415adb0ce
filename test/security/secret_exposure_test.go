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
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The content of a Secret", func() {
	const sources, a, b, rejecting, forbidden = "secrets-sources", "secrets-a", "secrets-b", "secrets-rejecting", "secrets-forbidden"

	It("is not exposed", func(ctx SpecContext) {
		for _, namespace := range []string{sources, a, b, rejecting, forbidden} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		rejectWithContent(ctx, rejecting)
		restartLeaderWith(ctx, "--zap-log-level=10")
		sensitive := sensitiveValues{}

		plain := sensitive.newSecret(sources, "plain")
		// As kubectl apply sets it: a copy of the whole Secret.
		plain.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: string(toJSON(plain))}
		create(ctx, plain)
		replika := newReplika(plain, a, b, rejecting)
		create(ctx, replika)
		eventuallyFailed(ctx, replika, rejecting, v1alpha1.FailureRejected)
		eventuallyCopy(ctx, plain, b, HaveField("Object", HaveKeyWithValue("data", Not(BeEmpty()))))

		expect.Update(ctx, admin, plain, func(plain *corev1.Secret) { plain.Data = sensitive.newValues() })
		eventuallyCopy(ctx, plain, a, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("pin", toBase64(plain.Data["pin"])))))
		drifted := kit.CopyIn(b, plain)
		expect.Update(ctx, admin, drifted, func(drifted *corev1.Secret) { drifted.Data = sensitive.newValues() })
		eventuallyCopy(ctx, plain, b, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("pin", toBase64(plain.Data["pin"])))))

		foreign, conflicting := sensitive.newSecret(a, "conflicting"), sensitive.newSecret(sources, "conflicting")
		create(ctx, foreign)
		create(ctx, conflicting)
		adopting := newReplika(conflicting, a)
		create(ctx, adopting)
		eventuallyFailed(ctx, adopting, a, v1alpha1.FailureConflict)
		expect.Update(ctx, admin, adopting, func(replika *v1alpha1.Replika) { kit.Adopt()(replika) })
		expect.Ready(ctx, admin, adopting, 1)

		immutable := sensitive.newSecret(sources, "immutable")
		immutable.Immutable = new(true)
		create(ctx, immutable)
		failing := kit.NewReplika(immutable, kit.TargetNamespaces(a), kit.ImmutableFields(v1alpha1.ImmutableFieldsFail))
		create(ctx, failing)
		expect.Ready(ctx, admin, failing, 1)
		Expect(admin.Delete(ctx, immutable)).To(Succeed())
		again := sensitive.newSecret(sources, "immutable")
		again.Immutable = new(true)
		create(ctx, again)
		eventuallyFailed(ctx, failing, a, v1alpha1.FailureImmutable)

		hidden := sensitive.newSecret(sources, "hidden")
		create(ctx, hidden)
		unauthorized := kit.NewReplika(hidden, kit.InNamespace(forbidden), kit.TargetNamespaces(a), kit.ServiceAccount("unauthorized"))
		create(ctx, unauthorized)
		expect.Reason(ctx, admin, unauthorized, v1alpha1.ReasonForbidden)

		for _, replika := range []*v1alpha1.Replika{replika, adopting, failing, unauthorized} {
			Expect(expect.Read(ctx, admin, replika, replika.Namespace)).NotTo(BeNil())
		}
		expectNotExposed(ctx, sensitive, "while the Replikas exist")
		for _, replika := range []*v1alpha1.Replika{replika, adopting, failing, unauthorized} {
			deleteReplika(ctx, replika)
		}
		expectNotExposed(ctx, sensitive, "after the Replikas are deleted")
	})
})

// sensitiveValues are texts that must not be exposed, with their descriptions for failures.
type sensitiveValues map[string]string

// newSecret builds a Secret with new sensitive values.
func (v sensitiveValues) newSecret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeOpaque, Data: v.newValues(),
	}
}

// newValues returns a password and a short number. It also adds their common digests, and those of all data together, because
// a short value can be guessed from its digest.
func (v sensitiveValues) newValues() map[string][]byte {
	GinkgoHelper()
	values := map[string][]byte{"password": []byte("hush-" + rand.String(20)), "pin": []byte(fmt.Sprintf("%012d", rand.Int63nRange(0, 1_000_000_000_000)))}
	for name, value := range values {
		v[string(value)] = name
		v[toBase64(value)] = name + " in base64"
		v.addDigests(name, value)
		v.addDigests(name+" in base64", []byte(toBase64(value)))
	}
	v.addDigests("the data", toJSON(values))
	return values
}

func (v sensitiveValues) addDigests(name string, of []byte) {
	sha1Sum, sha256Sum, sha512Sum, md5Sum := sha1.Sum(of), sha256.Sum256(of), sha512.Sum512(of), md5.Sum(of)
	for algorithm, sum := range map[string][]byte{"SHA-1": sha1Sum[:], "SHA-256": sha256Sum[:], "SHA-512": sha512Sum[:], "MD5": md5Sum[:]} {
		// Digests are often truncated, and a prefix is enough to verify a guess.
		v[hex.EncodeToString(sum[:8])] = algorithm + " of " + name
		v[base64.StdEncoding.EncodeToString(sum)[:10]] = algorithm + " of " + name + " in base64"
	}
}

// rejectWithContent installs a policy that rejects all Secrets in the namespace, with a message that contains their password.
func rejectWithContent(ctx context.Context, namespace string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "reject-with-content"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "false",
				MessageExpression: `"the password " + string(object.data.password) + " is not allowed"`,
			}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	create(ctx, policy)
	create(ctx, binding)
	DeferCleanup(func(ctx SpecContext) {
		Expect(admin.Delete(ctx, binding)).To(Succeed())
		Expect(admin.Delete(ctx, policy)).To(Succeed())
	})
	Eventually(ctx, func() error {
		return admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}, Data: map[string][]byte{"password": []byte("test")},
		}, client.DryRunAll)
	}).Should(MatchError(MatchRegexp("the password (test|dGVzdA==) is not allowed")))
}

// expectNotExposed searches for the sensitive values in all output of the operator, and in all labels and annotations of
// copies.
func expectNotExposed(ctx context.Context, sensitive sensitiveValues, when string) {
	GinkgoHelper()
	secrets := &corev1.SecretList{}
	Expect(admin.List(ctx, secrets)).To(Succeed())
	Expect(sensitive.foundIn(string(toJSON(secrets)))).NotTo(BeEmpty(), "the search finds the values in the Secrets themselves")

	outputs := operatorOutput(ctx, secrets)
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		Expect(outputs[name]).NotTo(BeEmpty(), "%s: %s", when, name)
		Expect(sensitive.foundIn(outputs[name])).To(BeEmpty(), "%s: %s", when, name)
	}
}

// foundIn returns the descriptions of the sensitive values in the text.
func (v sensitiveValues) foundIn(text string) []string {
	var found []string
	for value, name := range v {
		if strings.Contains(text, value) {
			found = append(found, name)
		}
	}
	return found
}

// operatorOutput returns all output of the operator except the content of copies.
func operatorOutput(ctx context.Context, secrets *corev1.SecretList) map[string]string {
	GinkgoHelper()
	list := func(list client.ObjectList) string {
		Expect(admin.List(ctx, list)).To(Succeed())
		return string(toJSON(list))
	}
	var metadata []metav1.ObjectMeta
	for i := range secrets.Items {
		if meta := secrets.Items[i].ObjectMeta; meta.Labels[v1alpha1.LabelCreatedBy] != "" {
			metadata = append(metadata, meta)
		}
	}
	return map[string]string{
		"the log":                    leader.Log(),
		"the events":                 list(&eventsv1.EventList{}),
		"the Replikas":               list(&v1alpha1.ReplikaList{}),
		"the metadata of the copies": string(toJSON(metadata)),
		"the metrics":                metricsOfLeader(ctx),
	}
}

// metricsOfLeader returns the metrics.
func metricsOfLeader(ctx context.Context) string {
	GinkgoHelper()
	allowMetrics(ctx, tenant, copier)
	token, metrics := tokenOf(ctx, tenant, copier), ""
	Eventually(ctx, func(g Gomega) {
		var status int
		status, metrics = scrape(ctx, g, leader.metrics, token, &tls.Config{InsecureSkipVerify: true})
		g.Expect(status).To(Equal(http.StatusOK))
	}).Should(Succeed())
	return metrics
}

func toBase64(value []byte) string { return base64.StdEncoding.EncodeToString(value) }

func toJSON(value any) []byte {
	GinkgoHelper()
	text, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return text
}
