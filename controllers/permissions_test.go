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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// allNamespaces grants a permission cluster-wide.
const allNamespaces = ""

// policyRule returns a role's rule about one resource.
func policyRule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// copyVerbs are the verbs that the operator needs to read sources and to write copies.
var copyVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// grant gives the operator permissions in the namespace, or cluster-wide, until the spec ends or they are revoked. Both wait
// until the API server applies it.
func grant(ctx context.Context, namespace string, rules ...rbacv1.PolicyRule) (revoke func(context.Context)) {
	GinkgoHelper()
	return grantUser(ctx, operatorUser, namespace, rules...)
}

// grantUser gives permissions to any user.
func grantUser(ctx context.Context, user, namespace string, rules ...rbacv1.PolicyRule) (revoke func(context.Context)) {
	GinkgoHelper()
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	meta := metav1.ObjectMeta{Namespace: namespace, GenerateName: "of-one-spec-"}
	var role, binding client.Object
	if namespace == allNamespaces {
		role = create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
		binding = create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: roleRef("ClusterRole", role.GetName())})
	} else {
		role = create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules})
		binding = create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: roleRef("Role", role.GetName())})
	}
	waitUntilAllowed(ctx, user, namespace, rules, true)
	revoke = func(ctx context.Context) {
		GinkgoHelper()
		Expect(client.IgnoreNotFound(api.Delete(ctx, binding))).To(Succeed())
		Expect(client.IgnoreNotFound(api.Delete(ctx, role))).To(Succeed())
		waitUntilAllowed(ctx, user, namespace, rules, false)
	}
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(api.Delete(ctx, binding))).To(Succeed())
		Expect(client.IgnoreNotFound(api.Delete(ctx, role))).To(Succeed())
	})
	return revoke
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

// waitUntilAllowed waits until the API server allows the user each of the verbs, or none.
func waitUntilAllowed(ctx context.Context, user, namespace string, rules []rbacv1.PolicyRule, wanted bool) {
	GinkgoHelper()
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			Eventually(ctx, func(g Gomega) {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: user,
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: namespace, Group: rule.APIGroups[0], Resource: rule.Resources[0], Verb: verb,
					},
				}}
				g.Expect(api.Create(ctx, review)).To(Succeed())
				g.Expect(review.Status.Allowed).To(Equal(wanted), "%s %s", verb, rule.Resources[0])
			}).Should(Succeed())
		}
	}
}
