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

// The namespaces of a tenant and the users, by their permissions in the first namespace.
const (
	tenant, annex = "tenant", "tenant-annex"
	// clusterAdmin has all permissions in the cluster.
	clusterAdmin = "cluster-admin"
	// tenantAdmin and tenantEditor have the built-in role and the role for Replikas.
	tenantAdmin  = "tenant-admin"
	tenantEditor = "tenant-editor"
	// tenantWriter can only write Replikas.
	tenantWriter = "tenant-writer"
	// tenantImpersonator can write Replikas and impersonate one of the accounts.
	tenantImpersonator = "tenant-impersonator"
	tenantViewer       = "tenant-viewer"

	// copier is the account for Replikas: it can edit both namespaces. other is an account for another purpose.
	copier    = "copier"
	other     = "other"
	noAccount = ""
)

// createTenant creates the tenant's namespaces, accounts and users.
func createTenant(ctx context.Context) {
	GinkgoHelper()
	for _, namespace := range []string{tenant, annex} {
		create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		bind(ctx, namespace, "edit", serviceAccount(tenant, copier))
	}
	for _, account := range []string{copier, other} {
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: account}})
	}
	create(ctx, configMap(tenant, "source"))
	bindCluster(ctx, "cluster-admin", user(clusterAdmin))
	bind(ctx, tenant, "admin", user(tenantAdmin))
	bind(ctx, tenant, "edit", user(tenantEditor))
	bind(ctx, tenant, "view", user(tenantViewer))
	bind(ctx, tenant, "replika-admin-role", user(tenantAdmin))
	bind(ctx, tenant, "replika-editor-role", user(tenantEditor), user(tenantWriter), user(tenantImpersonator))
	bind(ctx, tenant, "replika-viewer-role", user(tenantViewer))
	create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "suite-impersonate-copier"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{copier}, Verbs: []string{"impersonate"}},
	}})
	bind(ctx, tenant, "suite-impersonate-copier", user(tenantImpersonator))
}

// eventuallyEnforced waits until the API server applies the policy and the roles.
func eventuallyEnforced(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(clientAs(tenantWriter).Create(ctx, tenantReplika("new", noAccount), client.DryRunAll)).To(accountRequired)
		for _, user := range []string{clusterAdmin, tenantAdmin, tenantEditor, tenantImpersonator} {
			g.Expect(clientAs(user).Create(ctx, tenantReplika("new", copier), client.DryRunAll)).To(Succeed(), user)
		}
		g.Expect(clientAs(tenantViewer).List(ctx, &v1alpha1.ReplikaList{}, client.InNamespace(tenant))).To(Succeed())
	}).Should(Succeed())
}

// bindCluster binds the subjects to a ClusterRole in all namespaces.
func bindCluster(ctx context.Context, role string, subjects ...rbacv1.Subject) {
	GinkgoHelper()
	create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	})
}

// bind binds the subjects to a ClusterRole in a namespace.
func bind(ctx context.Context, namespace, role string, subjects ...rbacv1.Subject) {
	GinkgoHelper()
	create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "suite-"}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	})
}

func serviceAccount(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
}

// accountUser returns the user name of a ServiceAccount.
func accountUser(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}
