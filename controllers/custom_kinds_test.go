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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
)

// playlistGroup is the API group of the kinds that the suite defines.
const playlistGroup = "suite.example.com"

// installCRD installs a CRD of a kind with nested lists and a status, and waits until it is served.
func installCRD(ctx context.Context, kind, plural string) *unstructured.Unstructured {
	GinkgoHelper()
	definition := kit.FromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.%[3]s}
spec:
  group: %[3]s
  scope: Namespaced
  names: {kind: %[1]s, listKind: %[1]sList, plural: %[2]s}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
          spec:
            type: object
            properties:
              shuffle: {type: boolean, default: false}
              matrix:
                type: array
                items: {type: array, items: {type: integer}}
              records:
                type: array
                items:
                  type: object
                  properties:
                    title: {type: string}
                    tracks:
                      type: array
                      items:
                        type: object
                        properties:
                          title: {type: string}
                          tags: {type: array, items: {type: string}}
`, kind, plural, playlistGroup))
	create(ctx, definition)
	waitUntilServed(ctx, schema.GroupVersionKind{Group: playlistGroup, Version: "v1", Kind: kind})
	return definition
}

func installPlaylists(ctx context.Context) {
	installCRD(ctx, "Playlist", "playlists")
}

// waitUntilServed waits until the API server serves the kind: discovery is updated a little after the CRD has the condition
// Established.
func waitUntilServed(ctx context.Context, kind schema.GroupVersionKind) {
	GinkgoHelper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	Eventually(ctx, func() error { return api.List(ctx, list, client.Limit(1)) }).Should(Succeed(), kind.String())
}

// conditionOf returns the status of one of the object's conditions.
func conditionOf(object *unstructured.Unstructured, conditionType string) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if fields, ok := condition.(map[string]any); ok && fields["type"] == conditionType {
			return fmt.Sprint(fields["status"])
		}
	}
	return ""
}

// playlist builds an object of a kind with nested lists.
func playlist(namespace, name string) *unstructured.Unstructured {
	return playlistOf("Playlist", namespace, name)
}

func playlistOf(kind, namespace, name string) *unstructured.Unstructured {
	GinkgoHelper()
	return kit.FromYAML(fmt.Sprintf(`
apiVersion: %s/v1
kind: %s
metadata: {namespace: %s, name: %s}
spec:
  matrix: [[1, 2], [], [3]]
  records:
  - title: First light
    tracks:
    - {title: Dawn, tags: [slow, short]}
    - {title: Noon, tags: []}
  - title: Empty
    tracks: []
`, playlistGroup, kind, namespace, name))
}
