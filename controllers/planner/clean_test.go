package planner

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// keyRules has, for every entry of the table, keys that come off and near misses that stay.
var keyRules = map[string]struct{ off, stay []string }{
	"kubectl.kubernetes.io/last-applied-configuration": {
		off:  []string{"kubectl.kubernetes.io/last-applied-configuration"},
		stay: []string{"kubectl.kubernetes.io/default-container", "kubernetes.io/change-cause", "kubernetes.io/description"},
	},

	"argocd.argoproj.io/tracking-id":     {off: []string{"argocd.argoproj.io/tracking-id"}, stay: []string{"argocd.argoproj.io/secret-type"}},
	"argocd.argoproj.io/installation-id": {off: []string{"argocd.argoproj.io/installation-id"}, stay: []string{"argocd.argoproj.io/sync-wave"}},
	"argocd.argoproj.io/instance":        {off: []string{"argocd.argoproj.io/instance"}, stay: []string{"argocd.argoproj.io/hook", "argocd.argoproj.io/sync-options"}},
	"app.kubernetes.io/instance": {
		off:  []string{"app.kubernetes.io/instance"},
		stay: []string{"app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of", "app.kubernetes.io/version"},
	},

	"*.toolkit.fluxcd.io/*": {
		off: []string{
			"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace", "kustomize.toolkit.fluxcd.io/prune",
			"helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace",
		},
		stay: []string{"toolkit.fluxcd.io/name", "reconcile.fluxcd.io/watch", "kustomize.toolkit.fluxcd.io.example.com/name"},
	},
	"fluxcd.controlplane.io/name":      {off: []string{"fluxcd.controlplane.io/name"}, stay: []string{"fluxcd.controlplane.io/reconcileEvery"}},
	"fluxcd.controlplane.io/namespace": {off: []string{"fluxcd.controlplane.io/namespace"}, stay: []string{"fluxcd.controlplane.io/namespaces"}},
	"*.fluxcd.controlplane.io/*": {
		off:  []string{"resourceset.fluxcd.controlplane.io/name", "resourceset.fluxcd.controlplane.io/namespace"},
		stay: []string{"fluxcd.controlplane.io/prune"},
	},

	"meta.helm.sh/*":               {off: []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}, stay: []string{"meta.helm.example/release-name"}},
	"helm.sh/*":                    {off: []string{"helm.sh/chart", "helm.sh/hook", "helm.sh/resource-policy"}, stay: []string{"charts.helm.sh/name", "chart"}},
	"app.kubernetes.io/managed-by": {off: []string{"app.kubernetes.io/managed-by"}, stay: []string{"app.kubernetes.io/managed-by-team"}},

	"applyset.kubernetes.io/*":           {off: []string{"applyset.kubernetes.io/part-of", "applyset.kubernetes.io/id"}, stay: []string{"applysets.kubernetes.io/id"}},
	"kapp.k14s.io/*":                     {off: []string{"kapp.k14s.io/app", "kapp.k14s.io/association", "kapp.k14s.io/original"}, stay: []string{"kappctrl.k14s.io/app"}},
	"config.k8s.io/owning-inventory":     {off: []string{"config.k8s.io/owning-inventory"}, stay: []string{"config.k8s.io/id", "config.kubernetes.io/local-config"}},
	"cli-utils.sigs.k8s.io/inventory-id": {off: []string{"cli-utils.sigs.k8s.io/inventory-id"}, stay: []string{"cli-utils.sigs.k8s.io/on-remove"}},
	"configsync.gke.io/*":                {off: []string{"configsync.gke.io/resource-id", "configsync.gke.io/manager"}, stay: []string{"client.lifecycle.config.k8s.io/mutation"}},
	"configmanagement.gke.io/*":          {off: []string{"configmanagement.gke.io/managed", "configmanagement.gke.io/token"}, stay: []string{"gke.io/managed"}},
	"olm.owner":                          {off: []string{"olm.owner"}, stay: []string{"olm.owners", "olm.skipRange"}},
	"olm.owner.*":                        {off: []string{"olm.owner.kind", "olm.owner.namespace"}, stay: []string{"olm.properties"}},
	"olm.managed":                        {off: []string{"olm.managed"}, stay: []string{"olm.managed-by-nobody"}},
	"olm.copiedFrom":                     {off: []string{"olm.copiedFrom"}, stay: []string{"olm.targetNamespaces"}},
	"olm.operatorframework.io/owner-*":   {off: []string{"olm.operatorframework.io/owner-kind", "olm.operatorframework.io/owner-name"}, stay: []string{"olm.operatorframework.io/metadata.name"}},
	"operators.coreos.com/*":             {off: []string{"operators.coreos.com/etcd.default"}, stay: []string{"operatorframework.io/arch.amd64", "monitoring.coreos.com/name"}},
	"objectset.rio.cattle.io/*":          {off: []string{"objectset.rio.cattle.io/hash", "objectset.rio.cattle.io/owner-name"}, stay: []string{"field.cattle.io/description"}},
	"velero.io/backup-*":                 {off: []string{"velero.io/backup-name"}, stay: []string{"backup.velero.io/backup-volumes"}},
	"velero.io/restore-*":                {off: []string{"velero.io/restore-name", "velero.io/restore-uid"}, stay: []string{"velero.io/exclude-from-backup"}},
	"velero.io/schedule-name":            {off: []string{"velero.io/schedule-name"}, stay: []string{"velero.io/change-storage-class"}},
	"reconcile.external-secrets.io/*":    {off: []string{"reconcile.external-secrets.io/data-hash", "reconcile.external-secrets.io/created-by", "reconcile.external-secrets.io/managed"}, stay: []string{"external-secrets.io/type"}},
	"cert-manager.io/certificate-name":   {off: []string{"cert-manager.io/certificate-name"}, stay: []string{"cert-manager.io/allow-direct-injection", "cert-manager.io/alt-names", "cert-manager.io/common-name", "cert-manager.io/issuer-name", "cert-manager.io/issuer-kind", "cert-manager.io/issuer-group"}},
	"cert-manager.io/next-private-key":   {off: []string{"cert-manager.io/next-private-key"}, stay: []string{"cert-manager.io/private-key-size", "cert-manager.io/private-key-rotation-policy"}},
	"controller.cert-manager.io/*":       {off: []string{"controller.cert-manager.io/fao"}, stay: []string{"cert-manager.io/cluster-issuer", "cert-manager.io/issuer", "acme.cert-manager.io/http01-edit-in-place"}},
	"trust.cert-manager.io/*":            {off: []string{"trust.cert-manager.io/bundle", "trust.cert-manager.io/hash"}, stay: []string{"cert-manager.io/inject-ca-from"}},
	"secrets.hashicorp.com/vso-*":        {off: []string{"secrets.hashicorp.com/vso-ownerRefUID"}, stay: []string{"vault.hashicorp.com/agent-inject"}},
	"sealedsecrets.bitnami.com/managed":  {off: []string{"sealedsecrets.bitnami.com/managed"}, stay: []string{"sealedsecrets.bitnami.com/sealed-secrets-key"}},
	"sealedsecrets.bitnami.com/patch":    {off: []string{"sealedsecrets.bitnami.com/patch"}, stay: []string{"sealedsecrets.bitnami.com/cluster-wide", "sealedsecrets.bitnami.com/namespace-wide"}},
	"reflector.v1.k8s.emberstack.com/*":  {off: []string{"reflector.v1.k8s.emberstack.com/reflection-allowed", "reflector.v1.k8s.emberstack.com/reflects"}, stay: []string{"emberstack.com/reflects"}},
	"replicator.v1.mittwald.de/*":        {off: []string{"replicator.v1.mittwald.de/replicate-to", "replicator.v1.mittwald.de/replicated-from-version"}, stay: []string{"mittwald.de/replicate-to"}},
	"kubed.appscode.com/*":               {off: []string{"kubed.appscode.com/sync", "kubed.appscode.com/origin", "kubed.appscode.com/origin.name"}, stay: []string{"appscode.com/sync"}},
	"generate.kyverno.io/*":              {off: []string{"generate.kyverno.io/policy-name", "generate.kyverno.io/clone-source"}, stay: []string{"cleanup.kyverno.io/ttl"}},
	"policy.kyverno.io/*":                {off: []string{"policy.kyverno.io/policy-name", "policy.kyverno.io/synchronize"}, stay: []string{"policies.kyverno.io/title"}},
	"kyverno.io/*":                       {off: []string{"kyverno.io/generated-by-kind", "kyverno.io/verify-images"}, stay: []string{"pod-policies.kyverno.io/autogen-controllers"}},
	"hnc.x-k8s.io/*":                     {off: []string{"hnc.x-k8s.io/inherited-from"}, stay: []string{"x-k8s.io/inherited-from"}},
	"*.hnc.x-k8s.io/*":                   {off: []string{"propagate.hnc.x-k8s.io/treeSelect", "team-a.tree.hnc.x-k8s.io/depth"}, stay: []string{"hnc-x-k8s.io/depth"}},
	"projectsveltos.io/owner-*":          {off: []string{"projectsveltos.io/owner-kind", "projectsveltos.io/owner-tier"}, stay: []string{"projectsveltos.io/template"}},
	"projectsveltos.io/reference-*":      {off: []string{"projectsveltos.io/reference-kind", "projectsveltos.io/reference-namespace"}, stay: []string{"projectsveltos.io/instantiate"}},
	"projectsveltos.io/hash":             {off: []string{"projectsveltos.io/hash"}, stay: []string{"projectsveltos.io/subresources"}},
	"deployment.kubernetes.io/*":         {off: []string{"deployment.kubernetes.io/revision", "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"}, stay: []string{"controller.kubernetes.io/pod-deletion-cost"}},
	"batch.kubernetes.io/job-tracking":   {off: []string{"batch.kubernetes.io/job-tracking"}, stay: []string{"batch.kubernetes.io/job-index-failure-count"}},
	"pv.kubernetes.io/*":                 {off: []string{"pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"}, stay: []string{"kubernetes.io/pv"}},
	"volume.kubernetes.io/selected-node": {off: []string{"volume.kubernetes.io/selected-node"}, stay: []string{"volume.kubernetes.io/label"}},
	"control-plane.alpha.kubernetes.io/leader": {
		off:  []string{"control-plane.alpha.kubernetes.io/leader"},
		stay: []string{"node-role.kubernetes.io/control-plane"},
	},
	"deprecated.daemonset.template.generation": {
		off: []string{"deprecated.daemonset.template.generation"}, stay: []string{"daemonset.template.generation"},
	},
	"batch.kubernetes.io/cronjob-scheduled-timestamp": {
		off: []string{"batch.kubernetes.io/cronjob-scheduled-timestamp"}, stay: []string{"cronjob.kubernetes.io/instantiate"},
	},
	"volume.kubernetes.io/storage-provisioner": {
		off: []string{"volume.kubernetes.io/storage-provisioner"}, stay: []string{"volume.kubernetes.io/storage-class"},
	},
	"volume.kubernetes.io/storage-resizer": {
		off: []string{"volume.kubernetes.io/storage-resizer"}, stay: []string{"volume.beta.kubernetes.io/mount-options"},
	},
	"volume.beta.kubernetes.io/storage-provisioner": {
		off: []string{"volume.beta.kubernetes.io/storage-provisioner"}, stay: []string{"volume.beta.kubernetes.io/storage-class"},
	},
	"autoscaling.alpha.kubernetes.io/conditions": {
		off: []string{"autoscaling.alpha.kubernetes.io/conditions"}, stay: []string{"autoscaling.alpha.kubernetes.io/behavior"},
	},
	"autoscaling.alpha.kubernetes.io/current-metrics": {
		off: []string{"autoscaling.alpha.kubernetes.io/current-metrics"}, stay: []string{"autoscaling.alpha.kubernetes.io/metrics"},
	},
	"endpoints.kubernetes.io/*": {
		off: []string{
			"endpoints.kubernetes.io/last-change-trigger-time", "endpoints.kubernetes.io/over-capacity", "endpoints.kubernetes.io/managed-by",
		},
		stay: []string{"service.kubernetes.io/topology-mode"},
	},
	"endpointslice.kubernetes.io/managed-by": {
		off: []string{"endpointslice.kubernetes.io/managed-by"}, stay: []string{"endpointslice.kubernetes.io/skip-mirror", "kubernetes.io/service-name"},
	},
	"field.cattle.io/publicEndpoints": {off: []string{"field.cattle.io/publicEndpoints"}, stay: []string{"field.cattle.io/projectId"}},
	"cloud.google.com/neg-status":     {off: []string{"cloud.google.com/neg-status"}, stay: []string{"cloud.google.com/neg"}},

	v1alpha1.KeyPrefix + "*": {
		off:  []string{v1alpha1.LabelCreatedBy, v1alpha1.LabelPartOf, v1alpha1.AnnotationOwner, v1alpha1.KeyPrefix + "whatever"},
		stay: []string{"prosimcorp.com/owner", "replika.prosimcorp.com.example/owner", "replika.prosimcorp.com"},
	},
}

func TestForeignKeysComeOff(t *testing.T) {
	cleaner := NewCleaner()
	for _, rule := range foreignKeys {
		t.Run(rule, func(t *testing.T) {
			c, found := keyRules[rule]
			if !found || len(c.off) == 0 || len(c.stay) == 0 {
				t.Fatalf("no example of what %s takes off and what it leaves", rule)
			}
			for _, key := range c.off {
				if !matchesKey(rule, key) {
					t.Errorf("the rule does not take %s", key)
				}
				if left := cleaner.Keys(keysOf(key)); len(left) > 0 {
					t.Errorf("%s stays", key)
				}
			}
			for _, key := range c.stay {
				if diff := cmp.Diff(keysOf(key), cleaner.Keys(keysOf(key))); diff != "" {
					t.Errorf("%s goes: %s", key, diff)
				}
			}
		})
	}
	for rule := range keyRules {
		if !slices.Contains(foreignKeys, rule) {
			t.Errorf("%s is tested and is no rule", rule)
		}
	}
}

func TestTheTableHasEachRuleOnce(t *testing.T) {
	sorted := slices.Sorted(slices.Values(foreignKeys))
	if diff := cmp.Diff(slices.Compact(slices.Clone(sorted)), sorted); diff != "" {
		t.Error(diff)
	}
	for _, rule := range foreignKeys {
		if inner := strings.Trim(rule, "*"); inner == "" || inner == "/" || strings.Contains(inner, "*") {
			t.Errorf("%s takes too much, or nothing", rule)
		}
	}
}

func TestExtraKeys(t *testing.T) {
	cleaner := NewCleaner("example.com/owner", "tool.example.com/*", "*.suite.example.com/*")
	before := keysOf(
		"example.com/owner", "tool.example.com/a", "a.suite.example.com/b", "helm.sh/chart",
		"example.com/owners", "tools.example.com/a", "suite.example.com/b",
	)
	want := keysOf("example.com/owners", "tools.example.com/a", "suite.example.com/b")
	unchanged := maps.Clone(before)
	if diff := cmp.Diff(want, cleaner.Keys(before)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(unchanged, before); diff != "" {
		t.Errorf("the input changed: %s", diff)
	}
	if len(NewCleaner().Keys(keysOf("example.com/owner"))) != 1 {
		t.Error("one cleaner's extra keys reach another")
	}
	if got := cleaner.Keys(nil); len(got) != 0 {
		t.Errorf("nothing became %v", got)
	}
}

func TestContent(t *testing.T) {
	job := schema.GroupKind{Group: "batch", Kind: "Job"}
	cases := map[string]struct {
		kind   schema.GroupKind
		object map[string]any
		want   map[string]any
	}{
		"only content": {
			configMapKind,
			map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x"}, "status": "busy",
				"data": map[string]any{"a": "1"}, "binaryData": nil, "immutable": false,
			},
			map[string]any{"data": map[string]any{"a": "1"}, "immutable": false},
		},
		"a Service loses its addresses": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{
				"clusterIP": "10.0.0.1", "clusterIPs": []any{"10.0.0.1"}, "healthCheckNodePort": int64(30001), "type": "NodePort",
				"loadBalancerIP": "192.0.2.1", "externalIPs": []any{"192.0.2.2"}, "selector": map[string]any{"app": "shop"},
				"ports": []any{
					map[string]any{"port": int64(80), "nodePort": int64(30080)},
					map[string]any{"port": int64(443), "targetPort": "https"},
				},
			}},
			map[string]any{"spec": map[string]any{
				"type": "NodePort", "loadBalancerIP": "192.0.2.1", "externalIPs": []any{"192.0.2.2"},
				"selector": map[string]any{"app": "shop"},
				"ports":    []any{map[string]any{"port": int64(80)}, map[string]any{"port": int64(443), "targetPort": "https"}},
			}},
		},
		"a headless Service stays headless": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{"clusterIP": "None", "clusterIPs": []any{"None"}}},
			map[string]any{"spec": map[string]any{"clusterIP": "None"}},
		},
		"a Service of another group is another kind": {
			schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"},
			map[string]any{"spec": map[string]any{"clusterIP": "10.0.0.1"}},
			map[string]any{"spec": map[string]any{"clusterIP": "10.0.0.1"}},
		},
		"a claim loses its volume": {
			schema.GroupKind{Kind: "PersistentVolumeClaim"},
			map[string]any{"spec": map[string]any{
				"volumeName": "pv-1", "storageClassName": "fast", "volumeMode": "Filesystem", "dataSource": map[string]any{"name": "s"},
			}},
			map[string]any{"spec": map[string]any{
				"storageClassName": "fast", "volumeMode": "Filesystem", "dataSource": map[string]any{"name": "s"},
			}},
		},
		"a ServiceAccount loses its tokens": {
			schema.GroupKind{Kind: "ServiceAccount"},
			map[string]any{
				"secrets":          []any{map[string]any{"name": "token"}},
				"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "automountServiceAccountToken": false,
			},
			map[string]any{"imagePullSecrets": []any{map[string]any{"name": "pull"}}, "automountServiceAccountToken": false},
		},
		"a Pod loses its node": {
			schema.GroupKind{Kind: "Pod"},
			map[string]any{"spec": map[string]any{"nodeName": "n1", "nodeSelector": map[string]any{"disk": "ssd"}}},
			map[string]any{"spec": map[string]any{"nodeSelector": map[string]any{"disk": "ssd"}}},
		},
		"a Job loses what ties it to its pods": {
			job,
			map[string]any{"spec": map[string]any{
				"selector": map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": "u"}},
				"template": map[string]any{
					"metadata": map[string]any{"creationTimestamp": nil, "labels": map[string]any{
						"controller-uid": "u", "job-name": "j",
						"batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j", "app": "shop",
					}},
					"spec": map[string]any{"restartPolicy": "Never"},
				},
				"completions": int64(1),
			}},
			map[string]any{"spec": map[string]any{
				"template": map[string]any{
					"metadata": map[string]any{"labels": map[string]any{"app": "shop"}},
					"spec":     map[string]any{"restartPolicy": "Never"},
				},
				"completions": int64(1),
			}},
		},
		"a Job whose user chose the selector keeps it": {
			job,
			map[string]any{"spec": map[string]any{
				"manualSelector": true,
				"selector":       map[string]any{"matchLabels": map[string]any{"job-name": "mine"}},
				"template":       map[string]any{"metadata": map[string]any{"labels": map[string]any{"job-name": "mine"}}},
			}},
			map[string]any{"spec": map[string]any{
				"manualSelector": true,
				"selector":       map[string]any{"matchLabels": map[string]any{"job-name": "mine"}},
				"template":       map[string]any{"metadata": map[string]any{"labels": map[string]any{"job-name": "mine"}}},
			}},
		},
		"a Job that does not choose it does not": {
			job,
			map[string]any{"spec": map[string]any{"manualSelector": false, "selector": map[string]any{}}},
			map[string]any{"spec": map[string]any{"manualSelector": false}},
		},
		"a path that leads nowhere": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": "none of your business"},
			map[string]any{"spec": "none of your business"},
		},
		"a list where none is expected": {
			schema.GroupKind{Kind: "Service"},
			map[string]any{"spec": map[string]any{"ports": "all", "type": []any{"x"}}},
			map[string]any{"spec": map[string]any{"ports": "all", "type": []any{"x"}}},
		},
	}
	tested := map[schema.GroupKind]bool{}
	for name, c := range cases {
		tested[c.kind] = true
		t.Run(name, func(t *testing.T) {
			before := runtime.DeepCopyJSON(c.object)
			if diff := cmp.Diff(c.want, NewCleaner().Content(c.kind, c.object)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, c.object); diff != "" {
				t.Errorf("the object changed: %s", diff)
			}
		})
	}
	for kind := range instanceFields {
		if !tested[kind] {
			t.Errorf("%s is in the table and not tested", kind)
		}
		if !HasInstanceFields(kind) {
			t.Errorf("%s has fields of its own", kind)
		}
	}
	if HasInstanceFields(configMapKind) || HasInstanceFields(schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"}) {
		t.Error("a kind without fields of its own is said to have some")
	}
}
