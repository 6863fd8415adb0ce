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
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// component is the content of one template.
type component struct {
	// name is the name of the file, without extension.
	name string
	// condition is the condition on which the objects are part of the release; empty for always.
	condition string
	objects   []*unstructured.Unstructured
}

// base is the file with the manifests that are installed by default. Their components are distinguished by kind.
const base = "manifests"

// newComponents returns the components, without objects. Those that are not in componentOfKind are Kustomize's, in a file of their name.
func newComponents() []*component {
	return []*component{
		{name: "crd", condition: "if .Values.crds.install"},
		{name: "namespace", condition: `if include "replika.hasNamespace" .`},
		{name: "rbac"},
		{name: "manager"},
		{name: "pod-disruption-budget", condition: "if .Values.podDisruptionBudget.enabled"},
		{name: "operator-policy", condition: "if .Values.operatorPolicy.enabled"},
		{name: "impersonation", condition: "if .Values.impersonation.enabled"},
		{name: "policy", condition: "if .Values.policy.enabled"},
		{name: "network-policy", condition: "if .Values.networkPolicy.enabled"},
		{name: "prometheus", condition: "if .Values.prometheus.enabled"},
	}
}

// componentOfKind has every kind of the manifests that are installed by default.
var componentOfKind = map[string]string{
	"CustomResourceDefinition":         "crd",
	"Namespace":                        "namespace",
	"ServiceAccount":                   "rbac",
	"Role":                             "rbac",
	"RoleBinding":                      "rbac",
	"ClusterRole":                      "rbac",
	"ClusterRoleBinding":               "rbac",
	"Deployment":                       "manager",
	"PodDisruptionBudget":              "pod-disruption-budget",
	"ValidatingAdmissionPolicy":        "operator-policy",
	"ValidatingAdmissionPolicyBinding": "operator-policy",
}

// readComponents reads what Kustomize built.
func (g *generator) readComponents() ([]*component, error) {
	components := newComponents()
	byName := map[string]*component{}
	for _, component := range components {
		byName[component.name] = component
	}
	installed, err := readObjects(filepath.Join(g.input, base+".yaml"))
	if err != nil {
		return nil, err
	}
	for _, object := range installed {
		component := byName[componentOfKind[object.GetKind()]]
		if component == nil {
			return nil, fmt.Errorf("%s %s: no component of the chart has this kind", object.GetKind(), object.GetName())
		}
		component.objects = append(component.objects, object)
	}
	for _, component := range components {
		if component.objects != nil {
			continue
		}
		if component.objects, err = readObjects(filepath.Join(g.input, component.name+".yaml")); err != nil {
			return nil, err
		}
	}
	return components, nil
}

func readObjects(path string) ([]*unstructured.Unstructured, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		objects = append(objects, object)
	}
}
