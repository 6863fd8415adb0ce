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
	"fmt"
	"net/http"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// These specs use every feature. The last two check the operator's requests in the audit log.
var _ = Describe("With exactly the permissions of the manifests, the operator", Ordered, func() {
	const sources, a, b = "permissions-sources", "permissions-a", "permissions-b"
	BeforeAll(func(ctx SpecContext) {
		for _, namespace := range []string{sources, a, b} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		installKind(ctx, "monitoring.coreos.com", "v1alpha1", "AlertmanagerConfig", "alertmanagerconfigs")
		installKind(ctx, "external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
		// The leader's watches start with a stream of the existing objects. API servers without this feature need lists, so this
		// standby uses lists.
		GinkgoT().Setenv("KUBE_FEATURE_WatchListClient", "false")
		DeferCleanup(startOperator(ctx, "with-lists").stop)
	})

	DescribeTable("replicates, updates, repairs and deletes copies of", func(ctx SpecContext, source *unstructured.Unstructured) {
		source = source.DeepCopy()
		source.SetNamespace(sources)
		create(ctx, source)
		replika := newReplika(source, a, b)
		if !slices.Contains([]string{"ConfigMap", "Secret"}, source.GetKind()) {
			sample := find[*v1alpha1.Replika](samples, "Replika", source.GetName())
			sample.Spec.Source.Namespace = source.GetNamespace() // the samples leave the default
			Expect(sample.Spec.Source).To(Equal(replika.Spec.Source), "the sample")
		}
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 2)

		expect.Update(ctx, admin, source, func(source *unstructured.Unstructured) {
			source.SetLabels(map[string]string{"edited": "true"})
		})
		eventuallyCopy(ctx, source, a, HaveField("GetLabels()", HaveKeyWithValue("edited", "true")))
		Expect(admin.Delete(ctx, kit.CopyIn(b, source))).To(Succeed())
		eventuallyCopy(ctx, source, b, HaveField("GetLabels()", HaveKeyWithValue("edited", "true")))

		deleteReplika(ctx, replika)
		expect.Gone(ctx, admin, source, a, b)
	},
		Entry("ConfigMaps", kit.FromYAML(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"key": "value"}}`)),
		Entry("Secrets", kit.FromYAML(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}, "stringData": {"key": "value"}}`)),
		Entry("NetworkPolicies", kit.FromYAML(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "default-deny"},
			"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}`)),
		Entry("AlertmanagerConfigs", kit.FromYAML(`{"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig",
			"metadata": {"name": "default-receivers"}, "spec": {"route": {"receiver": "team"}}}`)),
		Entry("ExternalSecrets", kit.FromYAML(`{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
			"metadata": {"name": "registry-credentials"}, "spec": {"refreshInterval": "1h"}}`)),
		Entry("Roles, with permissions that it has itself", kit.FromYAML(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
			"metadata": {"name": "configmap-reader"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}`)),
		Entry("RoleBindings, to a role that it can bind", kit.FromYAML(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
			"metadata": {"name": "support-views"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "support"}]}`)),
	)

	It("recreates copies that are immutable", func(ctx SpecContext) {
		source := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: sources, Name: "immutable"}, Immutable: new(true), Data: map[string]string{"key": "old"},
		}
		create(ctx, source)
		replika := newReplika(source, a)
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 1)
		Expect(admin.Delete(ctx, source)).To(Succeed())
		source.ResourceVersion, source.UID, source.Data = "", "", map[string]string{"key": "new"}
		create(ctx, source)
		eventuallyCopy(ctx, source, a, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("key", "new"))))
		deleteReplika(ctx, replika)
	})

	It("repairs the same copy repeatedly, and counts the repairs in one event", func(ctx SpecContext) {
		source := configMap(sources, "drifting")
		create(ctx, source)
		replika := newReplika(source, a)
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 1)
		eventPatches := func() ([]cluster.AuditEvent, error) {
			return operatorRequests(func(e cluster.AuditEvent) bool { return e.Verb == "patch" && e.Resource == "events" })
		}
		Eventually(ctx, func(g Gomega) {
			drifted := kit.CopyIn(a, source)
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(drifted), drifted)).To(Succeed())
			g.Expect(drifted.Data).To(Equal(source.Data))
			g.Expect(kit.Update(ctx, admin, drifted, func(drifted *corev1.ConfigMap) {
				drifted.Data = map[string]string{"changed": "by a user"}
			})).To(Succeed())
			g.Expect(eventPatches()).NotTo(BeEmpty())
		}).Should(Succeed())
		deleteReplika(ctx, replika)
	})

	It("reports, adopts and releases foreign objects", func(ctx SpecContext) {
		source, foreign := configMap(sources, "conflicting"), configMap(a, "conflicting")
		foreign.Data = map[string]string{"other": "content"}
		create(ctx, source)
		create(ctx, foreign)
		replika := newReplika(source, a, b)
		create(ctx, replika)
		eventuallyFailed(ctx, replika, a, v1alpha1.FailureConflict)

		expect.Update(ctx, admin, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt })
		expect.Ready(ctx, admin, replika, 2)
		expect.Update(ctx, admin, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ExcludeFrom = []string{b} })
		expect.Gone(ctx, admin, source, b)
		deleteReplika(ctx, replika)
		eventuallyCopy(ctx, source, a, HaveField("GetAnnotations()", Not(HaveKey(v1alpha1.AnnotationOwner))))
	})

	It("hands copies over to another Replika", func(ctx SpecContext) {
		source := configMap(sources, "shared")
		create(ctx, source)
		first := newReplika(source, a)
		second := first.DeepCopy()
		second.Name = "second"
		create(ctx, first)
		expect.Ready(ctx, admin, first, 1)
		create(ctx, second)
		eventuallyFailed(ctx, second, a, v1alpha1.FailureConflict)
		deleteReplika(ctx, first)
		expect.Ready(ctx, admin, second, 1)
		deleteReplika(ctx, second)
	})

	It("deletes the copies with the source, and suspends", func(ctx SpecContext) {
		source := configMap(sources, "deleted")
		create(ctx, source)
		replika := newReplika(source, a)
		replika.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 1)
		Expect(admin.Delete(ctx, source)).To(Succeed())
		expect.Gone(ctx, admin, source, a)
		expect.Update(ctx, admin, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonSuspended)
		deleteReplika(ctx, replika)
	})

	It("impersonates a ServiceAccount", func(ctx SpecContext) {
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: sources, Name: copier}})
		for _, namespace := range []string{sources, a} {
			bind(ctx, namespace, "edit", serviceAccount(sources, copier))
		}
		source := configMap(sources, "impersonated")
		create(ctx, source)
		replika := newReplika(source, a)
		replika.Spec.ServiceAccountName = copier
		create(ctx, replika)
		expect.Ready(ctx, admin, replika, 1)
		deleteReplika(ctx, replika)
		expect.Gone(ctx, admin, source, a)
		Expect(operatorRequests(func(e cluster.AuditEvent) bool {
			return e.Resource == "configmaps" && e.Writes() && e.Name == source.Name && e.User != accountUser(sources, copier)
		})).To(BeEmpty())
	})

	It("authorizes readers of its metrics", func(ctx SpecContext) {
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: sources, Name: "scraper"}})
		allowMetrics(ctx, sources, "scraper")
		token := tokenOf(ctx, sources, "scraper")
		Eventually(ctx, func(g Gomega) {
			status, _ := scrape(ctx, g, leader.metrics, token, &tls.Config{InsecureSkipVerify: true})
			g.Expect(status).To(Equal(http.StatusOK))
		}).Should(Succeed())
	})

	It("sends no request that is forbidden", func() {
		forbidden, err := operatorRequests(func(e cluster.AuditEvent) bool { return e.Code == http.StatusForbidden && e.User == operatorUser })
		Expect(err).NotTo(HaveOccurred())
		Expect(forbidden).To(BeEmpty())
	})

	It("uses all of its permissions", func() {
		used := map[permission]bool{}
		accepted, err := operatorRequests(func(e cluster.AuditEvent) bool { return e.Code != http.StatusForbidden })
		Expect(err).NotTo(HaveOccurred())
		for _, event := range accepted {
			for _, permission := range requiredPermissions(event) {
				used[permission] = true
			}
		}
		var unused []string
		for _, permission := range append(permissionsIn(deployed), permissionsIn(samples)...) {
			if !used[permission] {
				unused = append(unused, permission.String())
			}
		}
		Expect(unused).To(BeEmpty())
	})
})

// permission is one combination of verb and resource in a rule.
type permission struct{ verb, group, resource string }

func (p permission) String() string {
	return fmt.Sprintf("%s %s", p.verb, strings.TrimSuffix(p.resource+"."+p.group, "."))
}

// operatorRequests returns the requests of the operator's process since the start of the suite, with and without impersonation.
// Specs that use its token send others.
func operatorRequests(keep cluster.Filter) ([]cluster.AuditEvent, error) {
	return env.AuditEvents(0, func(e cluster.AuditEvent) bool {
		return e.Sender == operatorUser && strings.HasPrefix(e.UserAgent, "replika/")
	}, keep)
}

// requiredPermissions returns the operator's permissions that a request needs.
func requiredPermissions(event cluster.AuditEvent) []permission {
	if event.User != event.Sender {
		return []permission{{verb: "impersonate", resource: "serviceaccounts"}}
	}
	resource := event.Resource
	if event.Subresource != "" {
		resource += "/" + event.Subresource
	}
	required := []permission{{verb: event.Verb, group: event.Group, resource: resource}}
	if event.Verb == "create" && event.Group == rbacv1.GroupName && resource == "rolebindings" {
		// The API server checks "bind" without an audit event, unless the operator has all permissions of the role. For no
		// binding here it has them.
		required = append(required, permission{verb: "bind", group: rbacv1.GroupName, resource: "clusterroles"})
	}
	return required
}

// permissionsIn returns the permissions that the manifests grant the operator: by a binding to its ServiceAccount, or by the
// label of the aggregated role.
func permissionsIn(m manifests) []permission {
	GinkgoHelper()
	var rules []rbacv1.PolicyRule
	for _, object := range append(m.ofKind("Role"), m.ofKind("ClusterRole")...) {
		role := typed[*rbacv1.ClusterRole](object) // a Role has the same rules
		if role.Labels[aggregateLabel] == "true" || isBound(m, object.GetKind(), object.GetName()) {
			rules = append(rules, role.Rules...)
		}
	}
	var permissions []permission
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					permissions = append(permissions, permission{verb: verb, group: group, resource: resource})
				}
			}
		}
	}
	return permissions
}

func isBound(m manifests, kind, name string) bool {
	GinkgoHelper()
	for _, object := range append(m.ofKind("RoleBinding"), m.ofKind("ClusterRoleBinding")...) {
		binding := typed[*rbacv1.ClusterRoleBinding](object)
		if binding.RoleRef.Kind == kind && binding.RoleRef.Name == name &&
			slices.Contains(binding.Subjects, serviceAccount(operatorNamespace, operatorAccount)) {
			return true
		}
	}
	return false
}

// eventuallyAggregated waits until the operator has the permissions of the labelled ClusterRole.
func eventuallyAggregated(ctx context.Context, role *unstructured.Unstructured) {
	GinkgoHelper()
	rules := typed[*rbacv1.ClusterRole](role).Rules
	Eventually(ctx, func() []rbacv1.PolicyRule { return rulesOf(ctx, aggregatedRole) }).Should(ContainElements(rules))
	for _, rule := range rules {
		if len(rule.ResourceNames) == 0 {
			eventuallyAllowedToReplicate(ctx, resourceOf(rule))
		}
	}
}
