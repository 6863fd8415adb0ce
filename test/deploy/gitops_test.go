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

package deploy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The README's manifests for GitOps tools", func() {
	DescribeTable("match the tool's schema, and name a version and a workDir of this repository",
		func(ctx SpecContext, text string, kinds []string, tag, path []string) {
			var applied []string
			for _, object := range decodeObjects(block("yaml", text)) {
				ensureNamespace(ctx, object)
				Expect(admin.Create(ctx, object)).To(Succeed(), "%s %s", object.GetKind(), object.GetName())
				DeferCleanup(admin.Delete, object)
				applied = append(applied, object.GetKind())
				if value, found, _ := unstructured.NestedString(object.Object, tag...); found {
					Expect(value).To(Equal(release()))
					tag = nil
				}
				if value, found, _ := unstructured.NestedString(object.Object, path...); found {
					Expect(filepath.Join(repository, value, "kustomization.yaml")).To(BeARegularFile())
					path = nil
				}
			}
			Expect(applied).To(Equal(kinds))
			Expect(tag).To(BeNil(), "the version")
			Expect(path).To(BeNil(), "the path")
		},
		Entry("Argo CD", "kind: Application", []string{"Application"},
			[]string{"spec", "source", "targetRevision"}, []string{"spec", "source", "path"}),
		Entry("Argo CD's health check", "kind: ConfigMap\nmetadata:\n  name: argocd-cm", []string{"ConfigMap"}, nil, nil),
		Entry("Flux", "kind: GitRepository\nmetadata", []string{"GitRepository", "Kustomization"},
			[]string{"spec", "ref", "tag"}, []string{"spec", "path"}),
		Entry("Flux's source of the OCI artifact", "kind: OCIRepository", []string{"OCIRepository"}, []string{"spec", "ref", "tag"}, nil),
	)
})

// healthStatus returns the Replika's health in Argo CD, by the README's script, and its status in Flux, by kstatus.
func healthStatus(ctx context.Context, name string) string {
	GinkgoHelper()
	script := filepath.Join(workDir, "health.lua")
	config := decodeObjects(block("yaml", "kind: ConfigMap\nmetadata:\n  name: argocd-cm"))[0]
	text, found, err := unstructured.NestedString(config.Object, "data", "resource.customizations.health.replika.prosimcorp.com_Replika")
	Expect(err).NotTo(HaveOccurred())
	Expect(found).To(BeTrue())
	Expect(os.WriteFile(script, []byte(text), 0o600)).To(Succeed())
	replika := filepath.Join(workDir, "replika.yaml")
	Expect(os.WriteFile(replika, []byte(terminal.Run(ctx, workDir, "kubectl --namespace store get replika "+name+" --output yaml")), 0o600)).To(Succeed())
	return strings.TrimSpace(terminal.Command(ctx, "go", "-C", filepath.Join(repository, "hack", "health"), "run", ".", script, replika))
}

// decodeObjects returns the objects of a manifest.
func decodeObjects(manifest string) []*unstructured.Unstructured {
	GinkgoHelper()
	var found []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(strings.NewReader(manifest)), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		Expect(err).NotTo(HaveOccurred())
		if len(object.Object) > 0 {
			found = append(found, object)
		}
	}
}

// ensureNamespace creates the object's namespace unless it exists.
func ensureNamespace(ctx context.Context, object *unstructured.Unstructured) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: object.GetNamespace()}}
	Expect(client.IgnoreAlreadyExists(admin.Create(ctx, namespace))).To(Succeed())
}
