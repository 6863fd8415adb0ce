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
	"crypto/tls"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// namespaceOwner has all permissions in one namespace, by a RoleBinding to cluster-admin, and none elsewhere. It is a
// ServiceAccount, because the metrics require a token.
const ownedNamespace, namespaceOwner = "owned", "owner"

var _ = Describe("A user with all permissions in one namespace", Ordered, func() {
	var owner client.Client

	BeforeAll(func(ctx SpecContext) {
		create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ownedNamespace}})
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ownedNamespace, Name: namespaceOwner}})
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ownedNamespace, Name: copier}})
		bind(ctx, ownedNamespace, "cluster-admin", serviceAccount(ownedNamespace, namespaceOwner))
		create(ctx, configMap(ownedNamespace, "source"))
		owner = clientAs(accountUser(ownedNamespace, namespaceOwner))
		Eventually(ctx, func() error {
			return owner.Create(ctx, configMap(ownedNamespace, "probe"), client.DryRunAll)
		}).Should(Succeed())
	})

	It("cannot use the operator's permissions", func(ctx SpecContext) {
		Expect(owner.Create(ctx, ownedReplika("new", noAccount), client.DryRunAll)).To(accountRequired)
		Expect(owner.Create(ctx, ownedReplika("new", copier), client.DryRunAll)).To(Succeed())

		By("changing a Replika of the cluster administrator in the namespace")
		trusted := ownedReplika("trusted", noAccount)
		Expect(clientAs(clusterAdmin).Create(ctx, trusted)).To(Succeed())
		DeferCleanup(deleteReplika, trusted)
		Expect(owner.Patch(ctx, trusted, client.RawPatch(types.MergePatchType, []byte(`{"spec": {"source": {"name": "other"}}}`)))).
			To(accountRequired)

		By("creating a Role that grants escalate in the namespace")
		create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ownedNamespace, Name: "escalate"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"replikas"}, Verbs: []string{"*", "escalate"}},
		}})
		expect.CreateForAttempt(ctx, owner, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ownedNamespace, Name: "escalate"},
			Subjects:   []rbacv1.Subject{serviceAccount(ownedNamespace, namespaceOwner)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "escalate"},
		})
		Expect(owner.Create(ctx, ownedReplika("new", noAccount), client.DryRunAll)).To(accountRequired)
	})

	It("cannot read a Secret of another namespace through an account", func(ctx SpecContext) {
		hidden := secret("kube-system", "hidden-from-owner")
		create(ctx, hidden)
		replika := kit.NewReplika(hidden, kit.InNamespace(ownedNamespace), kit.TargetNamespaces(annex), kit.ServiceAccount(namespaceOwner))
		Expect(owner.Create(ctx, replika)).To(Succeed())
		DeferCleanup(deleteReplika, replika)
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonForbidden)
		expect.Gone(ctx, admin, hidden, annex)
	})

	It("cannot name an account of another namespace", func(ctx SpecContext) {
		replika := ownedReplika("elsewhere", tenant+":"+copier)
		Expect(owner.Create(ctx, replika, client.DryRunAll)).NotTo(Succeed())
		replika.Namespace, replika.Spec.ServiceAccountName = tenant, copier
		Expect(owner.Create(ctx, replika, client.DryRunAll)).To(forbiddenByRBAC)
	})

	It("cannot extend the operator's permissions", func(ctx SpecContext) {
		Expect(owner.Create(ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "suite-owner", Labels: map[string]string{aggregateLabel: "true"}},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: replicationVerbs}},
		}, client.DryRunAll)).To(forbiddenByRBAC)
	})

	It("cannot read the metrics", func(ctx SpecContext) {
		token := tokenOf(ctx, ownedNamespace, namespaceOwner)
		Eventually(ctx, func(g Gomega) {
			status, _ := scrape(ctx, g, leader.metrics, token, &tls.Config{InsecureSkipVerify: true})
			g.Expect(status).To(Equal(http.StatusForbidden))
		}).Should(Succeed())
	})

	// The label is not prevented, docs/security.md warns of it.
	It("can label the namespace for a selector, but gets no copy that the source's owner denies", func(ctx SpecContext) {
		source := configMap(tenant, "by-label")
		create(ctx, source)
		label := expect.NameOfAttempt("by-label") // the namespace keeps that of an earlier attempt
		replika := kit.NewReplika(source, kit.SelectNamespaces(map[string]string{"suite": label}))
		Expect(clientAs(clusterAdmin).Create(ctx, replika)).To(Succeed())
		DeferCleanup(deleteReplika, replika)
		expect.Ready(ctx, admin, replika, 0)
		labelOwned(ctx, owner, label)
		expect.Ready(ctx, admin, replika, 1)

		expect.Update(ctx, admin, source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{v1alpha1.AnnotationAllowedNamespaces: annex}
		})
		expect.Gone(ctx, admin, source, ownedNamespace)
	})
})

func ownedReplika(name, account string) *v1alpha1.Replika {
	GinkgoHelper()
	return kit.NewReplika(configMap(ownedNamespace, "source"), kit.WithName(name), kit.TargetNamespaces(annex), kit.ServiceAccount(account))
}

// labelOwned sets a label of the namespace. For RBAC, a request for a Namespace is a request in this namespace.
func labelOwned(ctx context.Context, owner client.Client, value string) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ownedNamespace}}
	Expect(owner.Patch(ctx, namespace, client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata": {"labels": {"suite": "`+value+`"}}}`)))).To(Succeed())
}
