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

// everyNamespace is where a right holds that holds everywhere.
const everyNamespace = ""

// right is what a role says of one resource.
func right(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// toCopy are the verbs that the operator needs to read sources and to write copies.
var toCopy = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// allow gives the operator, in the namespace or in every one, rights that the suite does not, until the spec is over or
// they are revoked. Both wait until the API server goes by it.
func allow(ctx context.Context, namespace string, rights ...rbacv1.PolicyRule) (revoke func(context.Context)) {
	GinkgoHelper()
	return allowUser(ctx, operatorUser, namespace, rights...)
}

// allowUser gives them to any user.
func allowUser(ctx context.Context, user, namespace string, rights ...rbacv1.PolicyRule) (revoke func(context.Context)) {
	GinkgoHelper()
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	meta := metav1.ObjectMeta{Namespace: namespace, GenerateName: "of-one-spec-"}
	var role, binding client.Object
	if namespace == everyNamespace {
		role = create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rights})
		binding = create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: roleRef("ClusterRole", role.GetName())})
	} else {
		role = create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rights})
		binding = create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: roleRef("Role", role.GetName())})
	}
	eventuallyAllowed(ctx, user, namespace, rights, true)
	revoke = func(ctx context.Context) {
		GinkgoHelper()
		Expect(client.IgnoreNotFound(api.Delete(ctx, binding))).To(Succeed())
		Expect(client.IgnoreNotFound(api.Delete(ctx, role))).To(Succeed())
		eventuallyAllowed(ctx, user, namespace, rights, false)
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

// eventuallyAllowed waits until the API server grants the user each of the rights, or refuses each.
func eventuallyAllowed(ctx context.Context, user, namespace string, rights []rbacv1.PolicyRule, wanted bool) {
	GinkgoHelper()
	for _, right := range rights {
		for _, verb := range right.Verbs {
			Eventually(ctx, func(g Gomega) {
				review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: user,
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: namespace, Group: right.APIGroups[0], Resource: right.Resources[0], Verb: verb,
					},
				}}
				g.Expect(api.Create(ctx, review)).To(Succeed())
				g.Expect(review.Status.Allowed).To(Equal(wanted), "%s %s", verb, right.Resources[0])
			}).Should(Succeed())
		}
	}
}
