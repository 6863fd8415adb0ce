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
	"encoding/base64"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Events", func() {
	It("Should report changes of copies and of readiness", func(ctx SpecContext) {
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.namespace(ctx, "a"), f.namespace(ctx, "b")))
		expectEvent(ctx, replika, corev1.EventTypeNormal, v1alpha1.ReasonSynced, "2")
		expectEvent(ctx, replika, corev1.EventTypeNormal, "Replicated", "2")

		update(ctx, replika, kit.Suspended())
		expectEvent(ctx, replika, corev1.EventTypeNormal, v1alpha1.ReasonSuspended, "suspend")
	})

	DescribeTable("Should warn when a Replika is not ready",
		func(ctx SpecContext, reason, note string, changes ...kit.ReplikaOption) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			create(ctx, kit.ConfigMap(a, "taken", "theirs"))
			replika := f.replika(ctx, source, append([]kit.ReplikaOption{kit.TargetNamespaces(a)}, changes...)...)
			expectEvent(ctx, replika, corev1.EventTypeWarning, reason, note)
			Expect(eventsOf(ctx, replika)).NotTo(ContainElement(HaveField("Reason", v1alpha1.ReasonSynced)))
		},
		Entry("a missing source", v1alpha1.ReasonSourceNotFound, "/missing", kit.ReplikaOption(func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name = "missing"
		})),
		Entry("an unknown kind", v1alpha1.ReasonKindNotFound, "Thing", kit.SourceKind("no.example.com", "v1", "Thing")),
		Entry("a refused kind", v1alpha1.ReasonKindNotAllowed, "Node", kit.SourceKind("", "v1", "Node")),
		Entry("a conflict", v1alpha1.ReasonCopiesFailed, v1alpha1.FailureConflict, kit.TargetName("taken")),
		Entry("a missing namespace", v1alpha1.ReasonTargetNamespaceNotFound, "no-such-namespace", kit.TargetNamespaces("no-such-namespace")),
	)

	It("Should never contain a Secret's content, even if an admission policy quotes it", func(ctx SpecContext) {
		const value = "correct-horse-battery-staple"
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		installQuotingPolicy(ctx, a)
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "account", value))
		create(ctx, kit.Secret(b, "account", "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureRejected, b: v1alpha1.FailureConflict})
		expectEvent(ctx, replika, corev1.EventTypeWarning, v1alpha1.ReasonCopiesFailed, v1alpha1.FailureRejected)

		shown, err := json.Marshal([]any{failing, eventsOf(ctx, replika)})
		Expect(err).NotTo(HaveOccurred())
		Expect(string(shown)).NotTo(ContainSubstring(value))
		Expect(string(shown)).NotTo(ContainSubstring(base64.StdEncoding.EncodeToString([]byte(value))))
	})
})

// eventsOf lists the events about the Replika.
func eventsOf(ctx context.Context, replika *v1alpha1.Replika) []eventsv1.Event {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(api.List(ctx, list, client.InNamespace(replika.Namespace))).To(Succeed())
	var events []eventsv1.Event
	for i := range list.Items {
		if list.Items[i].Regarding.UID == replika.UID {
			events = append(events, list.Items[i])
		}
	}
	return events
}

func expectEvent(ctx context.Context, replika *v1alpha1.Replika, eventType, reason, note string) {
	GinkgoHelper()
	Eventually(ctx, func() []eventsv1.Event { return eventsOf(ctx, replika) }).Should(ContainElement(And(
		HaveField("Type", eventType),
		HaveField("Reason", reason),
		HaveField("Note", ContainSubstring(note)),
		HaveField("Action", Not(BeEmpty())),
	)))
}

// installQuotingPolicy installs a policy that denies Secrets in the namespace with a message that quotes them.
func installQuotingPolicy(ctx context.Context, namespace string) {
	GinkgoHelper()
	policy := create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "quote-" + namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: selectNamespace(namespace),
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "false",
				Message:           "refused",
				MessageExpression: "'refused: ' + string(object.data.key)",
			}},
		},
	})
	DeferCleanup(deleteAndWait, policy)
	DeferCleanup(deleteAndWait, create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}))
	probe := kit.Secret(namespace, "probe", "a value")
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).
		Should(MatchError(ContainSubstring(base64.StdEncoding.EncodeToString(probe.Data["key"]))), "the policy quotes")
}
