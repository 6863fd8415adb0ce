package planner

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// A copy must not carry what belongs to one instance: what tells a GitOps tool or another operator "this object is
// mine" (they would prune or fight the copies), and what controllers and the API server fill in per object. The tables
// below name all of it. They are applied to source and copy alike, so that neither side's own values look like drift.

// foreignKeys are the labels and annotations that come off. An entry that ends in `*` is a prefix; one that begins with
// `*` is a suffix of the key's domain.
var foreignKeys = []string{
	// kubectl: what was last applied to the source was never applied to the copy.
	"kubectl.kubernetes.io/last-applied-configuration",

	// Argo CD's tracking; its functional keys (secret-type, sync-wave, hooks) mean the same on a copy and stay.
	"argocd.argoproj.io/tracking-id",
	"argocd.argoproj.io/installation-id",
	"argocd.argoproj.io/instance",
	"app.kubernetes.io/instance",

	// Flux marks what each of its controllers owns, and prunes by it; the Flux Operator does likewise. What asks either
	// for something (reconcile.fluxcd.io/watch, fluxcd.controlplane.io/reconcileEvery) stays.
	"*.toolkit.fluxcd.io/*",
	"fluxcd.controlplane.io/name",
	"fluxcd.controlplane.io/namespace",
	"*.fluxcd.controlplane.io/*",

	// Helm refuses to install over, or deletes, what these claim for a release.
	"meta.helm.sh/*",
	"helm.sh/*",
	"app.kubernetes.io/managed-by",

	// Sets of objects that are pruned together: kubectl's ApplySet, kapp, cli-utils, Config Sync, OLM, Rancher. Of OLM's
	// own keys only those that name an owner or an original; olm.skipRange and the like describe the object.
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

	// Backup and restore bookkeeping of Velero; what asks to be left out of a backup stays.
	"velero.io/backup-*",
	"velero.io/restore-*",
	"velero.io/schedule-name",

	// Ownership by the operators that make the usual sources: External Secrets, cert-manager and its trust-manager,
	// Vault Secrets, Sealed Secrets. What one asks of them on any object stays: external-secrets.io/type,
	// cert-manager.io/cluster-issuer on an Ingress, cert-manager.io/allow-direct-injection on a Secret; and so do
	// alt-names, common-name, issuer-kind and the like, which describe a Secret but instruct on an Ingress.
	"reconcile.external-secrets.io/*",
	"cert-manager.io/certificate-name",
	"cert-manager.io/next-private-key",
	"controller.cert-manager.io/*",
	"trust.cert-manager.io/*",
	"secrets.hashicorp.com/vso-*",
	"sealedsecrets.bitnami.com/managed",
	"sealedsecrets.bitnami.com/patch",

	// Other replicators would copy the copies, or delete them: reflector, kubernetes-replicator, config-syncer (whose
	// keys still bear its first name, kubed), Kyverno's generate rules, HNC, Sveltos. Kyverno's cleanup.kyverno.io and
	// Sveltos's template annotations mean the same on a copy and stay.
	"reflector.v1.k8s.emberstack.com/*",
	"replicator.v1.mittwald.de/*",
	"kubed.appscode.com/*",
	"generate.kyverno.io/*",
	"policy.kyverno.io/*",
	"kyverno.io/*",
	"hnc.x-k8s.io/*",
	"*.hnc.x-k8s.io/*",
	"projectsveltos.io/owner-*",
	"projectsveltos.io/reference-*",
	"projectsveltos.io/hash",

	// What controllers keep on one instance, and would write over the copies' again. Instructions of the same domains
	// stay: volume.beta.kubernetes.io/storage-class, autoscaling.alpha.kubernetes.io/metrics and behavior, cloud.google.com/neg.
	"deployment.kubernetes.io/*",
	"deprecated.daemonset.template.generation",
	"batch.kubernetes.io/job-tracking",
	"batch.kubernetes.io/cronjob-scheduled-timestamp",
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
	"field.cattle.io/publicEndpoints",
	"cloud.google.com/neg-status",

	// Our own: a copy's labels and marks are put on it anew, and consent is the source's alone.
	v1alpha1.KeyPrefix + "*",
}

// instanceFields are the fields inside content that the API server or a controller fills in per object, by kind.
// `*` stands for every item of a list. A kind in this table is updated by merging, see [HasInstanceFields].
var instanceFields = map[schema.GroupKind][]string{
	{Kind: "Service"}: {
		"spec.clusterIPs", "spec.clusterIP", "spec.healthCheckNodePort", "spec.ports.*.nodePort",
	},
	{Kind: "PersistentVolumeClaim"}: {"spec.volumeName"},
	{Kind: "ServiceAccount"}:        {"secrets"},
	{Kind: "Pod"}:                   {"spec.nodeName"},
	{Group: "batch", Kind: "Job"}: {
		"spec.selector",
		"spec.template.metadata.labels.controller-uid",
		"spec.template.metadata.labels.job-name",
		"spec.template.metadata.labels.batch.kubernetes.io/controller-uid",
		"spec.template.metadata.labels.batch.kubernetes.io/job-name",
		"spec.template.metadata.creationTimestamp",
	},
}

// Cleaner takes off an object what belongs to one instance only.
type Cleaner struct {
	keys []string
}

// NewCleaner returns a Cleaner with the built-in table and the administrator's own keys; in these, as in the table, a
// trailing `*` makes a prefix.
func NewCleaner(extraKeys ...string) *Cleaner {
	return &Cleaner{keys: slices.Concat(foreignKeys, extraKeys)}
}

// HasInstanceFields tells whether objects of the kind hold, inside their content, fields of their own. Such an object
// cannot be given the template's field whole: the values it has already must survive.
func HasInstanceFields(kind schema.GroupKind) bool {
	_, found := instanceFields[kind]
	return found
}

// Keys returns the labels or annotations without those that belong to one instance.
func (c *Cleaner) Keys(keys map[string]string) map[string]string {
	cleaned := maps.Clone(keys)
	maps.DeleteFunc(cleaned, func(key, _ string) bool {
		return slices.ContainsFunc(c.keys, func(rule string) bool { return matchesKey(rule, key) })
	})
	return cleaned
}

// Content returns the object's content: every top-level field but apiVersion, kind, metadata and status, without null
// fields and per-instance ones. The object itself is left as it was.
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
	if hasOwnSelector(kind, content) {
		return content
	}
	for _, path := range instanceFields[kind] {
		content = removePath(content, splitPath(path)).(map[string]any)
	}
	return content
}

// hasOwnSelector tells whether the object is a Job whose user chose selector and labels: then nothing of it is filled in.
func hasOwnSelector(kind schema.GroupKind, content map[string]any) bool {
	spec, _ := content["spec"].(map[string]any)
	return kind == schema.GroupKind{Group: "batch", Kind: "Job"} && spec["manualSelector"] == true
}

// matchesKey matches a label or annotation key against a rule of the table.
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

// without returns value without what the path leads to. Maps and lists on the way are copied, never changed in place.
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

// headless is the one cluster IP that a user chooses and that must reach the copies.
const headless = "None"

// splitPath splits at dots, save those inside a label key, which is the last segment and holds a slash.
func splitPath(path string) []string {
	head, key, found := strings.Cut(path, ".labels.")
	if !found {
		return strings.Split(path, ".")
	}
	return append(strings.Split(head, "."), "labels", key)
}
