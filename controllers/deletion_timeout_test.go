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
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// longestDeletion is the limit of a Replika's deletion, whatever fails: the timeout, and time for a busy machine.
const longestDeletion = cleanupTimeout + 40*time.Second

var _ = Describe("A Replika in deletion whose copies cannot be deleted", func() {
	It("Should be released after the timeout, with an event that lists the retained copies", func(ctx SpecContext) {
		write := policyRule("", "podtemplates", "create", "update", "patch", "delete")
		kind := newCustomKind()
		kind.install(ctx)
		revokeRead := grant(ctx, allNamespaces, policyRule(kind.group, kind.plural, "get", "list", "watch"))
		revokeWrite := grant(ctx, allNamespaces, policyRule(kind.group, kind.plural, "create", "update", "patch", "delete"))
		f := newFixture() // it ends before the kind and the permissions do
		a, b, c, home, doomed := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "source"), f.namespace(ctx, "doomed")
		var revoke []func(context.Context)
		for _, namespace := range []string{a, b, c} {
			revoke = append(revoke, grant(ctx, namespace, write))
		}
		template, other := create(ctx, podTemplate(home)), podTemplate(home)
		other.SetName("other")
		create(ctx, other)
		widget := kind.create(ctx, home, "widget", "one")

		ordinary := f.replika(ctx, template, kit.TargetNamespaces(a, b, c))
		inDoomedNamespace := f.replika(ctx, other, kit.InNamespace(doomed), kit.TargetNamespaces(b))
		unreadable := f.replika(ctx, widget, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, ordinary, 3)
		expect.Ready(ctx, api, inDoomedNamespace, 1)
		expect.Ready(ctx, api, unreadable, 1)

		// From here on the operator is allowed to write in a only, and not even to read Widgets.
		revoke[1](ctx)
		revoke[2](ctx)
		revokeWrite(ctx)
		revokeRead(ctx)
		Expect(api.Delete(ctx, ordinary)).To(Succeed())
		Expect(api.Delete(ctx, unreadable)).To(Succeed())
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: doomed}})).To(Succeed())
		expect.Gone(ctx, api, template, a)
		for _, replika := range []*v1alpha1.Replika{ordinary, inDoomedNamespace, unreadable} {
			// The namespace controller may be busy: the time counts from the Replika's own deletion.
			Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, replika, replika.Namespace) }).
				WithTimeout(2*time.Minute).Should(Or(BeNil(), HaveField("GetDeletionTimestamp()", Not(BeNil()))), replika.Name)
			Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, replika, replika.Namespace) }).
				WithTimeout(longestDeletion).Should(BeNil(), replika.Name)
		}
		expect.DeleteNamespace(ctx, api, doomed)

		Expect(expectRetainedCopiesEvent(ctx, home, ordinary.Name)).To(And(
			ContainSubstring(b), ContainSubstring(c), ContainSubstring(v1alpha1.FailureForbidden), Not(ContainSubstring(a))))
		Expect(expectRetainedCopiesEvent(ctx, home, unreadable.Name)).To(And(ContainSubstring(a), ContainSubstring(v1alpha1.FailureForbidden)))
		// No event can be created in its namespace any more, so the event is about that namespace, and in the default
		// namespace.
		Expect(expectRetainedCopiesEvent(ctx, metav1.NamespaceDefault, doomed)).To(And(
			ContainSubstring(inDoomedNamespace.Name), ContainSubstring(b), ContainSubstring(v1alpha1.FailureForbidden)))
		for _, namespace := range []string{b, c} {
			Expect(read(ctx, template, namespace)).NotTo(BeNil(), "a copy that could not be deleted")
		}
	})

	It("Should be released when its kind is being deleted and a copy blocks that", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		kind := "Going" + strings.ToUpper(f.id[:1]) + f.id[1:]
		definition := installCRD(ctx, kind, strings.ToLower(kind)+"s")
		DeferCleanup(deleteAndWait, definition)
		source := create(ctx, playlistOf(kind, f.namespace(ctx, "source"), "short"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b))
		expect.Ready(ctx, api, replika, 2)
		held := read(ctx, source, a)
		addFinalizer(ctx, held)

		Expect(api.Delete(ctx, definition)).To(Succeed())
		Eventually(ctx, func() string { return conditionOf(read(ctx, definition, ""), "Terminating") }).Should(Equal("True"))
		Expect(api.Delete(ctx, replika)).To(Succeed())
		Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, replika, replika.Namespace) }).
			WithTimeout(longestDeletion).Should(BeNil())
		removeFinalizers(ctx, held)
	})
})

var _ = Describe("Copies under onSourceDeletion Delete", func() {
	It("Should stay while the operator is not allowed to read the source", func(ctx SpecContext) {
		kind := newCustomKind()
		kind.install(ctx)
		grant(ctx, allNamespaces, policyRule(kind.group, kind.plural, "list", "watch", "create", "update", "patch", "delete"))
		revokeGet := grant(ctx, allNamespaces, policyRule(kind.group, kind.plural, "get"))
		f := newFixture() // it ends before the kind and the permissions do
		a := f.namespace(ctx, "a")
		source := kind.create(ctx, f.namespace(ctx, "source"), "widget", "one")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		expect.Ready(ctx, api, replika, 1)
		copied := read(ctx, source, a)

		revokeGet(ctx)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		deleteAndWait(ctx, source)
		reconcile(ctx, replika)
		Expect(read(ctx, source, a)).To(Equal(copied))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)

		grant(ctx, allNamespaces, policyRule(kind.group, kind.plural, "get"))
		expect.Gone(ctx, api, source, a)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		deleteAndWait(ctx, replika) // while the permissions last
	})

	It("Should stay while the source's API version is not served", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		expect.Ready(ctx, api, replika, 1)
		copied := read(ctx, source, a)
		update(ctx, replika, kit.SourceKind("", "v9", "ConfigMap"))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
		deleteAndWait(ctx, source)
		barrier(ctx, source, replika)
		Expect(read(ctx, source, a)).To(Equal(copied))

		update(ctx, replika, kit.SourceKind("", "v1", "ConfigMap"))
		expect.Gone(ctx, api, source, a)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
	})
})

// expectRetainedCopiesEvent waits for the event about copies that stay, and returns its note.
func expectRetainedCopiesEvent(ctx context.Context, namespace, about string) string {
	GinkgoHelper()
	var note string
	Eventually(ctx, func(g Gomega) {
		list := &eventsv1.EventList{}
		g.Expect(api.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
		for i := range list.Items {
			if event := &list.Items[i]; event.Reason == "CopiesLeftBehind" && event.Regarding.Name == about {
				g.Expect(event.Type).To(Equal(corev1.EventTypeWarning))
				note = event.Note
			}
		}
		g.Expect(note).NotTo(BeEmpty(), "no event about %s in %s", about, namespace)
	}).Should(Succeed())
	return note
}
