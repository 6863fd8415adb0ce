package controllers_test

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("The source's kind", func() {
	DescribeTable("may be one without fields of one instance only: it is copied, edits arrive, and nothing is written at rest",
		func(ctx SpecContext, manifest, patch string, field ...string) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := fromYAML(strings.Replace(manifest, "name: it", "namespace: "+s.namespace(ctx, "source")+", name: it", 1))
			create(ctx, source)
			replika := s.replika(ctx, source, into(a, b))
			first := eventuallyReady(ctx, replika, 2).Status.Source.ResourceVersion
			uid := read(ctx, source, a).GetUID()

			Expect(api.Patch(ctx, source, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
			wanted, found, err := unstructured.NestedFieldNoCopy(source.Object, field...)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeTrue(), "the patch sets the field")
			for _, namespace := range []string{a, b} {
				Eventually(ctx, func(g Gomega) {
					now, _, _ := unstructured.NestedFieldNoCopy(read(ctx, source, namespace).Object, field...)
					g.Expect(now).To(Equal(wanted))
				}).Should(Succeed())
			}
			await(ctx, replika, func(g Gomega, now *v1alpha1.Replika) {
				g.Expect(now.Status.Source.ResourceVersion).NotTo(Equal(first), "the edit is not seen")
			})
			eventuallyReady(ctx, replika, 2)
			Expect(read(ctx, source, a).GetUID()).To(Equal(uid), "an edit is no reason to make a copy anew")

			rest := thisMoment()
			Consistently(ctx, func() []string { return s.writes(rest) }).Should(BeEmpty())
		},
		Entry("a LimitRange",
			`{apiVersion: v1, kind: LimitRange, metadata: {name: it}, spec: {limits: [{type: Pod, max: {cpu: 2000m}}]}}`,
			`{"spec": {"limits": [{"type": "Pod", "max": {"cpu": "3"}}]}}`, "spec"),
		Entry("a CronJob",
			`{apiVersion: batch/v1, kind: CronJob, metadata: {name: it}, spec: {schedule: "0 4 * * *", suspend: true, jobTemplate: {spec:
			  {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/c:1"}]}}}}}}`,
			`{"spec": {"schedule": "0 5 * * *"}}`, "spec", "schedule"),
		Entry("a kind of somebody's own",
			`{apiVersion: `+playlistGroup+`/v1, kind: Playlist, metadata: {name: it}, spec: {matrix: [[1], [2, 3]]}}`,
			`{"spec": {"matrix": [[1], [3], []]}}`, "spec"),
	)

	DescribeTable("is waited for while it is not served",
		func(ctx SpecContext, group, version, kind string) {
			s := newScene()
			source := configMap(s.namespace(ctx, "source"), "settings", "one")
			replika := s.replika(ctx, source, into(s.namespace(ctx, "a")), ofKind(group, version, kind))
			waiting := eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
			Expect(messageOf(waiting)).To(ContainSubstring(kind))

			create(ctx, source)
			edit(ctx, replika, ofKind("", "v1", "ConfigMap"))
			eventuallyReady(ctx, replika, 1)
		},
		Entry("of an unknown group", "no.example.com", "v1", "Thing"),
		Entry("of an unknown version", "", "v9", "ConfigMap"),
		Entry("that the group does not have", "", "v1", "Thing"),
		Entry("by its resource's name instead", "", "v1", "configmaps"),
	)

	It("is served once it is installed, and given up with grace when it goes", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		kind := "Kind" + strings.ToUpper(s.id[:1]) + s.id[1:]
		source := playlistOf(kind, s.namespace(ctx, "source"), "late")
		replika := s.replika(ctx, configMap(source.GetNamespace(), source.GetName(), ""), into(a), ofKind(playlistGroup, "v1", kind))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)

		for range 2 { // it may come back, too
			definition := installKind(ctx, kind, strings.ToLower(kind)+"s")
			DeferCleanup(remove, definition)
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
			create(ctx, source.DeepCopy())
			eventuallyCopied(ctx, source, a)
			eventuallyReady(ctx, replika, 1)

			remove(ctx, definition)
			eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotFound)
		}
		remove(ctx, replika)
	})

	DescribeTable("is refused",
		func(ctx SpecContext, group, version, kind, why string) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			replika := s.replika(ctx, source, into(a), ofKind(group, version, kind))
			refused := eventuallyNotReady(ctx, replika, v1alpha1.ReasonKindNotAllowed)
			Expect(messageOf(refused)).To(And(ContainSubstring(kind), ContainSubstring(why)))

			edit(ctx, replika, ofKind("", "v1", "ConfigMap"))
			eventuallyReady(ctx, replika, 1)
		},
		Entry("when it is cluster-scoped", "rbac.authorization.k8s.io", "v1", "ClusterRole", "cluster-scoped"),
		Entry("when it is a cluster-scoped core kind", "", "v1", "Node", "cluster-scoped"),
		Entry("when it is cluster-scoped and nothing is kept of it", "authentication.k8s.io", "v1", "TokenReview", "cluster-scoped"),
		Entry("when nothing is kept of it", "authorization.k8s.io", "v1", "LocalSubjectAccessReview", "get, list, patch, delete"),
		Entry("when it can only be created", "", "v1", "Binding", "get, list, patch, delete"),
	)

	It("may be one that the operator has no right to read: that is said, and heals once it has it", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		source := create(ctx, fromYAML(fmt.Sprintf(
			`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: %s, name: it}, spec: {podSelector: {}}}`,
			s.namespace(ctx, "source"))))
		replika := s.replika(ctx, source, into(a))
		forbidden := eventuallyNotReady(ctx, replika, v1alpha1.ReasonForbidden)
		Expect(messageOf(forbidden)).To(ContainSubstring("networkpolicies.networking.k8s.io"))
		Expect(read(ctx, source, a)).To(BeNil())

		grantEverywhere(ctx, s.id, rbacv1.PolicyRule{
			APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
		})
		eventuallyCopied(ctx, source, a)
		eventuallyReady(ctx, replika, 1)
		remove(ctx, replika) // while it still has the right
		eventuallyGone(ctx, source, a)
	})

	It("may be one whose copies may be written in some namespaces only: the others are reported", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		source := create(ctx, podTemplate(s.namespace(ctx, "source")))
		grantIn(ctx, a, "podtemplates")
		replika := s.replika(ctx, source, into(a, b))
		failing := eventuallyFailing(ctx, replika, map[string]string{b: v1alpha1.FailureForbidden})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring("podtemplates"))
		eventuallyCopied(ctx, source, a)

		grantIn(ctx, b, "podtemplates")
		eventuallyReady(ctx, replika, 2)
		remove(ctx, replika) // while it still has the right
		eventuallyGone(ctx, source, a, b)
	})
})

// ofKind makes the spec ask for another kind.
func ofKind(group, version, kind string) change {
	return func(replika *v1alpha1.Replika) {
		source := &replika.Spec.Source
		source.Group, source.Version, source.Kind = group, version, kind
	}
}

// podTemplate is of a kind that the operator may read everywhere, and write nowhere unless a spec allows it.
func podTemplate(namespace string) *unstructured.Unstructured {
	GinkgoHelper()
	return fromYAML(fmt.Sprintf(`{apiVersion: v1, kind: PodTemplate, metadata: {namespace: %s, name: it},
		template: {spec: {containers: [{name: c, image: "example.com/c:1"}]}}}`, namespace))
}

// grantEverywhere gives the operator a right until the spec is over.
func grantEverywhere(ctx context.Context, name string, rule rbacv1.PolicyRule) {
	GinkgoHelper()
	role := create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}})
	DeferCleanup(remove, role)
	binding := create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
	DeferCleanup(remove, binding)
}

// grantIn gives the operator every right to a core resource in one namespace.
func grantIn(ctx context.Context, namespace, resource string) {
	GinkgoHelper()
	name := "operator-" + resource
	create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"*"}}},
	})
	create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
}
