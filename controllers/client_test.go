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
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Short forms of the test kit's functions, as the administrator of the suite's control plane.

func create[Object client.Object](ctx context.Context, object Object) Object {
	GinkgoHelper()
	return expect.Create(ctx, api, object)
}

// read returns the object of like's kind and name in a namespace; nil for none.
func read(ctx context.Context, like client.Object, namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	return expect.Read(ctx, api, like, namespace)
}

// update changes the object as it is on the API server, and retries on a conflict.
func update[T any, Object interface {
	*T
	client.Object
}](ctx context.Context, object Object, change func(Object)) {
	GinkgoHelper()
	expect.Update(ctx, api, object, change)
}

// deleteAndWait deletes the object and waits until it is gone.
func deleteAndWait(ctx context.Context, object client.Object) {
	GinkgoHelper()
	expect.Delete(ctx, api, object)
}

// patchStatus merges the patch into the object's status.
func patchStatus(ctx context.Context, object client.Object, patch string) {
	GinkgoHelper()
	current := object.DeepCopyObject().(client.Object)
	Expect(api.Status().Patch(ctx, current, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// foreignFinalizer is the finalizer of another tool.
const foreignFinalizer = "suite.example.com/hold"

// addFinalizer puts another tool's finalizer on the object, and removes it at the spec's end.
func addFinalizer(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(kit.SetFinalizers(ctx, api, object, foreignFinalizer)).To(Succeed())
	DeferCleanup(removeFinalizers, object)
}

// removeFinalizers removes all finalizers of the object, if it exists.
func removeFinalizers(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(kit.SetFinalizers(ctx, api, object)).To(Succeed())
}

func namespaceUID(ctx context.Context, name string) types.UID {
	GinkgoHelper()
	namespace := &corev1.Namespace{}
	Expect(api.Get(ctx, client.ObjectKey{Name: name}, namespace)).To(Succeed())
	return namespace.UID
}

// without returns the map without some keys.
func without(from map[string]string, keys ...string) map[string]string {
	rest := maps.Clone(from)
	for _, key := range keys {
		delete(rest, key)
	}
	return rest
}
