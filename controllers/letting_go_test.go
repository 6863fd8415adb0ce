package controllers_test

import (
	"context"
	"fmt"
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
)

// longestDeletion is how long a Replika may be in deletion, whatever is wrong.
const longestDeletion = 30 * time.Second

var _ = Describe("A Replika in deletion whose copies cannot be given up", func() {
	It("is let go for all that, and an event lists what stays", func(ctx SpecContext) {
		write := right("", "podtemplates", "create", "update", "patch", "delete")
		readLeases := right("coordination.k8s.io", "leases", "get", "list", "watch")
		writeLeases := right("coordination.k8s.io", "leases", "create", "update", "patch", "delete")
		blind := allow(ctx, everyNamespace, readLeases)
		mute := allow(ctx, everyNamespace, writeLeases)
		s := newScene()
		a, b, c, home, doomed := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c"), s.namespace(ctx, "source"), s.namespace(ctx, "doomed")
		var revoke []func(context.Context)
		for _, namespace := range []string{a, b, c} {
			revoke = append(revoke, allow(ctx, namespace, write))
		}
		template, other := create(ctx, podTemplate(home)), podTemplate(home)
		other.SetName("other")
		create(ctx, other)
		lease := create(ctx, lease(home, "turn"))

		ordinary := s.replika(ctx, template, into(a, b, c))
		homeless := s.replika(ctx, other, living(doomed), into(b))
		unseeing := s.replika(ctx, lease, into(a))
		eventuallyReady(ctx, ordinary, 3)
		eventuallyReady(ctx, homeless, 1)
		eventuallyReady(ctx, unseeing, 1)

		// From here on the operator may write in a only, and may not even look at Leases.
		revoke[1](ctx)
		revoke[2](ctx)
		mute(ctx)
		blind(ctx)
		began := time.Now()
		Expect(api.Delete(ctx, ordinary)).To(Succeed())
		Expect(api.Delete(ctx, unseeing)).To(Succeed())
		Expect(api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: doomed}})).To(Succeed())
		eventuallyGone(ctx, template, a)
		for _, replika := range []*v1alpha1.Replika{ordinary, homeless, unseeing} {
			eventuallyGone(ctx, replika, replika.Namespace)
			Expect(time.Since(began)).To(BeNumerically("<", longestDeletion), replika.Name)
		}
		removeNamespace(ctx, doomed)

		Expect(eventuallyLeftBehind(ctx, home, ordinary.Name)).To(And(
			ContainSubstring(b+" (Forbidden)"), ContainSubstring(c+" (Forbidden)"), Not(ContainSubstring(a))))
		Expect(eventuallyLeftBehind(ctx, home, unseeing.Name)).To(ContainSubstring(a + " (Forbidden)"))
		// Where it lived, nothing can be told any more; the event is about that namespace, and kept with those of the cluster.
		Expect(eventuallyLeftBehind(ctx, metav1.NamespaceDefault, doomed)).To(And(
			ContainSubstring(homeless.Name), ContainSubstring(b+" (Forbidden)")))
		for _, namespace := range []string{b, c} {
			Expect(read(ctx, template, namespace)).NotTo(BeNil(), "what could not be deleted stays")
		}
	})

	It("is let go when their kind goes, though that is held up by one of them", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		kind := "Going" + strings.ToUpper(s.id[:1]) + s.id[1:]
		definition := installKind(ctx, kind, strings.ToLower(kind)+"s")
		DeferCleanup(remove, definition)
		source := create(ctx, playlistOf(kind, s.namespace(ctx, "source"), "short"))
		replika := s.replika(ctx, source, into(a, b))
		eventuallyReady(ctx, replika, 2)
		held := read(ctx, source, a)
		hold(ctx, held)

		Expect(api.Delete(ctx, definition)).To(Succeed())
		Eventually(ctx, func() string { return conditionOf(read(ctx, definition, ""), "Terminating") }).Should(Equal("True"))
		Expect(api.Delete(ctx, replika)).To(Succeed())
		Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, replika, replika.Namespace) }).
			WithTimeout(longestDeletion).Should(BeNil())
		letGo(ctx, held)
	})
})

var _ = Describe("Copies that go with their source", func() {
	It("stay while the operator may not see whether it is gone", func(ctx SpecContext) {
		const group, resource = "coordination.k8s.io", "leases"
		allow(ctx, everyNamespace, right(group, resource, "list", "watch", "create", "update", "patch", "delete"))
		blind := allow(ctx, everyNamespace, right(group, resource, "get"))
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, lease(s.namespace(ctx, "source"), "turn"))
		replika := s.replika(ctx, source, into(a), onSourceDeletion(v1alpha1.SourceDeletionDelete))
		eventuallyReady(ctx, replika, 1)
		copied := read(ctx, source, a)

		blind(ctx)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
		remove(ctx, source)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, source, a)).To(Equal(copied)) }).WithTimeout(2 * time.Second).Should(Succeed())
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)

		allow(ctx, everyNamespace, right(group, resource, "get"))
		eventuallyGone(ctx, source, a)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		remove(ctx, replika) // while the rights last
	})

	It("stay while the version that the spec names is not served", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
		replika := s.replika(ctx, source, into(a), onSourceDeletion(v1alpha1.SourceDeletionDelete))
		eventuallyReady(ctx, replika, 1)
		copied := read(ctx, source, a)
		edit(ctx, replika, ofKind("", "v9", "ConfigMap"))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
		remove(ctx, source)
		Consistently(ctx, func(g Gomega) { g.Expect(read(ctx, source, a)).To(Equal(copied)) }).WithTimeout(2 * time.Second).Should(Succeed())

		edit(ctx, replika, ofKind("", "v1", "ConfigMap"))
		eventuallyGone(ctx, source, a)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
	})
})

// eventuallyLeftBehind waits for the event about copies that stay, and returns what it says.
func eventuallyLeftBehind(ctx context.Context, namespace, about string) string {
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

// lease is an object of a kind that the operator has no right to unless a spec allows it.
func lease(namespace, name string) *unstructured.Unstructured {
	GinkgoHelper()
	return fromYAML(fmt.Sprintf(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: %s, name: %s},
		spec: {holderIdentity: somebody}}`, namespace, name))
}
