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
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

const (
	managerRole    = "replika-manager-role"
	aggregatedRole = "replika-manager-aggregated-role"
	// aggregateLabel adds a ClusterRole's rules to the operator's permissions.
	aggregateLabel = "rbac.replika.prosimcorp.com/aggregate-to-manager"
)

// replicationVerbs are the verbs that the operator needs to read sources and to write copies.
var replicationVerbs = []string{"get", "list", "watch", "create", "patch", "delete"}

var _ = Describe("The roles", func() {
	It("can be applied again without a loss of aggregated rules", func(ctx SpecContext) {
		create(ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "suite-limits", Labels: map[string]string{aggregateLabel: "true"}},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"limitranges"}, Verbs: replicationVerbs}},
		})
		eventuallyAllowedToReplicate(ctx, schema.GroupResource{Resource: "limitranges"})
		before := rulesOf(ctx, aggregatedRole)
		Expect(before).NotTo(BeEmpty())

		Expect(deployed.apply(ctx)).To(Succeed())
		Expect(rulesOf(ctx, aggregatedRole)).To(Equal(before))
	})

	It("cannot be extended by a user who lacks the permissions", func(ctx SpecContext) {
		create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "suite-make-roles"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, Verbs: []string{"create"}},
			{APIGroups: []string{""}, Resources: []string{"podtemplates"}, Verbs: replicationVerbs},
		}})
		bindCluster(ctx, "suite-make-roles", user("role-maker"))
		extend := func(resource string) error {
			return clientAs("role-maker").Create(ctx, &rbacv1.ClusterRole{
				ObjectMeta: metav1.ObjectMeta{Name: "suite-added", Labels: map[string]string{aggregateLabel: "true"}},
				Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: replicationVerbs}},
			}, client.DryRunAll)
		}
		Eventually(ctx, func() error { return extend("podtemplates") }).Should(Succeed(), "the user has these permissions")
		Expect(extend("pods")).To(MatchError(ContainSubstring("attempting to grant RBAC permissions not currently held")))
	})

	It("are extended by the README's patch", func(ctx SpecContext) {
		const kind = "alertmanagerconfigs"
		patched := find[*rbacv1.ClusterRole](build(readmePatch()), "ClusterRole", managerRole)
		unpatched := find[*rbacv1.ClusterRole](deployed, "ClusterRole", managerRole)
		Expect(patched.Rules[1:]).To(Equal(unpatched.Rules[1:]))

		// Under another name, so that the operator does not get the permissions in other specs.
		patched.Name = "suite-patched"
		create(ctx, patched)
		bindCluster(ctx, patched.Name, user("patched"))
		Eventually(ctx, func(g Gomega) {
			for _, verb := range replicationVerbs {
				g.Expect(isAllowed(ctx, g, "patched", verb, schema.GroupResource{Group: "monitoring.coreos.com", Resource: kind})).To(BeTrue(), verb)
			}
		}).Should(Succeed())
	})

	It("for users are not aggregated to the built-in roles", func() {
		for _, name := range []string{"replika-admin-role", "replika-editor-role", "replika-viewer-role"} {
			role := find[*rbacv1.ClusterRole](deployed, "ClusterRole", name)
			Expect(role.Labels).To(Equal(map[string]string{"app.kubernetes.io/name": "replika"}), name)
			for _, rule := range role.Rules {
				Expect(rule.APIGroups).To(Equal([]string{v1alpha1.GroupVersion.Group}))
				Expect(rule.Verbs).NotTo(ContainElement(BeElementOf("*", "escalate")), name)
			}
		}
	})
})

func rulesOf(ctx context.Context, name string) []rbacv1.PolicyRule {
	GinkgoHelper()
	role := &rbacv1.ClusterRole{}
	Expect(admin.Get(ctx, client.ObjectKey{Name: name}, role)).To(Succeed())
	return role.Rules
}

// eventuallyAllowedToReplicate waits until the operator has the permissions to replicate the kind.
func eventuallyAllowedToReplicate(ctx context.Context, resource schema.GroupResource) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		for _, verb := range replicationVerbs {
			g.Expect(isAllowed(ctx, g, operatorUser, verb, resource)).To(BeTrue(), "%s %s", verb, resource)
		}
	}).Should(Succeed())
}

// isAllowed reports whether the user has the permission in every namespace.
func isAllowed(ctx context.Context, g Gomega, user, verb string, resource schema.GroupResource) bool {
	GinkgoHelper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: resource.Group, Resource: resource.Resource, Verb: verb},
	}}
	g.Expect(admin.Create(ctx, review)).To(Succeed())
	return review.Status.Allowed
}
