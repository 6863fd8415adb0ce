package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
)

// everyVerb is what the operator needs of a kind.
var everyVerb = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// definition is a kind that a spec defines for itself, in an API group of its own.
type definition struct {
	group, kind, plural, version, scope string
}

// newDefinition returns a kind that nobody has heard of. The spec's end removes it and the rights to it.
func newDefinition() *definition {
	id := rand.String(6)
	d := &definition{group: "t" + id + ".example.com", kind: "Widget", plural: "widgets", version: "v1", scope: "Namespaced"}
	DeferCleanup(func(ctx SpecContext) { d.remove(ctx) })
	return d
}

// install makes the API server serve the kind, and waits for no one.
func (d *definition) install(ctx context.Context) {
	GinkgoHelper()
	create(ctx, fromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[3]s.%[1]s}
spec:
  group: %[1]s
  scope: %[5]s
  names: {kind: %[2]s, listKind: %[2]sList, plural: %[3]s}
  versions:
  - name: %[4]s
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`, d.group, d.kind, d.plural, d.version, d.scope)))
}

// remove has the API server forget the kind and all its objects, and waits until it has.
func (d *definition) remove(ctx context.Context) {
	GinkgoHelper()
	remove(ctx, fromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.%s}
`, d.plural, d.group)))
}

// grant gives the operator these rights to the kind, and no others.
func (d *definition) grant(ctx context.Context, verbs ...string) {
	GinkgoHelper()
	name := "operator-" + d.group
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
	Expect(client.IgnoreNotFound(api.Delete(ctx, role))).To(Succeed())
	Expect(client.IgnoreNotFound(api.Delete(ctx, binding))).To(Succeed())
	create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{d.group}, Resources: []string{d.plural}, Verbs: verbs}},
	})
	create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(api.Delete(ctx, role))).To(Succeed())
		Expect(client.IgnoreNotFound(api.Delete(ctx, binding))).To(Succeed())
	})
}

// object is one of the kind, to be created.
func (d *definition) object(namespace, name, value string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"key": value}}}
	object.SetAPIVersion(d.group + "/" + d.version)
	object.SetKind(d.kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// create creates one of the kind as soon as the API server serves it.
func (d *definition) create(ctx context.Context, namespace, name, value string) *unstructured.Unstructured {
	GinkgoHelper()
	object := d.object(namespace, name, value)
	Eventually(ctx, func() error { return api.Create(ctx, object.DeepCopy()) }).Should(Succeed())
	return read(ctx, object, namespace)
}

func setKey(value string) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) {
		object.Object["spec"] = map[string]any{"key": value}
	}
}

// lists counts the lists of the kind that the operator asked for since the moment, with these words in the address.
func (d *definition) lists(since moment, words string) int {
	GinkgoHelper()
	events, err := controlPlane.AuditEvents(since.mark, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
		return e.Received.After(since.time) && e.Group == d.group && e.Verb == "list" && strings.Contains(e.RequestURI, words)
	})
	Expect(err).NotTo(HaveOccurred())
	return len(events)
}

const unwatchedSays = "may not watch"

var _ = Describe("A kind", func() {
	It("that the operator may not watch is polled, which the status says, until the permission comes", func(ctx SpecContext) {
		const interval = 2 * time.Second
		s := newScene()
		d := newDefinition()
		d.grant(ctx, "get", "list", "create", "update", "patch", "delete")
		d.install(ctx)
		a := s.namespace(ctx, "a")
		source := d.create(ctx, s.namespace(ctx, "source"), "settings", "one")
		replika := s.replika(ctx, source, into(a), lookingEvery(interval))
		eventuallyCopied(ctx, source, a)
		ready := eventuallyReady(ctx, replika, 1)
		Expect(messageOf(ready)).To(ContainSubstring(unwatchedSays))

		By("noticing changes of source and copy")
		edit(ctx, source, setKey("two"))
		eventuallyCopied(ctx, source, a)
		edit(ctx, in(a, source), setKey("edited"))
		eventuallyCopied(ctx, source, a)
		Expect(api.Delete(ctx, in(a, source))).To(Succeed())
		eventuallyCopied(ctx, source, a)

		By("standing still meanwhile")
		ready = eventuallyReady(ctx, replika, 1)
		began := thisMoment()
		Consistently(ctx, func() string { return read(ctx, ready, ready.Namespace).GetResourceVersion() }).
			WithTimeout(5*interval).Should(Equal(ready.ResourceVersion), "the Replika's status")
		Expect(messageOf(ready)).To(ContainSubstring(unwatchedSays))
		Expect(s.writes(began)).To(BeEmpty())
		Expect(d.lists(began, "part-of")).To(BeNumerically("<=", 6+3), "one list of its copies in an interval, and some while kinds settle")
		Expect(d.lists(began, "")).To(Equal(d.lists(began, "part-of")), "lists for watches that cannot be had")

		By("getting the permission")
		d.grant(ctx, everyVerb...)
		await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(messageOf(now)).NotTo(ContainSubstring(unwatchedSays))
		})
		edit(ctx, replika, func(replika *v1alpha1.Replika) { lookingEvery(time.Hour)(replika) })
		eventuallyReady(ctx, replika, 1)
		edit(ctx, in(a, source), setKey("edited"))
		soon(func() { eventuallyCopied(ctx, source, a) })
		edit(ctx, source, setKey("three"))
		soon(func() { eventuallyCopied(ctx, source, a) })
	})

	It("that is installed later, removed and installed again is noticed at once", func(ctx SpecContext) {
		s := newScene()
		d := newDefinition()
		d.grant(ctx, everyVerb...)
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		replika := s.replika(ctx, d.object(home, "settings", "one"), into(a), lookingEvery(time.Hour))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)

		for _, value := range []string{"one", "two"} {
			By("installing it")
			d.install(ctx)
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
			source := d.create(ctx, home, "settings", value)
			eventuallyReady(ctx, replika, 1)
			eventuallyCopied(ctx, source, a)
			edit(ctx, in(a, source), setKey("edited"))
			eventuallyCopied(ctx, source, a)

			By("removing it")
			d.remove(ctx)
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
		}
	})

	It("that comes back in another version is noticed at once", func(ctx SpecContext) {
		s := newScene()
		d := newDefinition()
		d.grant(ctx, everyVerb...)
		d.install(ctx)
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		source := d.create(ctx, home, "settings", "one")
		replika := s.replika(ctx, source, into(a), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 1)

		d.remove(ctx)
		d.version = "v2"
		d.install(ctx)
		source = d.create(ctx, home, "settings", "two")
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
		edit(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Version = "v2" })
		eventuallyReady(ctx, replika, 1)
		eventuallyCopied(ctx, source, a)
		edit(ctx, in(a, source), setKey("edited"))
		eventuallyCopied(ctx, source, a)
	})

	It("that the preferred version of its group does not have leaves no orphan when it is given up", func(ctx SpecContext) {
		s := newScene()
		d := newDefinition()
		d.version = "v1alpha1"
		d.grant(ctx, everyVerb...)
		d.install(ctx)
		// Another kind of the group has a version that ranks before, and so is the one that the group prefers.
		grown := &definition{group: d.group, kind: "Gadget", plural: "gadgets", version: "v1", scope: "Namespaced"}
		grown.install(ctx)
		DeferCleanup(grown.remove)
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		source, moved := d.create(ctx, home, "settings", "one"), d.create(ctx, home, "moved", "one")
		asking, err := discovery.NewDiscoveryClientForConfig(controlPlane.Config)
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, func(g Gomega) {
			groups, err := asking.ServerGroups()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(groups.Groups).To(ContainElement(And(HaveField("Name", d.group), HaveField("PreferredVersion.Version", "v1"))))
		}).Should(Succeed())
		replika, mover := s.replika(ctx, source, into(a)), s.replika(ctx, moved, into(a))
		eventuallyReady(ctx, replika, 1)
		eventuallyReady(ctx, mover, 1)

		remove(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil(), "after the Replika's deletion")
		create(ctx, configMap(home, "moved", "one"))
		edit(ctx, mover, ofKind("", "v1", "ConfigMap"))
		eventuallyReady(ctx, mover, 1)
		Expect(read(ctx, moved, a)).To(BeNil(), "after the change to another kind")
	})

	It("that comes back with another scope is noticed at once", func(ctx SpecContext) {
		s := newScene()
		d := newDefinition()
		d.grant(ctx, everyVerb...)
		d.scope = "Cluster"
		d.install(ctx)
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		replika := s.replika(ctx, d.object(home, "settings", "one"), into(a), lookingEvery(time.Hour))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotAllowed)

		for range 2 {
			d.remove(ctx)
			d.scope = "Namespaced"
			d.install(ctx)
			source := d.create(ctx, home, "settings", "one")
			eventuallyReady(ctx, replika, 1)
			eventuallyCopied(ctx, source, a)

			d.remove(ctx)
			d.scope = "Cluster"
			d.install(ctx)
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotAllowed)
		}
	})
})
