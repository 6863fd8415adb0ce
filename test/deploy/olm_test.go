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
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The suite has no OLM to install the bundle. So it checks the bundle's parts against OLM's schema and against the manifests;
// make bundle runs OLM's validators.
var _ = Describe("The bundle for OLM", func() {
	bundled := func() map[string]*unstructured.Unstructured {
		GinkgoHelper()
		return byKindAndName(filepath.Join(repository, "bundle", "manifests"))
	}

	It("matches the README's Subscription", func(ctx SpecContext) {
		var subscription, group *unstructured.Unstructured
		for _, object := range decodeObjects(block("yaml", "kind: Subscription")) {
			switch object.GetKind() {
			case "Namespace":
				Expect(object.GetName()).To(Equal("replika"))
				continue
			case "Subscription":
				subscription = object
			case "OperatorGroup":
				group = object
			}
			ensureNamespace(ctx, object)
			Expect(admin.Create(ctx, object, client.DryRunAll)).To(Succeed())
		}
		Expect(subscription.Object["spec"]).To(And(
			HaveKeyWithValue("name", bundleAnnotation("package.v1")),
			HaveKeyWithValue("channel", bundleAnnotation("channel.default.v1")),
		))
		csv := bundled()["ClusterServiceVersion replika."+release()]
		Expect(csv).NotTo(BeNil())
		suggested := csv.GetAnnotations()["operatorframework.io/suggested-namespace"]
		Expect([]string{subscription.GetNamespace(), group.GetNamespace()}).To(HaveEach(suggested))
		modes, _, err := unstructured.NestedSlice(csv.Object, "spec", "installModes")
		Expect(err).NotTo(HaveOccurred())
		Expect(modes).To(ContainElement(And(HaveKeyWithValue("type", "AllNamespaces"), HaveKeyWithValue("supported", true))))
		Expect(group.Object["spec"]).NotTo(Or(HaveKey("selector"), HaveKey("targetNamespaces")), "it selects all namespaces")
	})

	It("is in both channels, and upgrades from all earlier versions", func() {
		Expect(strings.Split(bundleAnnotation("channels.v1"), ",")).To(ConsistOf("stable", "alpha"))
		Expect(bundleAnnotation("channel.default.v1")).To(Equal("stable"))
		Expect(bundled()["ClusterServiceVersion replika."+release()].GetAnnotations()).To(HaveKeyWithValue("olm.skipRange", "<"+strings.TrimPrefix(release(), "v")))
	})

	It("describes every version of the API", func() {
		versions, _, err := unstructured.NestedSlice(bundled()["CustomResourceDefinition replikas.replika.prosimcorp.com"].Object, "spec", "versions")
		Expect(err).NotTo(HaveOccurred())
		Expect(versions).To(HaveLen(2))
		var described []any
		owned, _, err := unstructured.NestedSlice(bundled()["ClusterServiceVersion replika."+release()].Object, "spec", "customresourcedefinitions", "owned")
		Expect(err).NotTo(HaveOccurred())
		for _, crd := range owned {
			described = append(described, HaveKeyWithValue("name", crd.(map[string]any)["version"]))
		}
		Expect(versions).To(ConsistOf(described...))
	})

	It("has the image and the permissions of the manifests", func(ctx SpecContext) {
		inBundle := bundled()
		csv := inBundle["ClusterServiceVersion replika."+release()]
		// The CRD rejects fields that OLM does not know.
		csv.SetNamespace("default")
		Expect(admin.Create(ctx, csv, client.DryRunAll)).To(Succeed())

		permissions, _, err := unstructured.NestedSlice(csv.Object, "spec", "install", "spec", "clusterPermissions")
		Expect(err).NotTo(HaveOccurred())
		Expect(permissions).To(HaveLen(1))
		Expect(permissions[0]).To(HaveKeyWithValue("serviceAccountName", accountName.Name))
		granted, _, err := unstructured.NestedSlice(permissions[0].(map[string]any), "rules")
		Expect(err).NotTo(HaveOccurred())
		deployments, _, err := unstructured.NestedSlice(csv.Object, "spec", "install", "spec", "deployments")
		Expect(err).NotTo(HaveOccurred())
		Expect(deployments).To(HaveLen(1))

		for name, object := range byKindAndName(filepath.Join(repository, "manifests")) {
			switch object.GetKind() {
			case "ClusterRole":
				if rules, _, _ := unstructured.NestedSlice(object.Object, "rules"); inBundle[name] == nil {
					Expect(rules).NotTo(BeEmpty(), "%s is not in the bundle", name)
					Expect(granted).To(ContainElements(rules...), name)
				}
			case "CustomResourceDefinition", "PodDisruptionBudget":
				Expect(inBundle[name]).NotTo(BeNil(), "%s is not in the bundle", name)
				Expect(inBundle[name].Object["spec"]).To(Equal(object.Object["spec"]), name)
			case "Deployment":
				image := func(deployment map[string]any, path ...string) any {
					containers, _, err := unstructured.NestedSlice(deployment, append(path, "template", "spec", "containers")...)
					Expect(err).NotTo(HaveOccurred())
					return containers[0].(map[string]any)["image"]
				}
				Expect(image(deployments[0].(map[string]any), "spec")).To(Equal(image(object.Object, "spec")))
				Expect(csv.GetAnnotations()).To(HaveKeyWithValue("containerImage", image(object.Object, "spec")))
			}
		}
	})
})

// bundleAnnotation returns an annotation in the metadata of the bundle.
func bundleAnnotation(name string) string {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join(repository, "bundle", "metadata", "annotations.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var bundle struct{ Annotations map[string]string }
	Expect(yaml.Unmarshal(content, &bundle)).To(Succeed())
	Expect(bundle.Annotations).To(HaveKey("operators.operatorframework.io.bundle." + name))
	return bundle.Annotations["operators.operatorframework.io.bundle."+name]
}

// byKindAndName returns the objects in the files of a folder.
func byKindAndName(folder string) map[string]*unstructured.Unstructured {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	found := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		for _, object := range decodeObjects(string(content)) {
			found[object.GetKind()+" "+object.GetName()] = object
		}
	}
	Expect(found).NotTo(BeEmpty(), folder)
	return found
}
