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
)

// The last two specs look into the audit log for what the others, which are
// every feature there is, had the operator ask for.
var _ = Describe("With exactly the rights that are shipped, the operator", Ordered, func() {
	const home, a, b = "rights-home", "rights-a", "rights-b"
	BeforeAll(func(ctx SpecContext) {
		for _, namespace := range []string{home, a, b} {
			create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}
		installKind(ctx, "monitoring.coreos.com", "v1alpha1", "AlertmanagerConfig", "alertmanagerconfigs")
		installKind(ctx, "external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
		// The leader has its watches begin with a stream of what there is. Older API servers do not know that: one that stands
		// by lists, as it would there.
		GinkgoT().Setenv("KUBE_FEATURE_WatchListClient", "false")
		DeferCleanup(startOperator(ctx, "lists").stop)
	})

	DescribeTable("copies, edits, repairs and clears up", func(ctx SpecContext, source *unstructured.Unstructured) {
		source = source.DeepCopy()
		source.SetNamespace(home)
		create(ctx, source)
		replika := replikaOf(source, a, b)
		if !slices.Contains([]string{"ConfigMap", "Secret"}, source.GetKind()) {
			sample := find[*v1alpha1.Replika](samples, "Replika", source.GetName())
			Expect(sample.Spec.Source).To(Equal(replika.Spec.Source), "the sample")
		}
		create(ctx, replika)
		eventuallySynced(ctx, replika, 2)

		updateObject(ctx, source, func() { source.SetLabels(map[string]string{"edited": "true"}) })
		eventuallyCopy(ctx, source, a, HaveField("GetLabels()", HaveKeyWithValue("edited", "true")))
		Expect(admin.Delete(ctx, copyIn(b, source))).To(Succeed())
		eventuallyCopy(ctx, source, b, HaveField("GetLabels()", HaveKeyWithValue("edited", "true")))

		deleteReplika(ctx, replika)
		eventuallyNone(ctx, source, a, b)
	},
		Entry("ConfigMaps", object(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"key": "value"}}`)),
		Entry("Secrets", object(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}, "stringData": {"key": "value"}}`)),
		Entry("NetworkPolicies", object(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "default-deny"},
			"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}`)),
		Entry("AlertmanagerConfigs", object(`{"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig",
			"metadata": {"name": "default-receivers"}, "spec": {"route": {"receiver": "team"}}}`)),
		Entry("ExternalSecrets", object(`{"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
			"metadata": {"name": "registry-credentials"}, "spec": {"refreshInterval": "1h"}}`)),
		Entry("Roles, with rights that it has itself", object(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
			"metadata": {"name": "configmap-reader"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}`)),
		Entry("RoleBindings, to a role that it may bind", object(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
			"metadata": {"name": "support-views"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "support"}]}`)),
	)

	It("makes copies anew that cannot be edited", func(ctx SpecContext) {
		source := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "immutable"}, Immutable: new(true), Data: map[string]string{"key": "old"},
		}
		create(ctx, source)
		replika := replikaOf(source, a)
		create(ctx, replika)
		eventuallySynced(ctx, replika, 1)
		Expect(admin.Delete(ctx, source)).To(Succeed())
		source.ResourceVersion, source.UID, source.Data = "", "", map[string]string{"key": "new"}
		create(ctx, source)
		eventuallyCopy(ctx, source, a, HaveField("Object", HaveKeyWithValue("data", HaveKeyWithValue("key", "new"))))
		deleteReplika(ctx, replika)
	})

	It("repairs the same copy again and again, and tells of it in one event", func(ctx SpecContext) {
		source := configMap(home, "drifting")
		create(ctx, source)
		replika := replikaOf(source, a)
		create(ctx, replika)
		eventuallySynced(ctx, replika, 1)
		patchesOfEvents := func() ([]cluster.AuditEvent, error) {
			return operatorRequests(func(e cluster.AuditEvent) bool { return e.Verb == "patch" && e.Resource == "events" })
		}
		Eventually(ctx, func(g Gomega) {
			meddled := copyIn(a, source).(*corev1.ConfigMap)
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(meddled), meddled)).To(Succeed())
			g.Expect(meddled.Data).To(Equal(source.Data))
			meddled.Data = map[string]string{"by": "hand"}
			g.Expect(admin.Update(ctx, meddled)).To(Succeed())
			g.Expect(patchesOfEvents()).NotTo(BeEmpty())
		}).Should(Succeed())
		deleteReplika(ctx, replika)
	})

	It("leaves alone, adopts and releases what others made", func(ctx SpecContext) {
		source, foreign := configMap(home, "contended"), configMap(a, "contended")
		foreign.Data = map[string]string{"other": "content"}
		create(ctx, source)
		create(ctx, foreign)
		replika := replikaOf(source, a, b)
		create(ctx, replika)
		Eventually(ctx, func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
			g.Expect(replika.Status.Failures).To(ConsistOf(HaveField("Reason", v1alpha1.FailureConflict)))
		}).Should(Succeed())

		updateObject(ctx, replika, func() { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt })
		eventuallySynced(ctx, replika, 2)
		updateObject(ctx, replika, func() { replika.Spec.Target.Namespaces.ExcludeFrom = []string{b} })
		eventuallyNone(ctx, source, b)
		deleteReplika(ctx, replika)
		eventuallyCopy(ctx, source, a, HaveField("GetAnnotations()", Not(HaveKey(v1alpha1.AnnotationOwner))))
	})

	It("hands over to a rival", func(ctx SpecContext) {
		source := configMap(home, "shared")
		create(ctx, source)
		first := replikaOf(source, a)
		second := first.DeepCopy()
		second.Name = "heir"
		create(ctx, first)
		eventuallySynced(ctx, first, 1)
		create(ctx, second)
		Eventually(ctx, func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(second), second)).To(Succeed())
			g.Expect(second.Status.Failures).To(ConsistOf(HaveField("Reason", v1alpha1.FailureConflict)))
		}).Should(Succeed())
		deleteReplika(ctx, first)
		eventuallySynced(ctx, second, 1)
		deleteReplika(ctx, second)
	})

	It("follows a source that goes, and a Replika that is suspended", func(ctx SpecContext) {
		source := configMap(home, "going")
		create(ctx, source)
		replika := replikaOf(source, a)
		replika.Spec.Synchronization.OnSourceDeletion = v1alpha1.SourceDeletionDelete
		create(ctx, replika)
		eventuallySynced(ctx, replika, 1)
		Expect(admin.Delete(ctx, source)).To(Succeed())
		eventuallyNone(ctx, source, a)
		updateObject(ctx, replika, func() { replika.Spec.Suspend = true })
		Eventually(ctx, func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(replika), replika)).To(Succeed())
			g.Expect(replika.Status.Conditions).To(ContainElement(HaveField("Reason", v1alpha1.ReasonSuspended)))
		}).Should(Succeed())
		deleteReplika(ctx, replika)
	})

	It("acts as a ServiceAccount", func(ctx SpecContext) {
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: copier}})
		for _, namespace := range []string{home, a} {
			bind(ctx, namespace, "edit", serviceAccount(home, copier))
		}
		source := configMap(home, "lent")
		create(ctx, source)
		replika := replikaOf(source, a)
		replika.Spec.ServiceAccountName = copier
		create(ctx, replika)
		eventuallySynced(ctx, replika, 1)
		deleteReplika(ctx, replika)
		eventuallyNone(ctx, source, a)
		Expect(operatorRequests(func(e cluster.AuditEvent) bool {
			return e.Resource == "configmaps" && e.Writes() && e.Name == source.Name && e.User != accountUser(home, copier)
		})).To(BeEmpty())
	})

	It("answers who may read its metrics", func(ctx SpecContext) {
		create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "scraper"}})
		allowMetrics(ctx, home, "scraper")
		status, _ := scrape(ctx, Default, leader.metrics, tokenOf(ctx, home, "scraper"), &tls.Config{InsecureSkipVerify: true})
		Expect(status).To(Equal(http.StatusOK))
	})

	It("asks for nothing that it may not have", func() {
		forbidden, err := operatorRequests(func(e cluster.AuditEvent) bool { return e.Code == http.StatusForbidden && e.User == operatorUser })
		Expect(err).NotTo(HaveOccurred())
		Expect(forbidden).To(BeEmpty())
	})

	It("has no right that it does not use", func() {
		used := map[permission]bool{}
		asked, err := operatorRequests(func(e cluster.AuditEvent) bool { return e.Code != http.StatusForbidden })
		Expect(err).NotTo(HaveOccurred())
		for _, event := range asked {
			for _, right := range requiredPermissions(event) {
				used[right] = true
			}
		}
		var unused []string
		for _, right := range append(permissionsIn(deployed), permissionsIn(samples)...) {
			if !used[right] {
				unused = append(unused, right.String())
			}
		}
		Expect(unused).To(BeEmpty())
	})
})

// right is one thing that a rule allows.
type permission struct{ verb, group, resource string }

func (r permission) String() string {
	return fmt.Sprintf("%s %s", r.verb, strings.TrimSuffix(r.resource+"."+r.group, "."))
}

// requests are the operator's, as itself or as somebody else, since the suite
// began.
func operatorRequests(keep cluster.Filter) ([]cluster.AuditEvent, error) {
	return controlPlane.AuditEvents(0, func(e cluster.AuditEvent) bool { return e.Sender == operatorUser }, keep)
}

// takes are the operator's rights by which the API server let a request pass.
func requiredPermissions(event cluster.AuditEvent) []permission {
	if event.User != event.Sender {
		return []permission{{verb: "impersonate", resource: "serviceaccounts"}}
	}
	resource := event.Resource
	if event.Subresource != "" {
		resource += "/" + event.Subresource
	}
	taken := []permission{{verb: event.Verb, group: event.Group, resource: resource}}
	if event.Verb == "create" && event.Group == rbacv1.GroupName && resource == "rolebindings" {
		// Not recorded as a request of its own. None of the bindings here is to a role whose rights the operator has.
		taken = append(taken, permission{verb: "bind", group: rbacv1.GroupName, resource: "clusterroles"})
	}
	return taken
}

// rightsIn are those that the manifests give to the operator: by a binding to
// its ServiceAccount, or by the label of the aggregating role.
func permissionsIn(m manifests) []permission {
	GinkgoHelper()
	var given []rbacv1.PolicyRule
	for _, object := range append(m.ofKind("Role"), m.ofKind("ClusterRole")...) {
		role := typed[*rbacv1.ClusterRole](object) // a Role has the same rules
		if role.Labels[aggregateLabel] == "true" || isBound(m, object.GetKind(), object.GetName()) {
			given = append(given, role.Rules...)
		}
	}
	var rights []permission
	for _, rule := range given {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, permission{verb: verb, group: group, resource: resource})
				}
			}
		}
	}
	return rights
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

// eventuallyAggregated waits until the operator has the rights of the labelled
// ClusterRole.
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
