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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// field is a field that values set.
type field struct {
	// kind and name are those of the object.
	kind, name string
	// path is a JSON pointer. The field must exist, unless it is conditional.
	path string
	// value is the template of the value.
	value string
	// condition is the condition, or loop, on which the field exists; empty for always.
	condition string
}

const (
	operatorNamespace = "replika"
	operatorName      = "replika-controller-manager"
	managerRole       = "replika-manager-role"

	podPath       = "/spec/template/spec"
	containerPath = podPath + "/containers/0"
)

// fields returns the fields that values set, but for the namespaces.
func fields() []field {
	deployment := func(path, value string) field {
		return field{kind: "Deployment", name: operatorName, path: path, value: value}
	}
	optional := func(path, value string) field {
		return field{"Deployment", operatorName, path, "{{ toJson . }}", "with .Values." + value}
	}
	return []field{
		deployment("/spec/replicas", "{{ toJson .Values.replicas }}"),
		deployment("/spec/template/metadata/annotations", merged(".Values.podAnnotations")),
		deployment("/spec/template/metadata/labels", merged(".Values.podLabels")),
		deployment(containerPath+"/args", `{{ include "replika.args" . }}`),
		deployment(containerPath+"/image", `{{ include "replika.image" . | toJson }}`),
		deployment(containerPath+"/resources", "{{ toJson .Values.resources }}"),
		optional(containerPath+"/imagePullPolicy", "image.pullPolicy"),
		optional(podPath+"/imagePullSecrets", "imagePullSecrets"),
		optional(podPath+"/nodeSelector", "nodeSelector"),
		optional(podPath+"/tolerations", "tolerations"),
		optional(podPath+"/affinity", "affinity"),
		optional(podPath+"/priorityClassName", "priorityClassName"),
		{
			"ClusterRole", managerRole, "/rules/-",
			"{apiGroups: [{{ toJson .group }}], resources: {{ toJson .resources }}, verbs: [get, list, watch, create, patch, delete]}",
			"range .Values.extraKinds",
		},
		{"CustomResourceDefinition", "replikas.replika.prosimcorp.com", "/metadata/annotations/helm.sh~1resource-policy", "keep", "if .Values.crds.keep"},
		{
			kind: "ValidatingAdmissionPolicy", name: "replika-operator", path: "/spec/variables/1/expression",
			value: `"[{{ range .Values.operatorPolicy.protectedNamespaces }}'{{ . }}', {{ end }}variables.operatorNamespace]"`,
		},
		{kind: "ServiceMonitor", name: operatorName, path: "/metadata/labels", value: merged(".Values.prometheus.labels")},
		{kind: "PrometheusRule", name: operatorName, path: "/metadata/labels", value: merged(".Values.prometheus.labels")},
	}
}

// current stands, in the value of a field, for what the object has there, as JSON.
const current = "CURRENT"

// merged returns the template of a map with the object's own entries, and those of the value. The former take precedence.
func merged(value string) string {
	return "{{ merge (fromJson `" + current + "`) " + value + " | toJson }}"
}

// namespaceFields returns the fields with the operator's namespace.
func namespaceFields(object *unstructured.Unstructured) ([]field, error) {
	var paths []string
	add := func(path, value string) error {
		if value != operatorNamespace {
			return fmt.Errorf("%s %s: %s is %q, want %q", object.GetKind(), object.GetName(), path, value, operatorNamespace)
		}
		paths = append(paths, path)
		return nil
	}
	if object.GetNamespace() != "" {
		if err := add("/metadata/namespace", object.GetNamespace()); err != nil {
			return nil, err
		}
	}
	if object.GetKind() == "Namespace" {
		if err := add("/metadata/name", object.GetName()); err != nil {
			return nil, err
		}
	}
	subjects, _, err := unstructured.NestedSlice(object.Object, "subjects")
	if err != nil {
		return nil, err
	}
	for i := range subjects {
		namespace, _, err := unstructured.NestedString(subjects[i].(map[string]any), "namespace")
		if err != nil {
			return nil, err
		}
		if err := add(fmt.Sprintf("/subjects/%d/namespace", i), namespace); err != nil {
			return nil, err
		}
	}
	var found []field
	for _, path := range paths {
		found = append(found, field{path: path, value: `{{ include "replika.namespace" . | toJson }}`})
	}
	return found, nil
}
