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

package controllers_test

import (
	"fmt"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// The sample copies to all namespaces, those of other specs too.
var _ = Describe("The sample manifest", serial, func() {
	DescribeTable("Should copy to all namespaces except the excluded ones",
		func(ctx SpecContext, source *unstructured.Unstructured) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source = source.DeepCopy() // each attempt creates it
			DeferCleanup(deleteAndWait, source)
			create(ctx, source)
			before := read(ctx, source, metav1.NamespaceDefault)

			replika := sampleReplika(source)
			DeferCleanup(deleteAndWait, replika)
			create(ctx, replika)
			expect.Copied(ctx, api, source, a, b)
			expect.Ready(ctx, api, replika, activeNamespaces(ctx)-4)

			expect.Copied(ctx, api, source, f.namespace(ctx, "later"))
			expect.Ready(ctx, api, replika, activeNamespaces(ctx)-4)
			for _, excluded := range []string{"kube-system", "kube-public", "kube-node-lease"} {
				Expect(read(ctx, source, excluded)).To(BeNil(), excluded)
			}
			Expect(read(ctx, source, metav1.NamespaceDefault)).To(Equal(before), "the source")

			deleteAndWait(ctx, replika)
			expect.Gone(ctx, api, source, a, b, f.name("later"))
			Expect(read(ctx, source, metav1.NamespaceDefault)).To(Equal(before), "the source")
		},
		Entry("ConfigMap, unchanged", sampleSource(`kind: ConfigMap
apiVersion: v1
data: {greeting: Hello from the default namespace}
`)),
		Entry("Secret", sampleSource(`kind: Secret
apiVersion: v1
type: kubernetes.io/basic-auth
data: {username: YWRtaW4=, password: aHVudGVyMg==}
`)),
		Entry("custom kind with nested lists", sampleSource(`kind: Playlist
apiVersion: `+playlistGroup+`/v1
spec: {shuffle: true, matrix: [[1, 2], [], [3]], records: [{title: First light, tracks: [{title: Dawn, tags: [slow]}]}]}
`)),
	)

	It("Should name the sample ConfigMap as its source", func() {
		Expect(sampleSource(fileContent("../config/samples/configmap.yaml")).GetName()).
			To(Equal(sampleReplika(sampleSource("kind: ConfigMap\napiVersion: v1")).Spec.Source.Name))
	})
})

// sampleSource builds a source of the sample, or of a sample for another kind.
func sampleSource(manifest string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		panic(err) // no spec runs yet that could fail
	}
	object.SetNamespace(metav1.NamespaceDefault)
	object.SetName("sample-configmap")
	return object
}

// sampleReplika returns the sample's Replika with the source's kind.
func sampleReplika(source client.Object) *v1alpha1.Replika {
	GinkgoHelper()
	sample := &v1alpha1.Replika{}
	Expect(yaml.UnmarshalStrict([]byte(fileContent("../config/samples/replika_v1beta1_replika.yaml")), sample)).To(Succeed())
	Expect(sample.Spec.Source).To(Equal(v1alpha1.SourceSpec{
		Version: "v1", Kind: "ConfigMap", Name: "sample-configmap", Namespace: metav1.NamespaceDefault,
	}))
	kind := source.GetObjectKind().GroupVersionKind()
	sample.Spec.Source.Group, sample.Spec.Source.Version, sample.Spec.Source.Kind = kind.Group, kind.Version, kind.Kind
	sample.Namespace = metav1.NamespaceDefault // where kubectl puts it
	return sample
}

func fileContent(path string) string {
	GinkgoHelper()
	file, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred(), fmt.Sprintf("read %s", path))
	return string(file)
}
