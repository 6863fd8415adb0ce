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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// What a tenant's editor tries, who may write Replikas and act as the
// namespace's accounts: to get by way of the operator what they cannot get
// themselves.
var _ = Describe("A tenant gets nothing by a Replika", func() {
	It("that copies another account's token", func(ctx SpecContext) {
		token := secret(tenant, "token-of-other")
		token.Annotations = map[string]string{corev1.ServiceAccountNameKey: other}
		token.Type = corev1.SecretTypeServiceAccountToken
		create(ctx, token)
		tried := createAsTenant(ctx, replikaOf(token, annex))
		eventuallyRefused(ctx, tried, v1alpha1.ReasonSourceNotAllowed)
		eventuallyNone(ctx, token, annex)
	})

	It("that copies a Secret which its account may not read", func(ctx SpecContext) {
		hidden := secret("kube-system", "hidden")
		create(ctx, hidden)
		replika := replikaOf(hidden, annex)
		replika.Namespace, replika.Spec.Source.Namespace = tenant, "kube-system"
		tried := createAsTenant(ctx, replika)
		eventuallyRefused(ctx, tried, v1alpha1.ReasonForbidden)
		eventuallyNone(ctx, hidden, annex)
	})

	It("that grants a role, which the operator may bind and the account may not", func(ctx SpecContext) {
		create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "suite-write-bindings"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"rolebindings"}, Verbs: replicationVerbs},
		}})
		for _, namespace := range []string{tenant, annex} {
			bind(ctx, namespace, "suite-write-bindings", serviceAccount(tenant, other))
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "grant"}, Subjects: []rbacv1.Subject{user(tenantEditor)},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		}
		create(ctx, binding)
		tried := createAsTenantWithAccount(ctx, other, replikaOf(binding, annex))
		eventuallyFailed(ctx, tried, annex, v1alpha1.FailureForbidden)
		eventuallyNone(ctx, binding, annex)
	})

	It("that writes into the operator's own namespace", func(ctx SpecContext) {
		planted := configMap(tenant, "planted")
		create(ctx, planted)
		tried := createAsTenant(ctx, replikaOf(planted, operatorNamespace, annex))
		eventuallyFailed(ctx, tried, operatorNamespace, v1alpha1.FailureForbidden)
		eventuallyCopy(ctx, planted, annex, HaveField("GetName()", planted.Name))
		eventuallyNone(ctx, planted, operatorNamespace)
	})

	It("of the cluster administrator that they point elsewhere", func(ctx SpecContext) {
		const victim = "default"
		source := configMap(tenant, "lent-by-admin")
		create(ctx, source)
		replika := replikaOf(source, victim, annex)
		Expect(clientAs(clusterAdmin).Create(ctx, replika)).To(Succeed())
		eventuallySynced(ctx, replika, 2)

		By("naming an account of theirs, as the policy wants it")
		Expect(clientAs(tenantEditor).Patch(ctx, replika, client.RawPatch("application/merge-patch+json",
			[]byte(`{"spec": {"serviceAccountName": "`+copier+`"}}`)))).To(Succeed())
		DeferCleanup(deleteReplika, replika)
		updateObject(ctx, source, func() { source.Data = map[string]string{"by": "the tenant"} })
		eventuallyCopy(ctx, source, annex, HaveField("Object", HaveKeyWithValue("data", HaveKey("by"))))
		eventuallyFailed(ctx, replika, victim, v1alpha1.FailureForbidden)
		eventuallyCopy(ctx, source, victim, HaveField("Object", HaveKeyWithValue("data", HaveKey("key"))))
	})
})

// try has the tenant's editor create the Replika, first with the operator's own
// rights, which the policy refuses, and then as the account for Replikas.
func createAsTenant(ctx context.Context, replika *v1alpha1.Replika) *v1alpha1.Replika {
	GinkgoHelper()
	return createAsTenantWithAccount(ctx, copier, replika)
}

func createAsTenantWithAccount(ctx context.Context, account string, replika *v1alpha1.Replika) *v1alpha1.Replika {
	GinkgoHelper()
	tenantEditor := clientAs(tenantEditor)
	Expect(tenantEditor.Create(ctx, replika)).To(accountRequired)
	replika.Spec.ServiceAccountName = account
	Expect(tenantEditor.Create(ctx, replika)).To(Succeed())
	DeferCleanup(deleteReplika, replika)
	return replika
}

// eventuallyRefused waits until the Replika is not ready for the reason.
func eventuallyRefused(ctx context.Context, replika *v1alpha1.Replika, reason string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		g.Expect(replika.Status.Conditions).To(ContainElement(And(
			HaveField("Type", v1alpha1.ConditionReady), HaveField("Status", metav1.ConditionFalse), HaveField("Reason", reason))))
	}).Should(Succeed())
}

// eventuallyFailed waits until that is all that the Replika failed with.
func eventuallyFailed(ctx context.Context, replika *v1alpha1.Replika, namespace, reason string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
		g.Expect(replika.Status.Failures).To(ConsistOf(And(HaveField("Namespace", namespace), HaveField("Reason", reason))))
	}).Should(Succeed())
}
