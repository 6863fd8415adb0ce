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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// Every change of a source is noticed promptly: the interval of these Replikas is an hour.
var _ = Describe("The keys of a copy", func() {
	It("Should be those that the spec chooses, under the names that it gives them", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Data = map[string]string{"a": "1", "b": "2", "c.txt": "3"}
		source.BinaryData = map[string][]byte{"d.txt": {0xff}, "e": {0xfe}}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour),
			chooseKeys("a", "*.txt"), renameKey("a", "x"), renameKey("d.txt", "y.txt"))
		expect.Ready(ctx, api, replika, 1)
		Expect(kit.Content(read(ctx, source, a))).To(Equal(map[string]any{
			"data": map[string]any{"x": "1", "c.txt": "3"}, "binaryData": map[string]any{"y.txt": "/w=="},
		}))

		By("editing what is not chosen: nothing is written")
		mark := markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["b"] = "changed" })
		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["z.txt"] = "4" })
		eventuallyHasKeys(ctx, source, a, "x", "c.txt", "z.txt", "y.txt")
		Expect(f.writesTo(mark, "configmaps", source.Name)).To(HaveLen(1))

		By("changing a copy: it is repaired")
		update(ctx, kit.CopyIn(a, source), func(copied *corev1.ConfigMap) { copied.Data["b"] = "sneaked in" })
		eventuallyHasKeys(ctx, source, a, "x", "c.txt", "z.txt", "y.txt")

		By("choosing all keys")
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys, replika.Spec.Target.Keys = nil, nil })
		expect.Copied(ctx, api, source, a)
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should stay as they are while the source lacks a key that the spec names", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := kit.Secret(f.namespace(ctx, "source"), "certificate", "one")
		source.Data = map[string][]byte{"ca.crt": []byte("one")}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), chooseKeys("ca.crt", "tls.crt"))
		waiting := expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyNotFound)
		Expect(kit.Ready(waiting).Message).To(ContainSubstring("tls.crt"))
		expectAbsent(ctx, source, a)

		By("adding the key")
		update(ctx, source, func(source *corev1.Secret) { source.Data["tls.crt"] = []byte("two") })
		expect.Ready(ctx, api, replika, 1)
		eventuallyHasKeys(ctx, source, a, "ca.crt", "tls.crt")

		By("removing it, and selecting another namespace: the copies stay, and there are no new ones")
		before := read(ctx, source, a)
		update(ctx, source, func(source *corev1.Secret) {
			delete(source.Data, "tls.crt")
			source.Data["ca.crt"] = []byte("changed")
		})
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{a, b} })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyNotFound)
		Expect(read(ctx, source, a)).To(Equal(before))
		expectAbsent(ctx, source, b)

		By("adding it again")
		update(ctx, source, func(source *corev1.Secret) { source.Data["tls.crt"] = []byte("three") })
		expect.Ready(ctx, api, replika, 2)
		expect.Copied(ctx, api, source, a, b)
	})

	It("Should not be two under one name", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), renameKey("key", "other"))
		expect.Ready(ctx, api, replika, 1)
		before := read(ctx, source, a)

		update(ctx, source, func(source *corev1.ConfigMap) { source.BinaryData = map[string][]byte{"other": {1}} })
		conflict := expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyConflict)
		Expect(kit.Ready(conflict).Message).To(And(ContainSubstring(`"key"`), ContainSubstring(`"other"`)))
		Expect(read(ctx, source, a)).To(Equal(before))

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = []string{"key"} })
		expect.Ready(ctx, api, replika, 1)
		eventuallyHasKeys(ctx, source, a, "other")
	})

	It("Should be copied from a source that is renamed by deletion and creation", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), chooseKeys("key"), kit.TargetName("shared"))
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, source)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		renamed := kit.Secret(source.Namespace, "renamed", "two")
		renamed.Data["other"] = []byte("three")
		create(ctx, renamed)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Name = renamed.Name })
		shared := kit.Secret(a, "shared", "")
		Eventually(ctx, func(g Gomega) {
			g.Expect(kit.Content(read(ctx, shared, a))["data"]).To(Equal(map[string]any{"key": "dHdv"}))
		}).Should(Succeed())
		expect.Ready(ctx, api, replika, 1)
	})
})

var _ = Describe("The type of a Secret's copies", func() {
	It("Should be the one in the spec; without the keys that a type requires, no copy is requested", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, tlsSecret(f.namespace(ctx, "source")))
		mark := markAudit()
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), chooseKeys("ca.crt"), renameKey("ca.crt", "ca-bundle.crt"))
		foreseen := expect.Reason(ctx, api, replika, v1alpha1.ReasonKeyConflict)
		Expect(kit.Ready(foreseen).Message).To(And(ContainSubstring("tls.key"), ContainSubstring("spec.target.type to Opaque")))
		Expect(f.attemptedWrites(mark, "secrets", source.Name)).To(BeEmpty())

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Type = string(corev1.SecretTypeOpaque) })
		expect.Ready(ctx, api, replika, 1)
		Expect(kit.Content(read(ctx, source, a))).To(Equal(map[string]any{
			"type": "Opaque", "data": map[string]any{"ca-bundle.crt": "Y2E="},
		}))
	})

	DescribeTable("Should be changed as immutableFields says",
		func(ctx SpecContext, policy v1alpha1.ImmutableFieldsPolicy) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := create(ctx, tlsSecret(f.namespace(ctx, "source")))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), kit.ImmutableFields(policy))
			expect.Ready(ctx, api, replika, 1)
			before := read(ctx, source, a)

			update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Type = string(corev1.SecretTypeOpaque) })
			if policy == v1alpha1.ImmutableFieldsFail {
				expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable})
				Expect(kit.Content(read(ctx, source, a))).To(Equal(kit.Content(before)))
				return
			}
			expect.Ready(ctx, api, replika, 1)
			Expect(read(ctx, source, a).GetUID()).NotTo(Equal(before.GetUID()))
			Expect(kit.Content(read(ctx, source, a))["type"]).To(Equal("Opaque"))
		},
		Entry("by default", v1alpha1.ImmutableFieldsPolicy("")),
		Entry("Fail", v1alpha1.ImmutableFieldsFail),
	)

	It("Should not make a copy of a source that becomes a token Secret", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "token", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Type = string(corev1.SecretTypeOpaque)
		})
		expect.Ready(ctx, api, replika, 1)
		before := read(ctx, source, a)
		deleteAndWait(ctx, source)
		token := kit.Secret(source.Namespace, source.Name, "s3cr3t")
		token.Type = corev1.SecretTypeBootstrapToken
		create(ctx, token)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotAllowed)
		Expect(read(ctx, source, a)).To(Equal(before))
	})
})

// tlsSecret returns a Secret as cert-manager makes them.
func tlsSecret(namespace string) *corev1.Secret {
	secret := kit.Secret(namespace, "certificate", "")
	secret.Type = corev1.SecretTypeTLS
	secret.Data = map[string][]byte{"ca.crt": []byte("ca"), "tls.crt": []byte("crt"), "tls.key": []byte("key")}
	return secret
}

// chooseKeys sets spec.source.keys.
func chooseKeys(keys ...string) kit.ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Source.Keys = keys }
}

// renameKey adds an item to spec.target.keys.
func renameKey(from, name string) kit.ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Target.Keys = append(replika.Spec.Target.Keys, v1alpha1.TargetKey{From: from, Name: name})
	}
}

// allowKeys sets the annotation that lists the keys that are allowed to be copied.
func allowKeys(ctx context.Context, source *corev1.Secret, list string) {
	GinkgoHelper()
	update(ctx, source, func(source *corev1.Secret) {
		metav1.SetMetaDataAnnotation(&source.ObjectMeta, v1alpha1.AnnotationAllowedKeys, list)
	})
}

// eventuallyHasKeys waits until the copy has these keys and no others.
func eventuallyHasKeys(ctx context.Context, like client.Object, namespace string, keys ...string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		copied := read(ctx, like, namespace)
		g.Expect(copied).NotTo(BeNil())
		g.Expect(keysOf(copied)).To(ConsistOf(keys))
	}).Should(Succeed())
}

// keysOf lists the keys of a ConfigMap or Secret.
func keysOf(object *unstructured.Unstructured) []string {
	var keys []string
	for _, field := range []string{"data", "binaryData"} {
		entries, _, _ := unstructured.NestedMap(object.Object, field)
		for key := range entries {
			keys = append(keys, key)
		}
	}
	return keys
}
