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
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The source's kind", func() {
	DescribeTable("Should be any namespaced kind: it is copied and updated, and nothing is written while idle",
		func(ctx SpecContext, manifest, patch string, field ...string) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := kit.FromYAML(strings.Replace(manifest, "name: it", "namespace: "+f.namespace(ctx, "source")+", name: it", 1))
			create(ctx, source)
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			first := expect.Ready(ctx, api, replika, 2).Status.Source.ResourceVersion
			uid := read(ctx, source, a).GetUID()

			Expect(api.Patch(ctx, source, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
			wanted, found, err := unstructured.NestedFieldNoCopy(source.Object, field...)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeTrue(), "the patch sets the field")
			for _, namespace := range []string{a, b} {
				Eventually(ctx, func(g Gomega) {
					now, _, _ := unstructured.NestedFieldNoCopy(read(ctx, source, namespace).Object, field...)
					g.Expect(now).To(Equal(wanted))
				}).Should(Succeed())
			}
			expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
				g.Expect(now.Status.Source.ResourceVersion).NotTo(Equal(first), "the update is not in the status")
			})
			expect.Ready(ctx, api, replika, 2)
			Expect(read(ctx, source, a).GetUID()).To(Equal(uid), "an update does not re-create a copy")

			idle := markAudit()
			f.waitForReads(ctx, idle, source, 2)
			Expect(f.writes(idle)).To(BeEmpty())
		},
		Entry("LimitRange",
			`{apiVersion: v1, kind: LimitRange, metadata: {name: it}, spec: {limits: [{type: Pod, max: {cpu: 2000m}}]}}`,
			`{"spec": {"limits": [{"type": "Pod", "max": {"cpu": "3"}}]}}`, "spec"),
		Entry("CronJob",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: it}, spec: {schedule: "0 4 * * *", suspend: true, jobTemplate: {spec:
			  {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/c:1"}]}}}}}}`,
			`{"spec": {"schedule": "0 5 * * *"}}`, "spec", "schedule"),
		Entry("custom kind",
			`{apiVersion: `+playlistGroup+`/v1, kind: Playlist, metadata: {name: it}, spec: {matrix: [[1], [2, 3]]}}`,
			`{"spec": {"matrix": [[1], [3], []]}}`, "spec"),
	)

	DescribeTable("Should be waited for while it is not served",
		func(ctx SpecContext, group, version, kind string) {
			f := newFixture()
			source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
			replika := f.replika(ctx, source, kit.TargetNamespaces(f.namespace(ctx, "a")), kit.SourceKind(group, version, kind))
			waiting := expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
			Expect(kit.Ready(waiting).Message).To(ContainSubstring(kind))

			create(ctx, source)
			update(ctx, replika, kit.SourceKind("", "v1", "ConfigMap"))
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("unknown group", "no.example.com", "v1", "Thing"),
		Entry("unknown version", "", "v9", "ConfigMap"),
		Entry("unknown kind", "", "v1", "Thing"),
		Entry("resource name instead of a kind", "", "v1", "configmaps"),
	)

	It("Should be synced once it is installed, and reported when it is removed", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		kind := "Kind" + strings.ToUpper(f.id[:1]) + f.id[1:]
		source := playlistOf(kind, f.namespace(ctx, "source"), "late")
		replika := f.replika(ctx, kit.ConfigMap(source.GetNamespace(), source.GetName(), ""), kit.TargetNamespaces(a), kit.SourceKind(playlistGroup, "v1", kind))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)

		for range 2 { // it may be installed again
			definition := installCRD(ctx, kind, strings.ToLower(kind)+"s")
			DeferCleanup(deleteAndWait, definition)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
			create(ctx, source.DeepCopy())
			expect.Copied(ctx, api, source, a)
			expect.Ready(ctx, api, replika, 1)

			deleteAndWait(ctx, definition)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
		}
		deleteAndWait(ctx, replika)
	})

	DescribeTable("Should be refused",
		func(ctx SpecContext, group, version, kind, why string) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.SourceKind(group, version, kind))
			refused := expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotAllowed)
			Expect(kit.Ready(refused).Message).To(And(ContainSubstring(kind), ContainSubstring(why)))

			update(ctx, replika, kit.SourceKind("", "v1", "ConfigMap"))
			expect.Ready(ctx, api, replika, 1)
		},
		Entry("when it is cluster-scoped", "rbac.authorization.k8s.io", "v1", "ClusterRole", "cluster-scoped"),
		Entry("when it is a cluster-scoped core kind", "", "v1", "Node", "cluster-scoped"),
		Entry("when it is cluster-scoped and not stored", "authentication.k8s.io", "v1", "TokenReview", "cluster-scoped"),
		Entry("when it is not stored", "authorization.k8s.io", "v1", "LocalSubjectAccessReview", "get, list, patch, delete"),
		Entry("when it can only be created", "", "v1", "Binding", "get, list, patch, delete"),
	)

	It("Should be reported while the operator is not allowed to read it", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.FromYAML(fmt.Sprintf(
			`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: %s, name: it}, spec: {podSelector: {}}}`,
			f.namespace(ctx, "source"))))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		forbidden := expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		Expect(kit.Ready(forbidden).Message).To(ContainSubstring("networkpolicies.networking.k8s.io"))
		Expect(read(ctx, source, a)).To(BeNil())

		grantClusterWide(ctx, f.id, rbacv1.PolicyRule{
			APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
		})
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, replika) // while the operator has the permission
		expect.Gone(ctx, api, source, a)
	})

	It("Should be reported in namespaces where the operator is not allowed to write it", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, podTemplate(f.namespace(ctx, "source")))
		grantInNamespace(ctx, a, "podtemplates")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		failing := expect.Failures(ctx, api, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("podtemplates"))
		expect.Copied(ctx, api, source, a)

		grantInNamespace(ctx, b, "podtemplates")
		expect.Ready(ctx, api, replika, 2)
		deleteAndWait(ctx, replika) // while the operator has the permission
		expect.Gone(ctx, api, source, a, b)
	})
})

// podTemplate builds an object of a kind that the operator is allowed to read in all namespaces, and to write only where a
// spec grants it.
func podTemplate(namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	return kit.FromYAML(fmt.Sprintf(`{apiVersion: v1, kind: PodTemplate, metadata: {namespace: %s, name: it},
		template: {spec: {containers: [{name: c, image: "example.com/c:1"}]}}}`, namespace))
}

// grantClusterWide gives the operator a permission until the spec ends.
func grantClusterWide(ctx context.Context, name string, rule rbacv1.PolicyRule) {
	GinkgoHelper()
	role := create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}})
	DeferCleanup(deleteAndWait, role)
	binding := create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
	DeferCleanup(deleteAndWait, binding)
}

// grantInNamespace gives the operator all permissions on a core resource in one namespace.
func grantInNamespace(ctx context.Context, namespace, resource string) {
	GinkgoHelper()
	name := "operator-" + resource
	create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"*"}}},
	})
	create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
}
