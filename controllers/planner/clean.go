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

package planner

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// A copy must not have what belongs to one instance: the keys by which GitOps tools and other operators track their own
// objects (they would prune or overwrite the copies), and what controllers and the API server set per object. The tables
// below list all of it. They apply to source and copy alike, so that per-instance values never count as drift.

// The tables of labels and annotations that are not copied. An entry that ends in `*` is a prefix; an entry that begins with
// `*` is a suffix of the key's domain.

// trackingKeys are those by which tools and operators track the objects that they manage. A copy of the 2022 release has the
// ones of its source, and loses them when it is taken over.
var trackingKeys = []string{
	// kubectl: what was last applied to the source was never applied to the copy.
	"kubectl.kubernetes.io/last-applied-configuration",

	// Argo CD: tracking. The functional keys (secret-type, sync-wave, hooks) mean the same on a copy and are kept.
	"argocd.argoproj.io/tracking-id",
	"argocd.argoproj.io/installation-id",
	"argocd.argoproj.io/instance",
	"app.kubernetes.io/instance",

	// Flux and the Flux Operator label the objects that their controllers own, and prune by these labels. Requests to them
	// (reconcile.fluxcd.io/watch, fluxcd.controlplane.io/reconcileEvery) are kept.
	"*.toolkit.fluxcd.io/*",
	"fluxcd.controlplane.io/name",
	"fluxcd.controlplane.io/namespace",
	"*.fluxcd.controlplane.io/*",

	// Helm: objects that belong to a release. Helm refuses to install over them, or deletes them with the release.
	"meta.helm.sh/*",
	"helm.sh/*",
	"app.kubernetes.io/managed-by",

	// Sets of objects that are pruned together: ApplySet of kubectl, kapp, cli-utils, Config Sync, OLM, Rancher, the Istio
	// operator, Skaffold, Karmada. For OLM only the keys that name an owner or an original are stripped; olm.skipRange and
	// similar keys describe the object.
	"applyset.kubernetes.io/*",
	"kapp.k14s.io/*",
	"config.k8s.io/owning-inventory",
	"cli-utils.sigs.k8s.io/inventory-id",
	"configsync.gke.io/*",
	"configmanagement.gke.io/*",
	"olm.owner",
	"olm.owner.*",
	"olm.managed",
	"olm.copiedFrom",
	"olm.operatorframework.io/owner-*",
	"operators.coreos.com/*",
	"objectset.rio.cattle.io/*",
	"operator.istio.io/*",
	"install.operator.istio.io/*",
	"skaffold.dev/run-id",
	"*.karmada.io/*",
	"karmada.io/managed",
	"vcluster.loft.sh/*",

	// Velero: backup and restore records. The exclusion from backups is kept.
	"velero.io/backup-*",
	"velero.io/restore-*",
	"velero.io/schedule-name",

	// Ownership by the operators that create common sources: External Secrets, cert-manager, trust-manager, Vault Secrets
	// Operator, Sealed Secrets, the Secrets Store CSI driver. Requests to them are kept: external-secrets.io/type,
	// cert-manager.io/cluster-issuer on an Ingress, cert-manager.io/allow-direct-injection on a Secret. So are alt-names,
	// common-name, issuer-kind and similar keys: they are informative on a Secret, but requests on an Ingress.
	"reconcile.external-secrets.io/*",
	"cert-manager.io/certificate-name",
	"cert-manager.io/next-private-key",
	"controller.cert-manager.io/*",
	"trust.cert-manager.io/*",
	"secrets.hashicorp.com/vso-*",
	"sealedsecrets.bitnami.com/managed",
	"sealedsecrets.bitnami.com/patch",
	"secrets-store.csi.k8s.io/managed",

	// Sveltos. Its template annotations mean the same on a copy and are kept.
	"projectsveltos.io/owner-*",
	"projectsveltos.io/reference-*",
	"projectsveltos.io/hash",

	// Crossplane: composites, claims, and the external resource that an object manages. Two objects must not manage one.
	"crossplane.io/composite",
	"crossplane.io/claim-name",
	"crossplane.io/claim-namespace",
	"crossplane.io/composition-resource-name",
	"crossplane.io/external-name",

	// Our own keys: the template sets the labels and marks of a copy, and consent applies to the source only.
	v1alpha1.KeyPrefix + "*",
}

// replicatorKeys are those by which other replicators know sources and copies: reflector, kubernetes-replicator, config-syncer
// (its keys use its former name, kubed), Kyverno generate rules and HNC. They would copy the copies, or delete them. An adopted
// object loses them, too. The keys of cleanup.kyverno.io mean the same on a copy and are kept.
var replicatorKeys = []string{
	"reflector.v1.k8s.emberstack.com/*",
	"replicator.v1.mittwald.de/*",
	"kubed.appscode.com/*",
	"generate.kyverno.io/*",
	"policy.kyverno.io/*",
	"kyverno.io/*",
	"hnc.x-k8s.io/*",
	"*.hnc.x-k8s.io/*",
}

// cloneLabels are on the copies of those replicators that copy all labels and annotations of the source. These copies have the
// tracking keys of their source.
var cloneLabels = []string{
	"kubed.appscode.com/origin.name",
	"generate.kyverno.io/policy-name",
	"hnc.x-k8s.io/inherited-from",
}

// claimKeys are those by which an operator finds the objects that it created for one of its resources. It deletes or
// overwrites an object that has them and that it did not create. On a resource of the operator's own API group they are
// configuration, and kept: KafkaTopics name their cluster in strimzi.io/cluster.
var claimKeys = []string{
	"strimzi.io/*",
	"*.k8s.elastic.co/*",
	"cnpg.io/cluster",
	"cnpg.io/instanceName",
	"cnpg.io/operatorVersion",
	"cnpg.io/userType",
	"postgres-operator.crunchydata.com/*",
}

// instanceKeys hold the state that controllers store on one instance, and would overwrite on the copies. Configuration in
// the same domains is kept: volume.beta.kubernetes.io/storage-class, autoscaling.alpha.kubernetes.io/metrics and behavior,
// cloud.google.com/neg, service.beta.openshift.io/serving-cert-secret-name, purelb.io/service-group.
var instanceKeys = []string{
	// Kubernetes.
	"deployment.kubernetes.io/*",
	"deprecated.daemonset.template.generation",
	"batch.kubernetes.io/job-tracking",
	"batch.kubernetes.io/cronjob-scheduled-timestamp",
	"batch.kubernetes.io/controller-uid",
	"batch.kubernetes.io/job-name",
	"batch.kubernetes.io/job-completion-index",
	"pv.kubernetes.io/*",
	"volume.kubernetes.io/selected-node",
	"volume.kubernetes.io/storage-provisioner",
	"volume.kubernetes.io/storage-resizer",
	"volume.beta.kubernetes.io/storage-provisioner",
	"autoscaling.alpha.kubernetes.io/conditions",
	"autoscaling.alpha.kubernetes.io/current-metrics",
	"endpoints.kubernetes.io/*",
	"endpointslice.kubernetes.io/managed-by",
	"control-plane.alpha.kubernetes.io/leader",
	"pod-template-hash",
	"pod-template-generation",
	"controller-revision-hash",
	"statefulset.kubernetes.io/pod-name",
	"apps.kubernetes.io/pod-index",

	// Load balancers of Services: DigitalOcean, Vultr, Hetzner, Scaleway, Exoscale, OpenStack, Alibaba, Tencent, GKE, and
	// MetalLB, kube-vip, PureLB. Two Services must not share one.
	"kubernetes.digitalocean.com/load-balancer-id",
	"kubernetes.vultr.com/load-balancer-id",
	"load-balancer.hetzner.cloud/id",
	"load-balancer.hetzner.cloud/ipv4",
	"load-balancer.hetzner.cloud/ipv4-rdns",
	"load-balancer.hetzner.cloud/ipv6",
	"load-balancer.hetzner.cloud/ipv6-rdns",
	"service.beta.kubernetes.io/scw-loadbalancer-id",
	"k8s.scaleway.com/*",
	"service.beta.kubernetes.io/exoscale-loadbalancer-id",
	"loadbalancer.openstack.org/load-balancer-id",
	"loadbalancer.openstack.org/load-balancer-address",
	"service.beta.kubernetes.io/hash",
	"service.k8s.alibaba/loadbalancer-id",
	"service.kubernetes.io/loadbalance-id",
	"service.kubernetes.io/backend-service*",
	"service.kubernetes.io/firewall-rule*",
	"service.kubernetes.io/healthcheck*",
	"service.kubernetes.io/tcp-forwarding-rule*",
	"service.kubernetes.io/udp-forwarding-rule*",
	"service.kubernetes.io/l3-forwarding-rule*",
	"cloud.google.com/neg-status",
	"metallb.io/ip-allocated-from-pool",
	"metallb.universe.tf/ip-allocated-from-pool",
	"kube-vip.io/vipHost",
	"purelb.io/allocated-*",
	"purelb.io/announcing-*",

	// Ingresses and Routes: GKE, Rancher, F5, Avi, OpenShift.
	"ingress.kubernetes.io/backends",
	"ingress.kubernetes.io/forwarding-rule",
	"ingress.kubernetes.io/https-forwarding-rule",
	"ingress.kubernetes.io/target-proxy",
	"ingress.kubernetes.io/https-target-proxy",
	"ingress.kubernetes.io/url-map",
	"ingress.kubernetes.io/redirect-url-map",
	"ingress.kubernetes.io/ssl-cert",
	"ingress.kubernetes.io/static-ip",
	"field.cattle.io/publicEndpoints",
	"lifecycle.cattle.io/*",
	"status.virtual-server.f5.com/*",
	"ako.vmware.com/controller-cluster-uuid",
	"ako.vmware.com/host-fqdn-vs-uuid-map",
	"openshift.io/host.generated",

	// ServiceAccounts, Secrets and ImageStreams of OpenShift.
	"openshift.io/internal-registry-pull-secret-ref",
	"openshift.io/internal-registry-auth-token.*",
	"openshift.io/token-secret.*",
	"openshift.io/image.dockerRepositoryCheck",
	"service.alpha.openshift.io/expiry",
	"service.alpha.openshift.io/originating-*",
	"service.alpha.openshift.io/serving-cert-generation-error*",
	"service.alpha.openshift.io/serving-cert-signed-by",
	"service.beta.openshift.io/expiry",
	"service.beta.openshift.io/originating-*",
	"service.beta.openshift.io/serving-cert-generation-error*",
	"service.beta.openshift.io/serving-cert-signed-by",

	// Volumes: vSphere, CDI.
	"volumehealth.storage.kubernetes.io/*",
	"cns.vmware.com/pv-to-backingdiskobjectid-mapping",
	"cdi.kubevirt.io/ownedByDataVolume",
	"cdi.kubevirt.io/storage.condition.*",
	"cdi.kubevirt.io/storage.pod.*",
	"cdi.kubevirt.io/storage.populatedFor",

	// Custom resources of Argo Rollouts, Knative, Crossplane and Azure Service Operator, and what Argo Rollouts sets on the
	// Services that it switches.
	"argo-rollouts.argoproj.io/managed-by-rollouts",
	"rollout.argoproj.io/*",
	"serving.knative.dev/creator",
	"serving.knative.dev/lastModifier",
	"eventing.knative.dev/creator",
	"eventing.knative.dev/lastModifier",
	"messaging.knative.dev/creator",
	"messaging.knative.dev/lastModifier",
	"crossplane.io/external-create-*",
	"serviceoperator.azure.com/latest-reconciled-generation",
	"serviceoperator.azure.com/operator-namespace",
	"serviceoperator.azure.com/owner-*",
	"serviceoperator.azure.com/poller-resume-*",
	"serviceoperator.azure.com/resource-id",
}

// instanceFields are the fields inside the content that the API server or a controller sets per object, by kind.
// `*` matches every item of a list. A kind in this table is updated by merging, see [HasInstanceFields].
var instanceFields = map[schema.GroupKind][]string{
	{Kind: "Service"}: {
		"spec.clusterIPs", "spec.clusterIP", "spec.healthCheckNodePort", "spec.ports.*.nodePort",
	},
	{Kind: "PersistentVolumeClaim"}:              {"spec.volumeName"},
	serviceAccountKind:                           {"secrets"},
	{Kind: "Pod"}:                                {"spec.nodeName"},
	{Group: "route.openshift.io", Kind: "Route"}: {"spec.host"},
	{Group: "batch", Kind: "Job"}: {
		"spec.selector",
		"spec.template.metadata.labels.controller-uid",
		"spec.template.metadata.labels.job-name",
		"spec.template.metadata.labels.batch.kubernetes.io/controller-uid",
		"spec.template.metadata.labels.batch.kubernetes.io/job-name",
		"spec.template.metadata.creationTimestamp",
	},
}

// Cleaner removes from an object what belongs to one instance only.
type Cleaner struct {
	// tracking are the trackingKeys, the replicatorKeys and the additional ones of the administrator.
	tracking []string
}

// NewCleaner returns a Cleaner for the built-in tables and the administrator's additional keys, which have the same syntax.
func NewCleaner(extraKeys ...string) *Cleaner {
	return &Cleaner{tracking: slices.Concat(trackingKeys, replicatorKeys, extraKeys)}
}

// HasInstanceFields reports whether the content of the kind's objects includes per-instance fields. A top-level field of
// such an object cannot be replaced as a whole, because its per-instance values must be kept.
func HasInstanceFields(kind schema.GroupKind) bool {
	_, found := instanceFields[kind]
	return found
}

// Keys returns the labels or annotations of an object of the kind without those that belong to one instance. The given map
// is not changed.
func (c *Cleaner) Keys(kind schema.GroupKind, keys map[string]string) map[string]string {
	cleaned := maps.Clone(keys)
	maps.DeleteFunc(cleaned, func(key, _ string) bool { return c.tracks(kind, key) || matchesAny(instanceKeys, key) })
	return cleaned
}

// tracks reports whether a tool or another operator finds the objects that it manages by the label or annotation.
func (c *Cleaner) tracks(kind schema.GroupKind, key string) bool {
	return matchesAny(c.tracking, key) ||
		slices.ContainsFunc(claimKeys, func(rule string) bool { return matchesKey(rule, key) && !isGroupOf(rule, kind) })
}

// isGroupOf reports whether the kind belongs to the operator that uses the keys of the rule.
func isGroupOf(rule string, kind schema.GroupKind) bool {
	domain, _, _ := strings.Cut(strings.TrimPrefix(rule, "*."), "/")
	return kind.Group == domain || strings.HasSuffix(kind.Group, "."+domain)
}

// Content returns the object's content: every top-level field but apiVersion, kind, metadata and status, without null
// fields and per-instance ones. The object itself is not changed.
func (c *Cleaner) Content(kind schema.GroupKind, object map[string]any) map[string]any {
	content := map[string]any{}
	for field, value := range object {
		switch field {
		case "apiVersion", "kind", "metadata", "status":
		default:
			if value != nil {
				content[field] = value
			}
		}
	}
	if kind == serviceAccountKind {
		removeGeneratedPullSecrets(content)
	}
	if isSetByUser(kind, object) {
		return content
	}
	for _, path := range instanceFields[kind] {
		content = removePath(content, splitPath(path)).(map[string]any)
	}
	return content
}

// isSetByUser reports whether a user set the instanceFields of an object of a kind where that is an exception: the selector
// of a Job, or the host of a Route.
func isSetByUser(kind schema.GroupKind, object map[string]any) bool {
	switch kind {
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		manual, _, _ := unstructured.NestedFieldNoCopy(object, "spec", "manualSelector")
		return manual == true
	case schema.GroupKind{Group: "route.openshift.io", Kind: "Route"}:
		generated, _, _ := unstructured.NestedFieldNoCopy(object, "metadata", "annotations", "openshift.io/host.generated")
		return generated != "true"
	default:
		return false
	}
}

func matchesAny(rules []string, key string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool { return matchesKey(rule, key) })
}

// matchesKey reports whether a label or annotation key matches a rule of the table.
func matchesKey(rule, key string) bool {
	switch {
	case strings.HasPrefix(rule, "*"):
		// "*.toolkit.fluxcd.io/*": any subdomain.
		domain, _, found := strings.Cut(key, "/")
		return found && strings.HasSuffix(domain, strings.TrimSuffix(rule[1:], "/*"))
	case strings.HasSuffix(rule, "*"):
		return strings.HasPrefix(key, strings.TrimSuffix(rule, "*"))
	default:
		return key == rule
	}
}

// removePath returns the value without the field at the path. Maps and lists along the path are copied, not changed.
func removePath(value any, path []string) any {
	switch typed := value.(type) {
	case map[string]any:
		child, found := typed[path[0]]
		if !found || (len(path) == 1 && child == headless) {
			return typed
		}
		cleaned := maps.Clone(typed)
		if len(path) == 1 {
			delete(cleaned, path[0])
		} else {
			cleaned[path[0]] = removePath(child, path[1:])
		}
		return cleaned
	case []any:
		if path[0] != "*" || len(path) == 1 {
			return typed
		}
		cleaned := make([]any, len(typed))
		for i, item := range typed {
			cleaned[i] = removePath(item, path[1:])
		}
		return cleaned
	default:
		return value
	}
}

// headless is the only cluster IP that is configuration, not set per instance, so it is copied.
const headless = "None"

// splitPath splits a path at its dots. A label key, which is always the last segment, is not split.
func splitPath(path string) []string {
	head, key, found := strings.Cut(path, ".labels.")
	if !found {
		return strings.Split(path, ".")
	}
	return append(strings.Split(head, "."), "labels", key)
}
