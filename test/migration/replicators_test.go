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

package migration

import (
	"encoding/json"
	"maps"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
)

// keys are labels and annotations.
type keys struct {
	labels, annotations map[string]string
}

// replicator is another tool, and what it leaves on the objects of a source and its copies.
type replicator struct {
	// commands is the heading in docs/migration.md under which the commands are, and replika that of the manifest.
	commands, replika string
	// source are its keys on the source.
	source keys
	// copied returns the labels and annotations of the copy that it makes of the source in the namespace.
	copied func(source *corev1.Secret, namespace *corev1.Namespace) keys
	// installed are its own objects that the commands change. They are created after the copies.
	installed func(home, copies string) []client.Object
	// prefixes are those of its keys.
	prefixes []string
}

// userKeys are on the source, whatever copies it. kubectl and Argo CD set those that no copy may keep.
var userKeys = keys{
	labels: map[string]string{"example.com/team": "platform", "app.kubernetes.io/instance": "registry"},
	annotations: map[string]string{
		"example.com/contact":                              "platform@example.com",
		"argocd.argoproj.io/tracking-id":                   "registry:/Secret:platform/registry-credentials",
		"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"password":"Zm9ybWVy"}}`,
	},
}

// reflector is emberstack/kubernetes-reflector 10.0.63. It copies neither labels nor annotations.
var reflector = replicator{
	commands: "## reflector", replika: "## reflector",
	source: keys{annotations: map[string]string{
		"reflector.v1.k8s.emberstack.com/reflection-allowed":            "true",
		"reflector.v1.k8s.emberstack.com/reflection-allowed-namespaces": "team-.*",
		"reflector.v1.k8s.emberstack.com/reflection-auto-enabled":       "true",
		"reflector.v1.k8s.emberstack.com/reflection-auto-namespaces":    "team-.*",
	}},
	copied: func(source *corev1.Secret, _ *corev1.Namespace) keys {
		return keys{annotations: map[string]string{
			"reflector.v1.k8s.emberstack.com/auto-reflects":     "True",
			"reflector.v1.k8s.emberstack.com/reflects":          source.Namespace + "/" + source.Name,
			"reflector.v1.k8s.emberstack.com/reflected-version": source.ResourceVersion,
			"reflector.v1.k8s.emberstack.com/reflected-at":      "2026-08-04T21:27:29.0000000+00:00",
		}}
	},
	installed: deployments("kube-system", "reflector"),
	prefixes:  []string{"reflector.v1.k8s.emberstack.com/"},
}

// kubernetesReplicator is mittwald/kubernetes-replicator 2.12.4. It copies labels, but not annotations.
var kubernetesReplicator = replicator{
	commands: "## kubernetes-replicator", replika: "## kubernetes-replicator",
	source: keys{annotations: map[string]string{"replicator.v1.mittwald.de/replicate-to": "team-.*"}},
	copied: func(source *corev1.Secret, _ *corev1.Namespace) keys {
		return keys{labels: source.Labels, annotations: map[string]string{
			"replicator.v1.mittwald.de/replicated-at":           "2026-07-07T10:00:00Z",
			"replicator.v1.mittwald.de/replicated-from-version": source.ResourceVersion,
			"replicator.v1.mittwald.de/replicated-keys":         "password",
		}}
	},
	installed: deployments("kube-system", "replicator-kubernetes-replicator"),
	prefixes:  []string{"replicator.v1.mittwald.de/"},
}

// configSyncer is config-syncer, formerly kubed, of 16 May 2026. It copies all labels and annotations.
var configSyncer = replicator{
	commands: "## Config Syncer", replika: "## Config Syncer",
	source: keys{annotations: map[string]string{"kubed.appscode.com/sync": "example.com/registry=private"}},
	copied: func(source *corev1.Secret, _ *corev1.Namespace) keys {
		origin, err := json.Marshal(corev1.ObjectReference{
			Namespace: source.Namespace, Name: source.Name, UID: source.UID, ResourceVersion: source.ResourceVersion,
		})
		Expect(err).NotTo(HaveOccurred())
		annotations := with(source.Annotations, map[string]string{"kubed.appscode.com/origin": string(origin)})
		delete(annotations, "kubed.appscode.com/sync")
		return keys{annotations: annotations, labels: with(source.Labels, map[string]string{
			"kubed.appscode.com/origin.name":      source.Name,
			"kubed.appscode.com/origin.namespace": source.Namespace,
			"kubed.appscode.com/origin.cluster":   "example",
		})}
	},
	installed: deployments("kube-system", "kubed"),
	prefixes:  []string{"kubed.appscode.com/"},
}

// clusterPolicy is a generate rule of a ClusterPolicy of Kyverno 1.19.0, with clone. Kyverno labels the source, too, and copies all
// labels and annotations.
var clusterPolicy = replicator{
	commands: "### ClusterPolicy", replika: "## Kyverno",
	source: keys{labels: map[string]string{"generate.kyverno.io/clone-source": ""}},
	copied: func(source *corev1.Secret, namespace *corev1.Namespace) keys {
		return keys{annotations: source.Annotations, labels: with(source.Labels, map[string]string{
			"app.kubernetes.io/managed-by":          "kyverno",
			"generate.kyverno.io/policy-name":       "registry-credentials",
			"generate.kyverno.io/policy-namespace":  "",
			"generate.kyverno.io/rule-name":         "clone",
			"generate.kyverno.io/trigger-version":   "v1",
			"generate.kyverno.io/trigger-group":     "",
			"generate.kyverno.io/trigger-kind":      "Namespace",
			"generate.kyverno.io/trigger-namespace": "",
			"generate.kyverno.io/trigger-uid":       string(namespace.UID),
			"generate.kyverno.io/source-version":    "v1",
			"generate.kyverno.io/source-group":      "",
			"generate.kyverno.io/source-kind":       "Secret",
			"generate.kyverno.io/source-namespace":  source.Namespace,
			"generate.kyverno.io/source-uid":        string(source.UID),
		})}
	},
	installed: func(home, _ string) []client.Object {
		return []client.Object{
			definition("kyverno.io", "ClusterPolicy", "clusterpolicies", "Cluster"),
			kit.FromYAML(`
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: registry-credentials
spec:
  rules:
  - name: clone
    match:
      any:
      - resources:
          kinds: [Namespace]
          selector:
            matchLabels:
              example.com/registry: private
    generate:
      apiVersion: v1
      kind: Secret
      name: registry-credentials
      namespace: "{{request.object.metadata.name}}"
      synchronize: true
      clone:
        namespace: ` + home + `
        name: registry-credentials
`),
		}
	},
	prefixes: []string{"generate.kyverno.io/"},
}

// generatingPolicy is a GeneratingPolicy of Kyverno 1.19.0, with an object that resource.Get returns. It copies all labels and
// annotations.
var generatingPolicy = replicator{
	commands: "### GeneratingPolicy", replika: "## Kyverno",
	copied: func(source *corev1.Secret, namespace *corev1.Namespace) keys {
		return keys{annotations: source.Annotations, labels: with(source.Labels, map[string]string{
			"app.kubernetes.io/managed-by":          "kyverno",
			"generate.kyverno.io/policy-name":       "registry-credentials",
			"generate.kyverno.io/trigger-name":      namespace.Name,
			"generate.kyverno.io/trigger-namespace": "",
			"generate.kyverno.io/trigger-uid":       string(namespace.UID),
			"generate.kyverno.io/trigger-kind":      "Namespace",
			"generate.kyverno.io/trigger-group":     "",
			"generate.kyverno.io/trigger-version":   "v1",
			"generate.kyverno.io/source-uid":        string(source.UID),
		})}
	},
	installed: func(home, _ string) []client.Object {
		return []client.Object{
			definition("policies.kyverno.io", "GeneratingPolicy", "generatingpolicies", "Cluster"),
			kit.FromYAML(`
apiVersion: policies.kyverno.io/v1
kind: GeneratingPolicy
metadata:
  name: registry-credentials
spec:
  evaluation:
    synchronize:
      enabled: true
  matchConstraints:
    resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE, UPDATE]
      resources: [namespaces]
  variables:
  - name: source
    expression: resource.Get("v1", "secrets", "` + home + `", "registry-credentials")
  generate:
  - expression: generator.Apply(object.metadata.name, [variables.source])
`),
		}
	},
	prefixes: []string{"generate.kyverno.io/"},
}

// hnc is the Hierarchical Namespace Controller 1.1.0, in a namespace with two subnamespaces. It copies all labels and annotations.
// Its webhook has no server here: every change of a Secret fails, as in a cluster after HNC's Deployment is gone.
var hnc = replicator{
	commands: "## HNC", replika: "## HNC",
	copied: func(source *corev1.Secret, _ *corev1.Namespace) keys {
		return keys{annotations: source.Annotations, labels: with(source.Labels, map[string]string{
			"app.kubernetes.io/managed-by": "hnc.x-k8s.io",
			"hnc.x-k8s.io/inherited-from":  source.Namespace,
		})}
	},
	installed: func(home, copies string) []client.Object {
		objects := []client.Object{
			kit.Namespace("hnc-system"),
			definition("hnc.x-k8s.io", "SubnamespaceAnchor", "subnamespaceanchors", "Namespaced"),
			definition("hnc.x-k8s.io", "HierarchyConfiguration", "hierarchyconfigurations", "Namespaced"),
			definition("hnc.x-k8s.io", "HNCConfiguration", "hncconfigurations", "Cluster"),
			hierarchyObject("HierarchyConfiguration", home, "hierarchy", "hnc.x-k8s.io/hasSubnamespace"),
			hierarchyObject("SubnamespaceAnchor", home, copies+"a", "hnc.x-k8s.io"),
			hierarchyObject("SubnamespaceAnchor", home, copies+"b", "hnc.x-k8s.io"),
		}
		return append(append(objects, deployments("hnc-system", "hnc-controller-manager")(home, copies)...), kit.FromYAML(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: hnc-validating-webhook-configuration
webhooks:
- name: objects.hnc.x-k8s.io
  admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: hnc-webhook-service
      namespace: hnc-system
      path: /validate-objects
  failurePolicy: Fail
  sideEffects: None
  timeoutSeconds: 2
  namespaceSelector:
    matchLabels:
      hnc.x-k8s.io/included-namespace: "true"
  rules:
  - apiGroups: [""]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE, DELETE]
    resources: [secrets]
    scope: Namespaced
`))
	},
	prefixes: []string{"hnc.x-k8s.io/"},
}

// hierarchyObject returns an object of HNC with the finalizer that HNC sets.
func hierarchyObject(kind, namespace, name, finalizer string) client.Object {
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "hnc.x-k8s.io/v1", "kind": kind}}
	object.SetNamespace(namespace)
	object.SetName(name)
	object.SetFinalizers([]string{finalizer})
	return object
}

// definition returns a CRD that accepts every content. The commands only need that the objects exist.
func definition(group, kind, plural, scope string) client.Object {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": scope, "names": map[string]any{"kind": kind, "plural": plural},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
}

// deployments returns the Deployment of a tool. No Pod of it ever runs: the cluster has no nodes.
func deployments(namespace, name string) func(home, copies string) []client.Object {
	return func(_, _ string) []client.Object {
		labels := map[string]string{"app": name}
		return []client.Object{&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "example.com/" + name}}},
				},
			},
		}}
	}
}

// with returns the union of the maps.
func with(some, more map[string]string) map[string]string {
	union := map[string]string{}
	maps.Copy(union, some)
	maps.Copy(union, more)
	return union
}
