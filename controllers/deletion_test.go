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
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A copy", func() {
	// How a namespace stops being a target of a Replika that copied to a and b. A slice: all parallel processes must build the
	// same tree of specs.
	for _, testCase := range []struct {
		when string
		end  func(ctx context.Context, replika *v1alpha1.Replika, b string)
	}{
		{"its namespace is no longer listed", func(ctx context.Context, replika *v1alpha1.Replika, b string) {
			update(ctx, replika, kit.TargetNamespaces(b))
		}},
		{"its namespace is excluded", func(ctx context.Context, replika *v1alpha1.Replika, _ string) {
			update(ctx, replika, func(replika *v1alpha1.Replika) {
				namespaces := &replika.Spec.Target.Namespaces
				namespaces.ExcludeFrom = []string{namespaces.ReplicateIn[0]}
			})
		}},
		{"its Replika is deleted", func(ctx context.Context, replika *v1alpha1.Replika, _ string) { deleteAndWait(ctx, replika) }},
	} {
		It("Should be deleted when "+testCase.when, func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			bystander := create(ctx, kit.ConfigMap(a, "bystander", "theirs"))
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
			expect.Ready(ctx, api, replika, 2)

			testCase.end(ctx, replika, b)
			expect.Gone(ctx, api, source, a)
			Expect(read(ctx, bystander, a).GetResourceVersion()).To(Equal(bystander.ResourceVersion))
			Expect(read(ctx, source, source.Namespace).GetResourceVersion()).To(Equal(source.ResourceVersion), "the source")
		})

		It("Should be released under Retain when "+testCase.when, func(ctx SpecContext) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
			source.Labels = map[string]string{"tier": "back"}
			create(ctx, source)
			replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.Retain())
			expect.Ready(ctx, api, replika, 2)
			copied := kit.CopyIn(a, source)
			update(ctx, copied, func(copy *corev1.ConfigMap) { copy.Labels["tool.example.com/label"] = "kept" })

			testCase.end(ctx, replika, b)
			expectReleased(ctx, source, a, copied.UID)
			released := read(ctx, source, a)
			Expect(released.GetLabels()).To(Equal(map[string]string{"tier": "back", "tool.example.com/label": "kept"}))
			Expect(kit.Content(released)).To(Equal(kit.Content(read(ctx, source, source.Namespace))))
			barrier(ctx, source)
			Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(released.GetResourceVersion()), "a released object has no owner")
		})
	}

	It("Should be handled by the deletion policy at the time of the Replika's deletion", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		uid := read(ctx, source, a).GetUID()
		update(ctx, replika, kit.Retain())
		deleteAndWait(ctx, replika)
		expectReleased(ctx, source, a, uid)
	})

	It("Should be deleted even without its labels", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		// Suspended, so that the operator does not repair the copy.
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		update(ctx, kit.CopyIn(a, source), func(copy *corev1.ConfigMap) { copy.Labels = nil })
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})

	It("Should be left unchanged without its ownership annotations", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		kept := kit.CopyIn(a, source)
		update(ctx, kept, func(copy *corev1.ConfigMap) { copy.Annotations = nil })
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a).GetResourceVersion()).To(Equal(kept.ResourceVersion))
	})

	It("Should not delay the Replika's deletion by another tool's finalizer", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		addFinalizer(ctx, kit.CopyIn(a, source))
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, b)
		Expect(read(ctx, source, a).GetDeletionTimestamp()).NotTo(BeNil())
	})

	It("Should be deleted with the Replika's namespace", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "home")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.InNamespace(home), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})).To(Succeed())
		// The namespace controller may be busy with other namespaces.
		Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, source, a) }).WithTimeout(2 * time.Minute).Should(BeNil())
		expect.Gone(ctx, api, replika, home)
	})

	It("Should be reported in an event when it cannot be deleted, and not block the Replika", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, podTemplate(f.namespace(ctx, "source")))
		grantInNamespace(ctx, a, "podtemplates")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, kit.Suspended()) // so that no request is in flight when the permission is revoked
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: a, Name: "operator-podtemplates"}})

		Expect(api.Delete(ctx, replika)).To(Succeed())
		expectEvent(ctx, replika, corev1.EventTypeWarning, "CopiesLeftBehind", a)
		expect.Gone(ctx, api, replika, replika.Namespace)
		Expect(read(ctx, source, a)).NotTo(BeNil())
	})

	It("Should not be needed to delete a Replika", func(ctx SpecContext) {
		f := newFixture()
		source := kit.ConfigMap(f.namespace(ctx, "source"), "missing", "")
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.namespace(ctx, "a")))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		deleteAndWait(ctx, replika)
	})

	It("Should be deleted with its Replika when the source's namespace no longer exists", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "home")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.InNamespace(home), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		expect.DeleteNamespace(ctx, api, source.Namespace)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		Expect(read(ctx, source, a)).NotTo(BeNil(), "the copy is retained")
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})
})

// expectReleased waits until the object with the source's name and this UID has no label or annotation of the operator.
func expectReleased(ctx context.Context, source *corev1.ConfigMap, namespace string, uid any) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		object := read(ctx, source, namespace)
		g.Expect(object).NotTo(BeNil())
		g.Expect(object.GetUID()).To(Equal(uid))
		g.Expect(kit.OwnKeys(object)).To(BeEmpty())
	}).Should(Succeed())
}
