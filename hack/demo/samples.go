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
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The objects that the samples are made of.
var (
	sourceKey  = types.NamespacedName{Namespace: "default", Name: "sample-configmap"}
	replikaKey = types.NamespacedName{Namespace: "default", Name: "replika-sample"}
)

// fieldOwner is the demo's name in managedFields.
const fieldOwner = client.FieldOwner("replika-demo")

// applySamples does what `kubectl apply --server-side --kustomize config/samples` does.
func applySamples(ctx context.Context, s *stage) error {
	objects, err := readSamples(s.samples)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetNamespace() == "" {
			object.SetNamespace("default")
		}
		apply := client.ApplyConfigurationFromUnstructured(object)
		if err := s.client.Apply(ctx, apply, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s: %w", object.GetName(), err)
		}
		s.show.say("you apply", "%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
	}
	return nil
}

// readSamples reads the objects that a folder's kustomization lists, in its order.
func readSamples(folder string) ([]*unstructured.Unstructured, error) {
	content, err := os.ReadFile(filepath.Join(folder, "kustomization.yaml"))
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(content, &kustomization); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, name := range kustomization.Resources {
		inFile, err := readObjects(filepath.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, inFile...)
	}
	return objects, nil
}
