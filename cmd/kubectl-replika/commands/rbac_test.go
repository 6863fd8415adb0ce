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

package commands

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
)

// apply creates the objects of a manifest, as kubectl does.
func apply(ctx context.Context, manifest string) {
	GinkgoHelper()
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(object)
		if errors.Is(err, io.EOF) {
			return
		}
		Expect(err).NotTo(HaveOccurred())
		strict := client.WithFieldValidation(admin, metav1.FieldValidationStrict)
		expect.CreateForAttempt(ctx, strict, object)
	}
}

// manifestRole reads a role of the operator.
func manifestRole(folder, name string) *rbacv1.ClusterRole {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "config", folder, name))
	Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	Expect(k8syaml.UnmarshalStrict(content, role)).To(Succeed())
	return role
}

// startRestrictedOperator starts an operator with the permissions of the manifests, except those on kinds to replicate, and with what is
// aggregated to it. Until the spec ends, it takes the place of the operator of the suite.
func startRestrictedOperator(ctx context.Context, user string) {
	GinkgoHelper()
	base, aggregated := manifestRole("rbac", "role.yaml"), manifestRole("rbac", "aggregated_role.yaml")
	impersonation := manifestRole("impersonation", "role.yaml")
	base.Name, aggregated.Name, impersonation.Name = user, user+"-aggregated", user+"-impersonation"
	base.Rules = base.Rules[1:]
	for _, role := range []*rbacv1.ClusterRole{base, aggregated, impersonation} {
		expect.CreateForAttempt(ctx, admin, role)
		expect.CreateForAttempt(ctx, admin, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		})
	}
	Expect(leader.Pause()).To(Succeed())
	DeferCleanup(func() { Expect(leader.Resume()).To(Succeed()) })
	access, err := env.User(user)
	Expect(err).NotTo(HaveOccurred())
	options, err := env.Options(user, access)
	Expect(err).NotTo(HaveOccurred())
	restricted, err := operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(restricted.Stop()).To(Succeed()) })
	Eventually(restricted.Ready).Should(Succeed())
}

var _ = Describe("rbac", func() {
	It("prints the permissions with which an operator that has no others serves the Replikas", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "rbac-operator", 1)
		home := f.SourceNamespace
		policy := expect.Create(ctx, admin, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "deny"}})
		password := expect.Create(ctx, admin, kit.Secret(home, "password", "secret"))
		expect.Create(ctx, admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "copier"}})
		startRestrictedOperator(ctx, f.Name)
		settings, deny := f.CreateReplika(f.CreateSource("settings")), f.CreateReplika(policy)
		asAccount := f.CreateReplika(password, func(replika *v1alpha1.Replika) { replika.Spec.ServiceAccountName = "copier" })
		expect.Reason(ctx, admin, settings, v1alpha1.ReasonForbidden)
		expect.Reason(ctx, admin, deny, v1alpha1.ReasonForbidden)

		printed := succeed(ctx, "rbac", "-n", home)
		Expect(printed).To(Equal(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels:
    rbac.replika.prosimcorp.com/aggregate-to-manager: "true"
  name: replika-replicated-kinds
rules:
- apiGroups:
  - ""
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - ""
  resources:
  - secrets
  verbs:
  - list
  - watch
  - patch
  - delete
- apiGroups:
  - networking.k8s.io
  resources:
  - networkpolicies
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
`))
		Expect(succeed(ctx, "rbac", "deny", "-n", home)).NotTo(ContainSubstring("configmaps"))
		apply(ctx, printed)
		apply(ctx, succeed(ctx, "rbac", "password", "-n", home, "--for-service-account"))
		DeferCleanup(func(ctx SpecContext) {
			expect.Delete(ctx, admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: operatorRoleName}})
		})
		expect.Ready(ctx, admin, settings, 1)
		expect.Ready(ctx, admin, deny, 1)
		expect.Ready(ctx, admin, asAccount, 1)
		// The operator sees a copy that somebody deletes, and puts it back as the account.
		Expect(admin.Delete(ctx, kit.CopyIn(f.TargetNamespaces[0], password))).To(Succeed())
		expect.Copied(ctx, admin, password, f.TargetNamespaces...)
		f.DeleteReplikas()
		expect.Gone(ctx, admin, policy, f.TargetNamespaces...)
		expect.Gone(ctx, admin, password, f.TargetNamespaces...)
	})

	DescribeTable("prints the permissions with which a ServiceAccount that has no others serves a Replika",
		func(ctx SpecContext, name string, change kit.ReplikaOption, kinds []string) {
			f := e2e.NewFixture(admin, name, 2)
			account := expect.Create(ctx, admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.SourceNamespace, Name: "copier"}})
			replika := f.CreateReplika(f.CreateSource("settings"), kit.TargetNamespaces(f.TargetNamespaces...), change,
				func(replika *v1alpha1.Replika) { replika.Spec.ServiceAccountName = account.Name })
			expect.Reason(ctx, admin, replika, v1alpha1.ReasonForbidden)
			printed := succeed(ctx, "rbac", "settings", "-n", f.SourceNamespace, "--for-service-account")
			apply(ctx, printed)
			expect.Ready(ctx, admin, replika, 2)
			Expect(kindsIn(printed)).To(Equal(kinds))
			f.DeleteReplikas()
		},
		Entry("with targets by name", "rbac-names", func(*v1alpha1.Replika) {},
			[]string{"Role", "RoleBinding", "Role", "RoleBinding", "Role", "RoleBinding"}),
		Entry("with targets by a glob", "rbac-glob", func(replika *v1alpha1.Replika) {
			targets := &replika.Spec.Target.Namespaces
			targets.ReplicateIn = []string{targets.ReplicateIn[0][:len(targets.ReplicateIn[0])-1] + "*"}
		}, []string{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}),
		Entry("with many sources", "rbac-many", func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Source.Names = "", []string{"sett*"}
		}, []string{"Role", "RoleBinding", "Role", "RoleBinding", "Role", "RoleBinding"}),
	)

	It("says which Replikas it leaves out", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "rbac-left-out", 0)
		home := f.SourceNamespace
		unknown := f.CreateReplika(kit.ConfigMap(home, "unknown", ""), func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Group, replika.Spec.Source.Kind = "example.com", "Unknown"
		})
		f.CreateReplika(kit.ConfigMap(home, "node", ""), func(replika *v1alpha1.Replika) { replika.Spec.Source.Kind = "Node" })
		f.CreateReplika(kit.ConfigMap(home, "settings", ""))
		result := run(ctx, "rbac", "-n", home)
		Expect(result.code).To(Equal(exitOK))
		Expect(result.errOut).To(And(
			ContainSubstring("Replika "+home+"/unknown is left out: the API server does not serve kind Unknown in example.com/v1.\n"),
			ContainSubstring("Replika "+home+"/node is left out: kind Node is cluster-scoped, and only objects in namespaces are copied.\n")))
		Expect(result.out).To(ContainSubstring("configmaps"))
		result = run(ctx, "rbac", "settings", "-n", home, "--for-service-account")
		Expect(result.out).To(BeEmpty())
		Expect(result.errOut).To(ContainSubstring("Replika " + home + "/settings is left out: it has no ServiceAccount.\n"))
		Expect(run(ctx, "rbac", "-n", "default").errOut).To(Equal("There are no Replikas here.\n"))
		Expect(fail(ctx, "rbac", "settings", "-A")).To(ContainSubstring("exclude each other"))
		Expect(fail(ctx, "rbac", "nothing", "-n", home)).To(ContainSubstring("there is no Replika nothing"))
		expect.Reason(ctx, admin, unknown, v1alpha1.ReasonKindNotFound)
	})
})

// kindsIn lists the kinds in a manifest.
func kindsIn(manifest string) []string {
	GinkgoHelper()
	var kinds []string
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(object)
		if errors.Is(err, io.EOF) {
			return kinds
		}
		Expect(err).NotTo(HaveOccurred())
		kinds = append(kinds, object.GetKind())
	}
}

var _ = DescribeTable("Rules",
	func(add func(permissions), want []rbacv1.PolicyRule) {
		needed := permissions{}
		add(needed)
		Expect(needed.rules()).To(Equal(want))
	},
	Entry("merge resources with the same verbs", func(p permissions) {
		p.add(schema.GroupResource{Resource: "secrets"}, copyVerbs, "")
		p.add(schema.GroupResource{Resource: "configmaps"}, copyVerbs, "")
		p.add(schema.GroupResource{Group: "apps", Resource: "deployments"}, copyVerbs, "")
	}, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, Verbs: copyVerbs},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: copyVerbs},
	}),
	Entry("merge objects, and leave out those that all objects include", func(p permissions) {
		p.add(schema.GroupResource{Resource: "secrets"}, sourceVerbs, "b")
		p.add(schema.GroupResource{Resource: "secrets"}, sourceVerbs, "a")
		p.add(schema.GroupResource{Resource: "configmaps"}, sourceVerbs, "c")
		p.add(schema.GroupResource{Resource: "configmaps"}, manySourcesVerbs, "")
	}, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"a", "b"}, Verbs: sourceVerbs},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: manySourcesVerbs},
	}),
)
