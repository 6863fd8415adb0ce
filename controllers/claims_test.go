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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("An object that two Replikas claim", func() {
	// rivals are the sources of two Replikas, not created yet, and functions that create the Replikas.
	type rivals struct {
		first, second *corev1.ConfigMap
		makeFirst     func() *v1alpha1.Replika
		makeSecond    func() *v1alpha1.Replika
	}
	prepare := func(ctx context.Context, f *fixture, a string) rivals {
		home := f.namespace(ctx, "source")
		r := rivals{first: kit.ConfigMap(home, "first", "one"), second: kit.ConfigMap(home, "second", "two")}
		r.makeFirst = func() *v1alpha1.Replika {
			return f.replika(ctx, r.first, kit.TargetNamespaces(a), kit.TargetName("shared"))
		}
		r.makeSecond = func() *v1alpha1.Replika {
			return f.replika(ctx, r.second, kit.TargetNamespaces(a), kit.TargetName("shared"))
		}
		return r
	}

	DescribeTable("Should be written once, in any order of creation",
		func(ctx SpecContext, steps func(SpecContext, rivals) (one, other *v1alpha1.Replika)) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			since := markAudit()
			one, other := steps(ctx, prepare(ctx, f, a))

			shared := kit.ConfigMap(a, "shared", "")
			Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, shared, a) }).ShouldNot(BeNil())
			owner, rival := one, other
			if read(ctx, shared, a).GetAnnotations()[v1alpha1.AnnotationOwner] == other.Namespace+"/"+other.Name {
				owner, rival = other, one
			}
			expect.Ready(ctx, api, owner, 1)
			failing := expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
			before := read(ctx, shared, a)
			barrier(ctx, shared, owner, rival)
			Expect(read(ctx, shared, a).GetResourceVersion()).To(Equal(before.GetResourceVersion()))
			f.eventuallyWrites(ctx, since, "configmaps", "shared").Should(ConsistOf("create in " + a))
		},
		Entry("sources before Replikas", func(ctx SpecContext, r rivals) (one, other *v1alpha1.Replika) {
			create(ctx, r.first)
			create(ctx, r.second)
			return r.makeFirst(), r.makeSecond()
		}),
		Entry("Replikas before sources", func(ctx SpecContext, r rivals) (one, other *v1alpha1.Replika) {
			one, other = r.makeFirst(), r.makeSecond()
			create(ctx, r.first)
			create(ctx, r.second)
			return one, other
		}),
		Entry("source of the newer Replika first", func(ctx SpecContext, r rivals) (one, other *v1alpha1.Replika) {
			one, other = r.makeFirst(), r.makeSecond()
			expect.Reason(ctx, api, one, v1alpha1.ReasonSourceNotFound)
			create(ctx, r.second)
			expect.Ready(ctx, api, other, 1)
			create(ctx, r.first)
			return one, other
		}),
	)

	It("Should stay with its owner over updates of both Replikas, each of which costs at most one write", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		r := prepare(ctx, f, a)
		create(ctx, r.first)
		create(ctx, r.second)
		owner := r.makeFirst()
		expect.Ready(ctx, api, owner, 1)
		rival := r.makeSecond()
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		uid := read(ctx, kit.ConfigMap(a, "shared", ""), a).GetUID()

		since := markAudit()
		update(ctx, rival, func(rival *v1alpha1.Replika) {
			rival.Spec.Target.Labels = v1alpha1.Labels{"of": "rival"}
			rival.Spec.Target.Namespaces.ReplicateIn = []string{a, b}
		})
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		update(ctx, owner, func(owner *v1alpha1.Replika) { owner.Spec.Target.Labels = v1alpha1.Labels{"of": "owner"} })
		Eventually(ctx, func() map[string]string { return read(ctx, kit.ConfigMap(a, "shared", ""), a).GetLabels() }).
			Should(HaveKeyWithValue("of", "owner"))
		update(ctx, owner, kit.Adopt())
		update(ctx, rival, kit.Adopt())
		expect.Ready(ctx, api, owner, 1)
		// An object that another Replika owns is not foreign, so it is not adopted.
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		update(ctx, r.second, func(source *corev1.ConfigMap) { source.Data["key"] = "three" })
		expect.CopiedAs(ctx, api, r.second, "shared", b)
		f.eventuallyWrites(ctx, since, "configmaps", "shared").Should(ConsistOf("create in "+b, "patch in "+a, "patch in "+b))
		Expect(read(ctx, kit.ConfigMap(a, "shared", ""), a).GetUID()).To(Equal(uid))
		expect.CopiedAs(ctx, api, r.first, "shared", a)
	})

	It("Should return to a former owner only when the present owner releases it", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		r := prepare(ctx, f, a)
		create(ctx, r.first)
		create(ctx, r.second)
		former := r.makeFirst()
		expect.Ready(ctx, api, former, 1)
		present := r.makeSecond()
		expect.Failures(ctx, api, present, map[string]string{a: v1alpha1.FailureConflict})
		uid, since := read(ctx, kit.ConfigMap(a, "shared", ""), a).GetUID(), markAudit()

		update(ctx, former, func(former *v1alpha1.Replika) { former.Spec.Target.Name = "elsewhere" })
		expect.Ready(ctx, api, present, 1)
		update(ctx, former, func(former *v1alpha1.Replika) { former.Spec.Target.Name = "shared" })
		expect.Failures(ctx, api, former, map[string]string{a: v1alpha1.FailureConflict})
		expect.CopiedAs(ctx, api, r.second, "shared", a)
		deleteAndWait(ctx, present)
		expect.Ready(ctx, api, former, 1)
		expect.CopiedAs(ctx, api, r.first, "shared", a)
		Expect(read(ctx, kit.ConfigMap(a, "shared", ""), a).GetUID()).To(Equal(uid), "the object was re-created")
		// Each handover is one patch of owner and labels and one of content, or a single patch of both.
		f.eventuallyWrites(ctx, since, "configmaps", "shared").Should(And(HaveEach("patch in "+a),
			WithTransform(func(writes []string) int { return len(writes) }, BeNumerically("<=", 4))))
		expect.Gone(ctx, api, kit.ConfigMap(a, "elsewhere", ""), a)
	})

	It("Should be one object in all served versions of its kind", func(ctx SpecContext) {
		installTwins(ctx)
		f := newFixture() // cleaned up before the kind is removed
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		first, second := create(ctx, twin("v1", home, "first", 1)), create(ctx, twin("v2", home, "second", 2))
		owner := f.replika(ctx, first, kit.TargetNamespaces(a), kit.TargetName("shared"))
		expect.Ready(ctx, api, owner, 1)
		expect.CopiedAs(ctx, api, first, "shared", a)
		shared := twin("v1", a, "shared", 0)
		before, since := read(ctx, shared, a), markAudit()

		rival := f.replika(ctx, second, kit.TargetNamespaces(a), kit.TargetName("shared"))
		failing := expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
		for _, version := range []string{"v2", "v1"} {
			update(ctx, owner, func(owner *v1alpha1.Replika) { owner.Spec.Source.Version = version })
			expect.Ready(ctx, api, owner, 1)
		}
		update(ctx, rival, func(rival *v1alpha1.Replika) { rival.Spec.Source.Version = "v1" })
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		update(ctx, rival, func(rival *v1alpha1.Replika) { rival.Spec.Source.Version = "v2" })
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		Expect(f.writesTo(since, "twins", "shared")).To(BeEmpty())
		Expect(read(ctx, shared, a).GetResourceVersion()).To(Equal(before.GetResourceVersion()))

		deleteAndWait(ctx, owner)
		expect.Ready(ctx, api, rival, 1)
		expect.CopiedAs(ctx, api, second, "shared", a)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(before.GetUID()), "the object was re-created")
		deleteAndWait(ctx, rival)
		expect.Gone(ctx, api, shared, a)
	})
})

// installTwins installs, for one spec, a CRD with two served versions of the same schema.
func installTwins(ctx context.Context) {
	GinkgoHelper()
	version := `{name: %s, served: true, storage: %t, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {number: {type: integer}}}}}}}`
	definition := kit.FromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: twins.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: Twin, listKind: TwinList, plural: twins}
  versions:
  - %[2]s
  - %[3]s
`, playlistGroup, fmt.Sprintf(version, "v1", true), fmt.Sprintf(version, "v2", false)))
	create(ctx, definition)
	DeferCleanup(deleteAndWait, definition)
	for _, version := range []string{"v1", "v2"} {
		waitUntilServed(ctx, schema.GroupVersionKind{Group: playlistGroup, Version: version, Kind: "Twin"})
	}
}

func twin(version, namespace, name string, number int) *unstructured.Unstructured {
	GinkgoHelper()
	return kit.FromYAML(fmt.Sprintf(`{apiVersion: %s/%s, kind: Twin, metadata: {namespace: %s, name: %s}, spec: {number: %d}}`,
		playlistGroup, version, namespace, name, number))
}
