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
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Adoption", func() {
	It("Should take a foreign object over, keep it in sync, and release it at the end", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := kit.ConfigMap(a, source.Name, "theirs")
		foreign.Data["more"] = "theirs"
		foreign.Labels = map[string]string{"theirs": "kept"}
		create(ctx, foreign)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Adopt())
		expect.Copied(ctx, api, source, a, b)
		expect.Ready(ctx, api, replika, 2)
		Expect(read(ctx, source, a).GetUID()).To(Equal(foreign.UID))
		Expect(read(ctx, source, a).GetAnnotations()).To(HaveKeyWithValue(v1alpha1.AnnotationAdopted, v1alpha1.AdoptedValue))
		Expect(read(ctx, source, b).GetAnnotations()).NotTo(HaveKey(v1alpha1.AnnotationAdopted))

		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, a, b)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, b)
		released := read(ctx, source, a)
		Expect(released.GetUID()).To(Equal(foreign.UID))
		Expect(kit.OwnKeys(released)).To(BeEmpty())
		Expect(released.GetLabels()).To(Equal(map[string]string{"theirs": "kept"}))
		Expect(kit.Content(released)).To(HaveKeyWithValue("data", Equal(map[string]any{"key": "two"})))
	})

	It("Should release the object when its namespace is no longer selected", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Adopt())
		expect.Ready(ctx, api, replika, 2)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = []string{b} })
		expectReleased(ctx, source, a, foreign.UID)
	})

	It("Should release the object when the source is deleted under onSourceDeletion Delete", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Adopt(), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete)), 2)
		deleteAndWait(ctx, source)
		expect.Gone(ctx, api, source, b)
		expectReleased(ctx, source, a, foreign.UID)
	})

	It("Should apply a change of the conflict policy", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := create(ctx, kit.ConfigMap(a, source.Name, "theirs"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		update(ctx, replika, kit.Adopt())
		expect.Ready(ctx, api, replika, 1)
		expect.Copied(ctx, api, source, a)

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyFail })
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a).GetUID()).To(Equal(foreign.UID), "an adopted object is released")
	})

	It("Should never re-create an adopted object with immutable fields", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := kit.ConfigMap(a, source.Name, "theirs")
		foreign.Immutable = new(true)
		create(ctx, foreign)
		expect.Failures(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.Adopt(), kit.ImmutableFields(v1alpha1.ImmutableFieldsRecreate)),
			map[string]string{a: v1alpha1.FailureImmutable})
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("Should not adopt a Secret of another type", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "settings", "one"))
		foreign := kit.Secret(a, source.Name, "theirs")
		foreign.Type = "example.com/theirs"
		foreign.Labels = map[string]string{"theirs": "stays"}
		create(ctx, foreign)
		expect.Failures(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.Adopt()), map[string]string{a: v1alpha1.FailureImmutable})
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})

	It("Should refuse an object that another controller owns", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		foreign := kit.ConfigMap(a, source.Name, "theirs")
		foreign.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Namespace", Name: a, UID: namespaceUID(ctx, a), Controller: new(true),
		}}
		create(ctx, foreign)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Adopt())
		failing := expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("controller"))
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
	})
})
