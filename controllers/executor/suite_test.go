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

// Package writing_test proves the guarded requests against a real API server, with the races that the guards are for made
// to happen: one control plane for the suite, and namespaces of its own for each spec.
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
)

var (
	// controlPlane is shared by all processes of the suite.
	controlPlane *cluster.Cluster
	// api is the administrator's access: it plays everybody else who works with the objects.
	api client.Client
)

func TestWriting(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Writing")
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	var err error
	controlPlane, err = cluster.Start(ctx, cluster.Options{CRDs: []string{"../../test/cluster/testdata"}})
	Expect(err).NotTo(HaveOccurred())
	connect()
	installGadgets(ctx)
	return []byte(controlPlane.Kubeconfig)
}, func(kubeconfig []byte) {
	SetDefaultEventuallyTimeout(30 * time.Second) // two busy cores, under the race detector
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

// Two kinds that no API server knows by itself. Of a Widget the schema says nothing, so it may have any top-level field. A
// Gadget has a schema with a default, an optional object, and a field that never changes.
var (
	widgetKind = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	gadgetKind = schema.GroupVersionKind{Group: "gadgets.example.com", Version: "v1", Kind: "Gadget"}
)

func installGadgets(ctx SpecContext) {
	installKind(ctx, gadgetKind, map[string]any{
		"spec": map[string]any{"type": "object", "properties": map[string]any{
			"mode": map[string]any{"type": "string"},
			"pace": map[string]any{"type": "string", "default": "steady"},
			"make": map[string]any{"type": "string", "x-kubernetes-validations": []any{
				map[string]any{"rule": "self == oldSelf", "message": "make never changes"},
			}},
		}},
		"extra": map[string]any{"type": "object", "properties": map[string]any{"colour": map[string]any{"type": "string"}}},
	})
}

// installKind makes a namespaced kind with the given top-level fields and returns when it is served.
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
	// A kind is served for good when it takes objects: the API server waits for its own watches before.
	probe := newObject(kind, "default", "probe")
	Eventually(ctx, func() error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) }).Should(Succeed())
	return definition
}
