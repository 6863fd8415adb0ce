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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// everyVerb is what the operator needs of a kind.
var everyVerb = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// customKind is a kind that a spec defines for itself, in an API group of its own.
type customKind struct {
	group, kind, plural, version, scope string
}

// newCustomKind returns a new kind. The spec's end removes it and the permissions on it.
func newCustomKind() *customKind {
	id := rand.String(6)
	d := &customKind{group: "t" + id + ".example.com", kind: "Widget", plural: "widgets", version: "v1", scope: "Namespaced"}
	DeferCleanup(func(ctx SpecContext) { d.remove(ctx) })
	return d
}

// install creates the CRD, without waiting until it is served.
func (d *customKind) install(ctx context.Context) {
	GinkgoHelper()
	create(ctx, kit.FromYAML(fmt.Sprintf(`
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

// remove deletes the CRD with all its objects, and waits until it is gone.
func (d *customKind) remove(ctx context.Context) {
	GinkgoHelper()
	deleteAndWait(ctx, kit.FromYAML(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.%s}
`, d.plural, d.group)))
}

// grant gives the operator these permissions on the kind, and no others.
func (d *customKind) grant(ctx context.Context, verbs ...string) {
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

// object builds an object of the kind.
func (d *customKind) object(namespace, name, value string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"key": value}}}
	object.SetAPIVersion(d.group + "/" + d.version)
	object.SetKind(d.kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// create creates an object of the kind as soon as the API server serves it.
func (d *customKind) create(ctx context.Context, namespace, name, value string) *unstructured.Unstructured {
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

// lists counts the operator's list requests of the kind since the mark whose URI contains the text.
func (d *customKind) lists(since auditMark, words string) int {
	GinkgoHelper()
	events, err := controlPlane.AuditEvents(since.offset, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
		return e.Received.After(since.time) && e.Group == d.group && e.Verb == "list" && strings.Contains(e.RequestURI, words)
	})
	Expect(err).NotTo(HaveOccurred())
	return len(events)
}

// unwatched is what the message of Ready contains, and only then, while a kind is polled.
const unwatched = "watch"

var _ = Describe("A watched kind", func() {
	It("Should be polled while the operator is not allowed to watch it", func(ctx SpecContext) {
		const interval = 2 * time.Second
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, "get", "list", "create", "update", "patch", "delete")
		d.install(ctx)
		a := f.namespace(ctx, "a")
		source := d.create(ctx, f.namespace(ctx, "source"), "settings", "one")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(interval))
		expect.Copied(ctx, api, source, a)
		ready := expect.Ready(ctx, api, replika, 1)
		Expect(kit.Ready(ready).Message).To(ContainSubstring("not allowed to watch"))

		By("changing source and copy")
		update(ctx, source, setKey("two"))
		expect.Copied(ctx, api, source, a)
		update(ctx, kit.CopyIn(a, source), setKey("edited"))
		expect.Copied(ctx, api, source, a)
		Expect(api.Delete(ctx, kit.CopyIn(a, source))).To(Succeed())
		expect.Copied(ctx, api, source, a)

		By("checking that nothing is written while idle")
		ready = expect.Ready(ctx, api, replika, 1)
		began := markAudit()
		Consistently(ctx, func() string { return read(ctx, ready, ready.Namespace).GetResourceVersion() }).
			WithTimeout(5*interval).Should(Equal(ready.ResourceVersion), "the Replika's status")
		Expect(kit.Ready(ready).Message).To(ContainSubstring(unwatched))
		Expect(f.writes(began)).To(BeEmpty())
		Expect(d.lists(began, "part-of")).To(BeNumerically("<=", 6+3), "one list of its copies in an interval, and some after the kind was installed")
		Expect(d.lists(began, "")).To(BeNumerically("<=", d.lists(began, "part-of")), "no lists for forbidden watches")

		By("granting the permission")
		d.grant(ctx, everyVerb...)
		expect.Status(ctx, api, replika, func(g Gomega, now *v1alpha1.Replika) {
			g.Expect(kit.Ready(now).Message).NotTo(ContainSubstring(unwatched))
		})
		update(ctx, replika, func(replika *v1alpha1.Replika) { kit.Interval(time.Hour)(replika) })
		expect.Ready(ctx, api, replika, 1)
		update(ctx, kit.CopyIn(a, source), setKey("edited"))
		expectPromptly(func() { expect.Copied(ctx, api, source, a) })
		update(ctx, source, setKey("three"))
		expectPromptly(func() { expect.Copied(ctx, api, source, a) })
	})

	It("Should be noticed promptly when it is installed, removed and installed again", func(ctx SpecContext) {
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, everyVerb...)
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		replika := f.replika(ctx, d.object(home, "settings", "one"), kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)

		for _, value := range []string{"one", "two"} {
			By("installing the kind")
			d.install(ctx)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
			source := d.create(ctx, home, "settings", value)
			expect.Ready(ctx, api, replika, 1)
			expect.Copied(ctx, api, source, a)
			update(ctx, kit.CopyIn(a, source), setKey("edited"))
			expect.Copied(ctx, api, source, a)

			By("removing the kind")
			d.remove(ctx)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
		}
	})

	It("Should be noticed promptly when it is installed again in another version", func(ctx SpecContext) {
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, everyVerb...)
		d.install(ctx)
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		source := d.create(ctx, home, "settings", "one")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)

		d.remove(ctx)
		d.version = "v2"
		d.install(ctx)
		source = d.create(ctx, home, "settings", "two")
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotFound)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Source.Version = "v2" })
		expect.Ready(ctx, api, replika, 1)
		expect.Copied(ctx, api, source, a)
		update(ctx, kit.CopyIn(a, source), setKey("edited"))
		expect.Copied(ctx, api, source, a)
	})

	It("Should leave no orphan if the preferred version of its group does not have it", func(ctx SpecContext) {
		f := newFixture()
		d := newCustomKind()
		d.version = "v1alpha1"
		d.grant(ctx, everyVerb...)
		d.install(ctx)
		// Another kind of the group has a version of higher priority, which the group prefers.
		grown := &customKind{group: d.group, kind: "Gadget", plural: "gadgets", version: "v1", scope: "Namespaced"}
		grown.install(ctx)
		DeferCleanup(grown.remove)
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		source, moved := d.create(ctx, home, "settings", "one"), d.create(ctx, home, "moved", "one")
		asking, err := discovery.NewDiscoveryClientForConfig(controlPlane.Config)
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, func(g Gomega) {
			groups, err := asking.ServerGroups()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(groups.Groups).To(ContainElement(And(HaveField("Name", d.group), HaveField("PreferredVersion.Version", "v1"))))
		}).Should(Succeed())
		replika, mover := f.replika(ctx, source, kit.TargetNamespaces(a)), f.replika(ctx, moved, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		expect.Ready(ctx, api, mover, 1)

		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil(), "after the Replika's deletion")
		create(ctx, kit.ConfigMap(home, "moved", "one"))
		update(ctx, mover, kit.SourceKind("", "v1", "ConfigMap"))
		expect.Ready(ctx, api, mover, 1)
		Expect(read(ctx, moved, a)).To(BeNil(), "after the change to another kind")
	})

	It("Should be noticed promptly when it is installed again with another scope", func(ctx SpecContext) {
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, everyVerb...)
		d.scope = "Cluster"
		d.install(ctx)
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		replika := f.replika(ctx, d.object(home, "settings", "one"), kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotAllowed)

		for range 2 {
			d.remove(ctx)
			d.scope = "Namespaced"
			d.install(ctx)
			source := d.create(ctx, home, "settings", "one")
			expect.Ready(ctx, api, replika, 1)
			expect.Copied(ctx, api, source, a)

			d.remove(ctx)
			d.scope = "Cluster"
			d.install(ctx)
			expect.Reason(ctx, api, replika, v1alpha1.ReasonKindNotAllowed)
		}
	})
})
