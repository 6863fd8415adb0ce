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
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

const (
	// hang is how long a request hangs; beforeEnd is how soon what does not depend on it must happen on a busy machine.
	hang      = 28 * time.Second
	beforeEnd = 22 * time.Second
	// manyHanging is more than the operator of the suite has workers, or permits for writes.
	manyHanging = 20
)

var _ = Describe("Requests that hang", func() {
	It("Should not delay the copies in other namespaces", func(ctx SpecContext) {
		f := newFixture()
		var hanging []string
		for number := range manyHanging {
			hanging = append(hanging, f.namespace(ctx, fmt.Sprintf("hanging-%d", number)))
		}
		healthy := f.namespace(ctx, "healthy")
		installHangingWebhook(ctx, hang, hanging...)
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("*")))
		copiedPromptly(ctx, source, healthy)
		for _, value := range []string{"two", "three"} {
			update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = value })
			copiedPromptly(ctx, source, healthy)
		}
		late := f.namespace(ctx, "late")
		copiedPromptly(ctx, source, late)

		expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
			g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonProgressing))
			g.Expect(kit.Ready(current).Message).To(ContainSubstring(hanging[0]))
			g.Expect(current.Status.Copies).To(HaveValue(HaveField("Synced", BeEquivalentTo(2))))
		})
		expect.Copied(ctx, api, source, hanging...)
		expect.Ready(ctx, api, replika, manyHanging+2)
	})

	It("Should not delay other Replikas", func(ctx SpecContext) {
		f := newFixture()
		hanging, healthy, sources := f.namespace(ctx, "hanging"), f.namespace(ctx, "healthy"), f.namespace(ctx, "source")
		installHangingWebhook(ctx, hang, hanging)
		for number := range manyHanging {
			f.replika(ctx, create(ctx, kit.ConfigMap(sources, fmt.Sprintf("hanging-%d", number), "one")), kit.TargetNamespaces(hanging))
		}
		source := create(ctx, kit.ConfigMap(sources, "settings", "one"))
		f.replika(ctx, source, kit.TargetNamespaces(healthy))
		copiedPromptly(ctx, source, healthy)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		copiedPromptly(ctx, source, healthy)
	})

	// The controllers of quotas and of garbage collection cannot watch the kind either, which delays other specs.
	It("Should not delay Replikas of other kinds", serial, func(ctx SpecContext) {
		f := newFixture()
		healthy, sources := f.namespace(ctx, "healthy"), f.namespace(ctx, "source")
		definition := installCRD(ctx, "Album", "albums")
		DeferCleanup(deleteAndWait, definition)
		for number := range manyHanging {
			create(ctx, playlistOf("Album", sources, fmt.Sprintf("hanging-%d", number)))
		}
		hangConversion(ctx, definition, playlistOf("Album", sources, "hanging-0"))
		for number := range manyHanging {
			f.replika(ctx, playlistOf("Album", sources, fmt.Sprintf("hanging-%d", number)), kit.TargetNamespaces(healthy))
		}
		source := create(ctx, kit.ConfigMap(sources, "settings", "one"))
		f.replika(ctx, source, kit.TargetNamespaces(healthy))
		copiedPromptly(ctx, source, healthy)
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		copiedPromptly(ctx, source, healthy)
	})
})

// copiedPromptly expects a copy with the source's present content, long before a request that hangs has ended.
func copiedPromptly(ctx context.Context, source *corev1.ConfigMap, namespace string) {
	GinkgoHelper()
	Eventually(ctx, func() map[string]string {
		copied := &corev1.ConfigMap{}
		_ = api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: source.Name}, copied) // not copied yet
		return copied.Data
	}).WithTimeout(beforeEnd).Should(Equal(source.Data), namespace)
}

// silentURL is that of a server that accepts connections and never responds.
func silentURL() string {
	GinkgoHelper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(silent.Close)
	return "https://" + silent.Addr().String() + "/"
}

// installHangingWebhook installs a webhook that never responds, and that is ignored after a delay, for ConfigMaps that are
// created in the namespaces.
func installHangingWebhook(ctx context.Context, delay time.Duration, namespaces ...string) {
	GinkgoHelper()
	hook := create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "hanging-" + namespaces[0]},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:         "hanging.suite.example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new(silentURL())},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: namespaces,
			}}},
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			FailurePolicy:           new(admissionregistrationv1.Ignore),
			TimeoutSeconds:          new(int32(delay / time.Second)),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	})
	DeferCleanup(deleteAndWait, hook)
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespaces[0], GenerateName: "probe-"}}
	expectHang(ctx, func(ctx context.Context) error { return api.Create(ctx, probe.DeepCopy(), client.DryRunAll) })
}

// hangConversion stores the kind in a new version. The objects are of the former one, so that the API server calls a webhook to
// convert them, which never responds.
func hangConversion(ctx context.Context, definition *unstructured.Unstructured, stored *unstructured.Unstructured) {
	GinkgoHelper()
	convert := func(ctx context.Context, conversion map[string]any) {
		expect.Update(ctx, api, definition, func(definition *unstructured.Unstructured) {
			versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
			Expect(err).NotTo(HaveOccurred())
			former := versions[0].(map[string]any)
			former["storage"] = false
			current := (&unstructured.Unstructured{Object: former}).DeepCopy().Object
			current["name"], current["storage"] = "v2", true
			Expect(unstructured.SetNestedSlice(definition.Object, []any{former, current}, "spec", "versions")).To(Succeed())
			Expect(unstructured.SetNestedMap(definition.Object, conversion, "spec", "conversion")).To(Succeed())
		})
	}
	DeferCleanup(func(ctx SpecContext) { convert(ctx, map[string]any{"strategy": "None"}) })
	convert(ctx, map[string]any{"strategy": "Webhook", "webhook": map[string]any{
		"clientConfig": map[string]any{"url": silentURL()}, "conversionReviewVersions": []any{"v1"},
	}})
	probe := stored.DeepCopy()
	probe.SetAPIVersion(playlistGroup + "/v2")
	expectHang(ctx, func(ctx context.Context) error { return api.Get(ctx, client.ObjectKeyFromObject(probe), probe) })
}

// expectHang waits until the request gets no response for a while.
func expectHang(ctx context.Context, request func(context.Context) error) {
	GinkgoHelper()
	Eventually(ctx, func() error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return request(short)
	}).Should(MatchError(context.DeadlineExceeded))
}
