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
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// manifests are the objects of a `kustomize build`.
type manifests []*unstructured.Unstructured

// remote matches the URL of a folder of this repository in the documentation.
var remote = regexp.MustCompile(`https://github\.com/prosimcorp/replika//(config/[a-z-]+|manifests)\?ref=v[0-9.]+`)

// tenantKustomization returns the kustomization that the documentation shows to administrators of tenants.
func tenantKustomization() string { return yamlBlock("docs/security.md", "components:") }

// readmePatch returns the README's kustomization that adds a kind to the operator's own ClusterRole.
func readmePatch() string { return yamlBlock("README.md", "/rules/0/") }

// yamlBlock returns the only YAML block of the page that contains the text.
func yamlBlock(page, text string) string {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join(root, page))
	Expect(err).NotTo(HaveOccurred())
	var found []string
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		if strings.Contains(block[1], text) {
			found = append(found, block[1])
		}
	}
	Expect(found).To(HaveLen(1), "YAML blocks in %s that contain %q", page, text)
	return found[0]
}

// build builds the kustomization, with this repository instead of the remote one.
func build(kustomization string) manifests {
	GinkgoHelper()
	dir, err := filepath.EvalSymlinks(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	here, err := filepath.Abs(root)
	Expect(err).NotTo(HaveOccurred())
	up, err := filepath.Rel(dir, here)
	Expect(err).NotTo(HaveOccurred())
	local := remote.ReplaceAllString(kustomization, up+"/$1")
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(local), 0o600)).To(Succeed())
	return buildFolder(dir)
}

// buildFolder builds a folder with the pinned Kustomize.
func buildFolder(dir string) manifests {
	GinkgoHelper()
	command := exec.Command("go", "tool", "-modfile="+filepath.Join(root, "hack", "tools", "go.mod"), "kustomize", "build", dir)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	Expect(err).NotTo(HaveOccurred(), stderr.String())

	var objects manifests
	decoder := yamlutil.NewYAMLOrJSONDecoder(bytes.NewReader(output), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		Expect(err).NotTo(HaveOccurred())
		objects = append(objects, object)
	}
}

// apply applies the objects as `kubectl apply --server-side` does, without forcing conflicts.
func (m manifests) apply(ctx context.Context) error {
	for _, object := range m {
		// A copy, because the client stores the response in it, and specs apply the object again.
		configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
		if err := admin.Apply(ctx, configuration, client.FieldOwner("kubectl")); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// waitForCRDs waits until the CRDs are established.
func (m manifests) waitForCRDs(ctx context.Context) {
	GinkgoHelper()
	for _, object := range m {
		if object.GetKind() != "CustomResourceDefinition" {
			continue
		}
		Eventually(ctx, func(g Gomega) {
			definition := &apiextensionsv1.CustomResourceDefinition{}
			g.Expect(get(ctx, object.GroupVersionKind(), "", object.GetName(), definition)).To(Succeed())
			g.Expect(definition.Status.Conditions).To(ContainElement(And(
				HaveField("Type", apiextensionsv1.Established), HaveField("Status", apiextensionsv1.ConditionTrue))))
		}).Should(Succeed())
	}
}

// ofKind returns the objects of the kind.
func (m manifests) ofKind(kind string) manifests {
	var found manifests
	for _, object := range m {
		if object.GetKind() == kind {
			found = append(found, object)
		}
	}
	return found
}

// find returns the object of the kind and name, as its Go type.
func find[T any](m manifests, kind, name string) T {
	GinkgoHelper()
	for _, object := range m.ofKind(kind) {
		if object.GetName() == name {
			return typed[T](object)
		}
	}
	Fail(fmt.Sprintf("no %s %s", kind, name))
	panic("unreachable")
}

func typed[T any](object *unstructured.Unstructured) T {
	GinkgoHelper()
	var as T
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &as)).To(Succeed())
	return as
}

// get reads an object of a kind that the client's scheme may not have.
func get(ctx context.Context, kind schema.GroupVersionKind, namespace, name string, into any) error {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	if err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into)
}
