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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// A tenant's editor can write Replikas and impersonate the namespace's accounts, and tries to get through the operator what
// RBAC denies them.
var _ = Describe("A tenant gains no access by a Replika", func() {
	It("that copies another account's token", func(ctx SpecContext) {
		token := secret(tenant, "token-of-other")
		token.Annotations = map[string]string{corev1.ServiceAccountNameKey: other}
		token.Type = corev1.SecretTypeServiceAccountToken
		create(ctx, token)
		replika := createAsTenant(ctx, newReplika(token, annex))
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonSourceNotAllowed)
		expect.Gone(ctx, admin, token, annex)
	})

	It("that copies a Secret that its account cannot read", func(ctx SpecContext) {
		hidden := secret("kube-system", "hidden")
		create(ctx, hidden)
		replika := createAsTenant(ctx, kit.NewReplika(hidden, kit.InNamespace(tenant), kit.TargetNamespaces(annex)))
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonForbidden)
		expect.Gone(ctx, admin, hidden, annex)
	})

	It("that copies a RoleBinding that the operator can create and its account cannot", func(ctx SpecContext) {
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
		replika := createAsTenantWithAccount(ctx, other, newReplika(binding, annex))
		eventuallyFailed(ctx, replika, annex, v1alpha1.FailureForbidden)
		expect.Gone(ctx, admin, binding, annex)
	})

	It("that writes to the operator's own namespace", func(ctx SpecContext) {
		source := configMap(tenant, "into-operator-namespace")
		create(ctx, source)
		replika := createAsTenant(ctx, newReplika(source, operatorNamespace, annex))
		eventuallyFailed(ctx, replika, operatorNamespace, v1alpha1.FailureForbidden)
		eventuallyCopy(ctx, source, annex, HaveField("GetName()", source.Name))
		expect.Gone(ctx, admin, source, operatorNamespace)
	})

	It("of a cluster administrator that the tenant changes to its own account", func(ctx SpecContext) {
		const victim = "default"
		source := configMap(tenant, "of-admin")
		create(ctx, source)
		replika := newReplika(source, victim, annex)
		Expect(clientAs(clusterAdmin).Create(ctx, replika)).To(Succeed())
		DeferCleanup(deleteReplika, replika)
		expect.Ready(ctx, admin, replika, 2)

		By("setting an account that the policy accepts")
		Expect(clientAs(tenantEditor).Patch(ctx, replika, client.RawPatch("application/merge-patch+json",
			[]byte(`{"spec": {"serviceAccountName": "`+copier+`"}}`)))).To(Succeed())
		expect.Ready(ctx, admin, replika, 2) // of the new spec: an earlier edit would still be copied with the former permissions
		expect.Update(ctx, admin, source, func(source *corev1.ConfigMap) { source.Data = map[string]string{"by": "the tenant"} })
		eventuallyCopy(ctx, source, annex, HaveField("Object", HaveKeyWithValue("data", HaveKey("by"))))
		eventuallyFailed(ctx, replika, victim, v1alpha1.FailureForbidden)
		eventuallyCopy(ctx, source, victim, HaveField("Object", HaveKeyWithValue("data", HaveKey("key"))))
	})
})

// createAsTenant creates the Replika as the tenant's editor, with the account for Replikas. Without the account, the policy
// rejects it.
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
