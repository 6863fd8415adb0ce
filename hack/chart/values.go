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

package main

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// defaults are the values that the manifests have.
type defaults struct {
	replicas   any
	resources  any
	repository string
	tag        string
	flags      map[string]any
	flagOrder  []string
}

// findDefaults returns what the Deployment has.
func findDefaults(components []*component) (*defaults, error) {
	for _, component := range components {
		for _, object := range component.objects {
			if object.GetKind() == "Deployment" {
				return deploymentDefaults(object)
			}
		}
	}
	return nil, fmt.Errorf("%s.yaml has no Deployment", base)
}

func deploymentDefaults(deployment *unstructured.Unstructured) (*defaults, error) {
	containers, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		return nil, fmt.Errorf("the Deployment has %d containers, want 1 (%w)", len(containers), err)
	}
	container := containers[0].(map[string]any)
	replicas, _, err := unstructured.NestedFieldNoCopy(deployment.Object, "spec", "replicas")
	if err != nil {
		return nil, err
	}
	args, _, err := unstructured.NestedStringSlice(container, "args")
	if err != nil {
		return nil, err
	}
	image, _, err := unstructured.NestedString(container, "image")
	if err != nil {
		return nil, err
	}
	colon := strings.LastIndex(image, ":")
	if colon < 0 {
		return nil, fmt.Errorf("the image %q has no tag", image)
	}
	flags, order, err := parseArgs(args)
	if err != nil {
		return nil, err
	}
	return &defaults{replicas, container["resources"], image[:colon], image[colon+1:], flags, order}, nil
}

// value is a value of the chart.
type value struct {
	// path is the name, or that of the group and the name: image.tag.
	path        string
	description string
	initial     any
	schema      schema
}

// schema is a JSON schema.
type schema map[string]any

// Schemas of values.
var (
	boolSchema       = schema{"type": "boolean"}
	textSchema       = schema{"type": "string"}
	labelsSchema     = schema{"type": "object", "additionalProperties": textSchema}
	objectSchema     = schema{"type": "object"}
	listSchema       = schema{"type": "array", "items": objectSchema}
	quantitiesSchema = schema{"type": "object", "additionalProperties": schema{"type": []string{"string", "number"}}}
)

// Empty values.
var none, empty = []any{}, map[string]any{}

// chartValues returns the values of the chart.
func chartValues(d *defaults, flags []operatorFlag) values {
	return slices.Concat(operatorValues(d, flags), podValues(), componentValues())
}

// operatorValues returns the values that have their defaults from the manifests, and those that belong to them.
func operatorValues(d *defaults, flags []operatorFlag) values {
	return values{
		{"namespace.name", "Namespace of the operator. If empty, it is that of the release.", "", textSchema},
		{
			"namespace.create", "Whether the Namespace is one of the objects, with its label for Pod Security. When Helm installs a release, " +
				"that of the release never is: --create-namespace makes it.", true, boolSchema,
		},
		{"image.repository", "Registry and name of the image.", d.repository, schema{"type": "string", "minLength": 1}},
		{"image.tag", "Tag of the image. If empty, it is the version of the operator in this chart.", "", textSchema},
		{"image.digest", "Digest of the image, instead of a tag.", "", schema{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}},
		{
			"image.pullPolicy", "When the image is pulled. If empty, the cluster decides.", "",
			schema{"enum": []string{"", "Always", "IfNotPresent", "Never"}},
		},
		{"imagePullSecrets", "Secrets to pull the image with, as in a Pod.", none, listSchema},
		{"replicas", "Number of Pods: one is the leader, the others are on standby.", d.replicas, schema{"type": "integer", "minimum": 0}},
		{
			"resources", "Requests and limits of the container. The operator keeps its memory below the limit.", d.resources, schema{
				"type": "object", "additionalProperties": false,
				"properties": schema{"requests": quantitiesSchema, "limits": quantitiesSchema, "claims": listSchema},
			},
		},
		{
			"flags", "Flags of the operator, without dashes. A list repeats the flag, and null omits one that is set here. All flags: " +
				"https://github.com/prosimcorp/replika/blob/main/docs/operations.md#flags", d.flags, flagsSchema(d, flags),
		},
		{
			"extraKinds", "Kinds that the operator may copy, in addition to ConfigMaps and Secrets. Each item has a group and its resources: " +
				"{group: networking.k8s.io, resources: [networkpolicies]}.", none, extraKindsSchema(),
		},
	}
}

// podValues returns the values for the Pods that are empty by default.
func podValues() values {
	return values{
		{"podAnnotations", "Annotations of the Pods.", empty, labelsSchema},
		{"podLabels", "Labels of the Pods.", empty, labelsSchema},
		{"nodeSelector", "Labels of the nodes that may run the Pods.", empty, labelsSchema},
		{"tolerations", "Taints that the Pods tolerate, as in a Pod.", none, listSchema},
		{"affinity", "Affinity of the Pods, as in a Pod.", empty, objectSchema},
		{"priorityClassName", "PriorityClass of the Pods.", "", textSchema},
	}
}

// componentValues returns the values that select components.
func componentValues() values {
	return values{
		{"crds.install", "Whether the release contains the CRD. It is a template, so an upgrade of the release upgrades it.", true, boolSchema},
		{"crds.keep", "Whether the CRD, and with it every Replika, stays when the release is uninstalled.", true, boolSchema},
		{"podDisruptionBudget.enabled", "Evict one Pod at a time (config/manager).", true, boolSchema},
		{"operatorPolicy.enabled", "Limit what the operator's token can do (config/operator-policy).", true, boolSchema},
		{
			"operatorPolicy.protectedNamespaces", "Namespaces in which the operator is not allowed to write, besides its own. Change the flag " +
				"excluded-namespaces as well.",
			[]string{"kube-system"},
			schema{"type": "array", "items": schema{"type": "string", "pattern": "^[a-z0-9-]+$"}},
		},
		{"impersonation.enabled", "Let the operator impersonate the ServiceAccounts that Replikas name (config/impersonation).", false, boolSchema},
		{"policy.enabled", "Restrict a Replika to its author's permissions (config/policy). Requires impersonation.", false, boolSchema},
		{"networkPolicy.enabled", "Limit the connections of the Pods to metrics and API server (config/network-policy).", false, boolSchema},
		{
			"prometheus.enabled", "Add a ServiceMonitor, alerts and a dashboard (config/prometheus). Requires the Prometheus Operator.", false, boolSchema,
		},
		{"prometheus.labels", "Labels by which Prometheus selects the ServiceMonitor and the alerts.", empty, labelsSchema},
	}
}

// flagsSchema allows the operator's own flags only. Other fields of the manifests contain the ports of the addresses that are set.
func flagsSchema(d *defaults, flags []operatorFlag) schema {
	properties := schema{}
	for _, flag := range flags {
		property := flag.schema()
		if address, isText := d.flags[flag.name].(string); isText && strings.HasPrefix(address, ":") {
			property["type"], property["pattern"] = "string", "^[^:]*"+address+"$"
		}
		properties[flag.name] = property
	}
	return schema{"type": "object", "additionalProperties": false, "properties": properties}
}

func extraKindsSchema() schema {
	return schema{"type": "array", "items": schema{
		"type": "object", "additionalProperties": false, "required": []string{"group", "resources"},
		"properties": schema{
			"group": schema{"type": "string", "pattern": "^[a-z0-9.-]*$"},
			"resources": schema{
				"type": "array", "minItems": 1, "items": schema{"type": "string", "pattern": "^[a-z0-9-]+$"},
			},
		},
	}}
}
