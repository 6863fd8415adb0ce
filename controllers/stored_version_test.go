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
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A kind with a field that only the stored version has", func() {
	// install installs a CRD without a conversion: v1, which is stored, has the field color, and v2 calls it colour.
	install := func(ctx context.Context, f *fixture) (v1, v2 schema.GroupVersionKind) {
		GinkgoHelper()
		kind := "Paint" + f.id
		version := `{name: %s, served: true, storage: %t, schema: {openAPIV3Schema: {type: object, properties: {
			spec: {type: object, properties: {%s: {type: string}, size: {type: integer}}}}}}}`
		definition := kit.FromYAML(fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %[1]ss.%[2]s},
			spec: {group: %[2]s, scope: Namespaced, names: {kind: %[3]s, plural: %[1]ss}, versions: [%[4]s, %[5]s]}}`,
			strings.ToLower(kind), playlistGroup, kind, fmt.Sprintf(version, "v1", true, "color"), fmt.Sprintf(version, "v2", false, "colour")))
		create(ctx, definition)
		DeferCleanup(deleteAndWait, definition)
		v1 = schema.GroupVersionKind{Group: playlistGroup, Version: "v1", Kind: kind}
		v2 = v1.GroupKind().WithVersion("v2")
		waitUntilServed(ctx, v1)
		waitUntilServed(ctx, v2)
		return v1, v2
	}
	paint := func(kind schema.GroupVersionKind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
		object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		object.SetGroupVersionKind(kind)
		object.SetNamespace(namespace)
		object.SetName(name)
		return object
	}

	It("Should be copied with that field whatever version the Replika names", func(ctx SpecContext) {
		f := newFixture()
		v1, v2 := install(ctx, f)
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		source := create(ctx, paint(v1, home, "wall", map[string]any{"color": "red", "size": int64(1)}))
		Expect(valueAt(read(ctx, paint(v2, home, "wall", nil), home), "/spec/color")).To(BeNil(), "v2 loses it")
		names := kit.SourceKind(v2.Group, v2.Version, v2.Kind)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), names)
		expect.Ready(ctx, api, replika, 2)
		expect.Copied(ctx, api, source, a, b)

		By("changing source and copy")
		setValueAt(ctx, source, "/spec/size", int64(2))
		source = read(ctx, source, home)
		expect.Copied(ctx, api, source, a, b)
		setValueAt(ctx, paint(v1, a, "wall", nil), "/spec/color", "green")
		expect.Copied(ctx, api, source, a, b)

		By("handing a copy over, and releasing one")
		rival := f.replika(ctx, source, kit.WithName("rival"), kit.TargetNamespaces(a), names, kit.Retain())
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, b)
		expect.Ready(ctx, api, rival, 1)
		expect.Copied(ctx, api, source, a)
		deleteAndWait(ctx, rival)
		released := read(ctx, source, a)
		Expect(kit.Content(released)).To(Equal(kit.Content(source)))
		Expect(kit.Content(source)).To(HaveKeyWithValue("spec", map[string]any{"color": "red", "size": int64(2)}))
	})
})
