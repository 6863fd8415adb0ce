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
)

var _ = Describe("What a Secret holds", func() {
	const home, a, b, strict, spy = "vault", "vault-a", "vault-b", "vault-strict", "vault-spy"

	It("is said nowhere", func(ctx SpecContext) {
		for _, namespace := range []string{home, a, b, strict, spy} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		rejectWithContent(ctx, strict)
		restartLeaderWith(ctx, "--zap-log-level=10")
		loot := sensitiveValues{}

		plain := loot.newSecret(home, "plain")
		// As kubectl leaves it: the whole Secret again.
		plain.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: string(toJSON(plain))}
		create(ctx, plain)
		replika := replikaOf(plain, a, b, strict)
		create(ctx, replika)
		eventuallyFailed(ctx, replika, strict, v1alpha1.FailureRejected)
		eventuallyCopy(ctx, plain, b, HaveField("Object", HaveKeyWithValue("data", Not(BeEmpty()))))

		updateObject(ctx, plain, func() { plain.Data = loot.newValues() })
		eventuallyCopy(ctx, plain, a, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("pin", toBase64(plain.Data["pin"])))))
		drifted := copyIn(b, plain).(*corev1.Secret)
		updateObject(ctx, drifted, func() { drifted.Data = loot.newValues() })
		eventuallyCopy(ctx, plain, b, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("pin", toBase64(plain.Data["pin"])))))

		foreign, contended := loot.newSecret(a, "contended"), loot.newSecret(home, "contended")
		create(ctx, foreign)
		create(ctx, contended)
		rival := replikaOf(contended, a)
		create(ctx, rival)
		eventuallyFailed(ctx, rival, a, v1alpha1.FailureConflict)
		updateObject(ctx, rival, func() { rival.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt })
		eventuallySynced(ctx, rival, 1)

		fixed := loot.newSecret(home, "fixed")
		fixed.Immutable = new(true)
		create(ctx, fixed)
		rigid := replikaOf(fixed, a)
		rigid.Spec.Target.ImmutableFields = v1alpha1.ImmutableFieldsFail
		create(ctx, rigid)
		eventuallySynced(ctx, rigid, 1)
		Expect(admin.Delete(ctx, fixed)).To(Succeed())
		again := loot.newSecret(home, "fixed")
		again.Immutable = new(true)
		create(ctx, again)
		eventuallyFailed(ctx, rigid, a, v1alpha1.FailureImmutable)

		hidden := loot.newSecret(home, "hidden")
		create(ctx, hidden)
		prying := replikaOf(hidden, a)
		prying.Namespace, prying.Spec.Source.Namespace, prying.Spec.ServiceAccountName = spy, home, "spy"
		create(ctx, prying)
		eventuallyRefused(ctx, prying, v1alpha1.ReasonForbidden)

		for _, replika := range []*v1alpha1.Replika{replika, rival, rigid, prying} {
			Expect(getIfExists(ctx, Default, replika, replika.Namespace)).NotTo(BeNil())
		}
		expectNotExposed(ctx, loot, "while all is there")
		for _, replika := range []*v1alpha1.Replika{replika, rival, rigid, prying} {
			deleteReplika(ctx, replika)
		}
		expectNotExposed(ctx, loot, "after all is gone")
	})
})

// treasure is what must stay hidden, and what that is called in a failure.
type sensitiveValues map[string]string

// secret is one to be created whose content is hidden from then on.
func (t sensitiveValues) newSecret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeOpaque, Data: t.newValues(),
	}
}

// values are a password and a short number. Of both, and of all of it together as it is copied, every usual digest is as
// good as the value, if that is short.
func (t sensitiveValues) newValues() map[string][]byte {
	GinkgoHelper()
	values := map[string][]byte{"password": []byte("hush-" + rand.String(20)), "pin": []byte(fmt.Sprintf("%012d", rand.Int63nRange(0, 1_000_000_000_000)))}
	for name, value := range values {
		t[string(value)] = name
		t[toBase64(value)] = name + " in base64"
		t.addDigests(name, value)
		t.addDigests(name+" in base64", []byte(toBase64(value)))
	}
	t.addDigests("the data", toJSON(values))
	return values
}

func (t sensitiveValues) addDigests(name string, of []byte) {
	sha1Sum, sha256Sum, sha512Sum, md5Sum := sha1.Sum(of), sha256.Sum256(of), sha512.Sum512(of), md5.Sum(of)
	for algorithm, sum := range map[string][]byte{"SHA-1": sha1Sum[:], "SHA-256": sha256Sum[:], "SHA-512": sha512Sum[:], "MD5": md5Sum[:]} {
		// Digests are often cut; a quarter of one is enough to tell a guess.
		t[hex.EncodeToString(sum[:8])] = algorithm + " of " + name
		t[base64.StdEncoding.EncodeToString(sum)[:10]] = algorithm + " of " + name + " in base64"
	}
}

// rejectAloud has the API server refuse all Secrets in the namespace, with a message that quotes them.
func rejectWithContent(ctx context.Context, namespace string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "aloud"},
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
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}, Data: map[string][]byte{"password": []byte("loud")},
		}, client.DryRunAll)
	}).Should(MatchError(MatchRegexp("the password (loud|bG91ZA==) is not allowed")))
}

// expectNothingOf searches everything that the operator has said so far, and every label and annotation that it wrote.
func expectNotExposed(ctx context.Context, loot sensitiveValues, when string) {
	GinkgoHelper()
	secrets := &corev1.SecretList{}
	Expect(admin.List(ctx, secrets)).To(Succeed())
	Expect(loot.foundIn(string(toJSON(secrets)))).NotTo(BeEmpty(), "the search finds what is there")

	said := operatorOutput(ctx, secrets)
	for _, where := range slices.Sorted(maps.Keys(said)) {
		Expect(said[where]).NotTo(BeEmpty(), "%s: %s", when, where)
		Expect(loot.foundIn(said[where])).To(BeEmpty(), "%s: %s", when, where)
	}
}

// in lists what of the treasure is in the text.
func (t sensitiveValues) foundIn(text string) []string {
	var found []string
	for hidden, name := range t {
		if strings.Contains(text, hidden) {
			found = append(found, name)
		}
	}
	return found
}

// emitted is all that leaves the operator but the copies' content.
func operatorOutput(ctx context.Context, secrets *corev1.SecretList) map[string]string {
	GinkgoHelper()
	list := func(list client.ObjectList) string {
		Expect(admin.List(ctx, list)).To(Succeed())
		return string(toJSON(list))
	}
	var marks []metav1.ObjectMeta
	for i := range secrets.Items {
		if meta := secrets.Items[i].ObjectMeta; meta.Labels[v1alpha1.LabelCreatedBy] != "" {
			marks = append(marks, meta)
		}
	}
	return map[string]string{
		"the log":                    leader.Log(),
		"the events":                 list(&eventsv1.EventList{}),
		"the Replikas":               list(&v1alpha1.ReplikaList{}),
		"the metadata of the copies": string(toJSON(marks)),
		"the metrics":                metricsOfLeader(ctx),
	}
}

// metricsOfLeader are the metrics, as one gets them who may read them.
func metricsOfLeader(ctx context.Context) string {
	GinkgoHelper()
	allowMetrics(ctx, tenant, copier)
	status, metrics := scrape(ctx, Default, leader.metrics, tokenOf(ctx, tenant, copier), &tls.Config{InsecureSkipVerify: true})
	Expect(status).To(Equal(http.StatusOK))
	return metrics
}

func toBase64(value []byte) string { return base64.StdEncoding.EncodeToString(value) }

func toJSON(value any) []byte {
	GinkgoHelper()
	text, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return text
}
