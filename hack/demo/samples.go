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

// The source and the Replika in config/samples.
var (
	sourceKey  = types.NamespacedName{Namespace: "default", Name: "sample-configmap"}
	replikaKey = types.NamespacedName{Namespace: "default", Name: "replika-sample"}
)

// fieldOwner is the field manager of the demo's requests.
const fieldOwner = client.FieldOwner("replika-demo")

// applySamples does the same as `kubectl apply --server-side --kustomize config/samples`.
func applySamples(ctx context.Context, env *environment) error {
	return applyMatching(ctx, env, func(*unstructured.Unstructured) bool { return true })
}

// applySource applies only the source.
func applySource(ctx context.Context, env *environment) error {
	return applyMatching(ctx, env, func(object *unstructured.Unstructured) bool { return object.GetName() == sourceKey.Name })
}

// applyMatching applies those of the samples that match.
func applyMatching(ctx context.Context, env *environment, matches func(*unstructured.Unstructured) bool) error {
	objects, err := readSamples(env.samples)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if !matches(object) {
			continue
		}
		if object.GetNamespace() == "" {
			object.SetNamespace("default")
		}
		apply := client.ApplyConfigurationFromUnstructured(object)
		if err := env.client.Apply(ctx, apply, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s: %w", object.GetName(), err)
		}
		env.timeline.log("You applied the %s %s/%s.", object.GetKind(), object.GetNamespace(), object.GetName())
	}
	return nil
}

// readSamples reads the objects of the kustomization in the directory, in its order.
func readSamples(dir string) ([]*unstructured.Unstructured, error) {
	content, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
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
		inFile, err := readObjects(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		objects = append(objects, inFile...)
	}
	return objects, nil
}
