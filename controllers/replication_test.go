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
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Replication", func() {
	It("Should apply updates of a ConfigMap to every copy, and remove keys that the source no longer has", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Data["dropped"] = "soon"
		source.BinaryData = map[string][]byte{"bytes": {0, 1, 255}}
		source.Labels = map[string]string{"tier": "back", "dropped": "soon"}
		source.Annotations = map[string]string{"note": "first", "dropped": "soon"}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Copied(ctx, api, source, a, b)
		Expect(read(ctx, source, a).GetLabels()).To(HaveKeyWithValue("dropped", "soon"))
		first := expect.Ready(ctx, api, replika, 2).Status.Source.ResourceVersion
		uid := read(ctx, source, a).GetUID()

		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Data = map[string]string{"key": "two", "new": ""}
			source.BinaryData = nil
			source.Labels = map[string]string{"tier": "front"}
			source.Annotations = map[string]string{"note": "second"}
		})
		expect.Copied(ctx, api, source, a, b)
		for _, namespace := range []string{a, b} {
			Eventually(ctx, func(g Gomega) {
				now := read(ctx, source, namespace)
				g.Expect(now.Object).NotTo(HaveKey("binaryData"))
				g.Expect(now.GetLabels()).To(And(HaveKeyWithValue("tier", "front"), Not(HaveKey("dropped"))))
				g.Expect(now.GetAnnotations()).To(And(HaveKeyWithValue("note", "second"), Not(HaveKey("dropped"))))
			}).Should(Succeed())
		}
		Expect(read(ctx, source, a).GetUID()).To(Equal(uid), "an update does not re-create a copy")
		expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(now.Status.Source.ResourceVersion).To(And(Equal(source.ResourceVersion), Not(Equal(first))))
		})
	})

	It("Should apply updates in nested lists", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, playlist(f.namespace(ctx, "source"), "evening"))
		patchStatus(ctx, source, `{"status":{"plays":7}}`)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Copied(ctx, api, source, a)
		Expect(read(ctx, source, a).Object).NotTo(HaveKey("status"), "a status belongs to one object")

		update(ctx, source, func(source *unstructured.Unstructured) {
			records, _, _ := unstructured.NestedSlice(source.Object, "spec", "records")
			tracks := records[0].(map[string]any)["tracks"].([]any)
			tracks[0].(map[string]any)["tags"] = []any{"slow"}
			records[0].(map[string]any)["tracks"] = tracks[:1]
			Expect(unstructured.SetNestedSlice(source.Object, records, "spec", "records")).To(Succeed())
		})
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should copy a Secret with its type, and remove a key that the source no longer has", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.Secret(f.namespace(ctx, "source"), "account", "one")
		source.Type = "example.com/account"
		source.Data["old"] = []byte{0, 255}
		create(ctx, source)
		f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Copied(ctx, api, source, a)
		Expect(kit.Content(read(ctx, source, a))).To(And(HaveKeyWithValue("type", "example.com/account"), HaveKeyWithValue("data", HaveKey("old"))))

		update(ctx, source, func(source *corev1.Secret) { delete(source.Data, "old") })
		expect.Copied(ctx, api, source, a)
	})

	It("Should copy a Secret of 1 MiB and its updates", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.Secret(f.namespace(ctx, "source"), "large", strings.Repeat("x", corev1.MaxSecretSize))
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Copied(ctx, api, source, a)

		update(ctx, source, func(source *corev1.Secret) { source.Data["key"][corev1.MaxSecretSize-1] = 'y' })
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should support Replika names of 253 characters", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		other := create(ctx, kit.ConfigMap(source.Namespace, "others", "one"))
		long := strings.Repeat("n", 252)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.WithName(long+"1"))
		// It differs from the first only where a label value is cut.
		twin := f.replika(ctx, other, kit.TargetNamespaces(a), kit.WithName(long+"2"))
		expect.Ready(ctx, api, replika, 1)
		expect.Ready(ctx, api, twin, 1)
		expect.Copied(ctx, api, source, a)
		expect.Copied(ctx, api, other, a)
		Expect(read(ctx, source, a).GetLabels()[v1alpha1.LabelPartOf]).
			NotTo(Equal(read(ctx, other, a).GetLabels()[v1alpha1.LabelPartOf]))

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b} })
		expect.Copied(ctx, api, source, b)
		expect.Gone(ctx, api, source, a)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, b)
		Expect(read(ctx, other, a)).NotTo(BeNil())
	})

	It("Should support source names of 253 characters", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), strings.Repeat("s", 253), "one"))
		expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.WithName("short")), 1)
		expect.Copied(ctx, api, source, a)
	})

	It("Should read the source in the Replika's namespace by default", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), func(replika *v1alpha1.Replika) { replika.Spec.Source.Namespace = "" })
		expect.Ready(ctx, api, replika, 1)
		expect.Copied(ctx, api, source, a)
		Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
	})

	It("Should copy from another namespace into the Replika's own", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		expect.Ready(ctx, api, f.replika(ctx, source, kit.InNamespace(a), kit.TargetNamespaces(a)), 1)
		expect.Copied(ctx, api, source, a)
	})

	It("Should copy into a new namespace promptly, whatever the interval", func(ctx SpecContext) {
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 0)

		a := f.namespace(ctx, "a")
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should use the default interval", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(0))
		Expect(replika.Spec.Synchronization.Time).To(Equal(v1alpha1.Duration{Duration: time.Minute}))
		expect.Ready(ctx, api, replika, 1)
	})
})
