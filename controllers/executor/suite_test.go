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

// Package executor_test tests the guarded requests against a real API server, with the concurrent changes that the guards
// protect against. All specs share one control plane, and each has its own namespace.
package executor_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var (
	// controlPlane is shared by all processes of the suite.
	controlPlane *cluster.Cluster
	// api is the client of an administrator. It acts as every other client of the API server.
	api client.Client
)

func TestExecutor(t *testing.T) {
	expect.Run(t, "Executor")
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	var err error
	controlPlane, err = cluster.Start(ctx, cluster.Options{CRDs: []string{"../../test/cluster/testdata"}})
	Expect(err).NotTo(HaveOccurred())
	connect()
	installGadgetKind(ctx)
	return []byte(controlPlane.Kubeconfig)
}, func(kubeconfig []byte) {
	SetDefaultEventuallyTimeout(time.Minute) // for slow machines and the race detector
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	if controlPlane == nil {
		var err error
		controlPlane, err = cluster.Attach(string(kubeconfig))
		Expect(err).NotTo(HaveOccurred())
		connect()
	}
})

var _ = SynchronizedAfterSuite(func() {}, func() {
	if controlPlane != nil {
		Expect(controlPlane.Stop()).To(Succeed())
	}
})

func connect() {
	config := rest.CopyConfig(controlPlane.Config)
	config.WarningHandler = rest.NoWarnings{}
	var err error
	api, err = client.New(config, client.Options{})
	Expect(err).NotTo(HaveOccurred())
}

// Custom resources of the suite. The schema of a Widget preserves unknown fields. The schema of a Gadget has a default, an
// optional object, and an immutable field.
var (
	widgetKind = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	gadgetKind = schema.GroupVersionKind{Group: "gadgets.example.com", Version: "v1", Kind: "Gadget"}
)

func installGadgetKind(ctx SpecContext) {
	installKind(ctx, gadgetKind, map[string]any{
		"spec": map[string]any{"type": "object", "properties": map[string]any{
			"mode": map[string]any{"type": "string"},
			"pace": map[string]any{"type": "string", "default": "steady"},
			"make": map[string]any{"type": "string", "x-kubernetes-validations": []any{
				map[string]any{"rule": "self == oldSelf", "message": "make is immutable"},
			}},
		}},
		"extra": map[string]any{"type": "object", "properties": map[string]any{"colour": map[string]any{"type": "string"}}},
	})
}

// installKind creates the definition of a namespaced kind with these top-level fields, and returns when the API server serves it.
func installKind(ctx SpecContext, kind schema.GroupVersionKind, fields map[string]any) *unstructured.Unstructured {
	GinkgoHelper()
	singular := strings.ToLower(kind.Kind)
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": singular + "s." + kind.Group},
		"spec": map[string]any{
			"group": kind.Group,
			"scope": "Namespaced",
			"names": map[string]any{"kind": kind.Kind, "listKind": kind.Kind + "List", "plural": singular + "s", "singular": singular},
			"versions": []any{map[string]any{
				"name": kind.Version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": fields}},
			}},
		},
	}}
	Expect(api.Create(ctx, definition)).To(Succeed())
	// A create succeeds only when the API server has finished the setup of the kind.
	probe := newObject(kind, "default", "probe")
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).Should(Succeed())
	return definition
}
