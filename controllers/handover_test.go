package controllers_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A claim that two Replikas have", func() {
	// rivals are the sources of two Replikas, to be created, and what makes each Replika.
	type rivals struct {
		first, second *corev1.ConfigMap
		makeFirst     func() *v1alpha1.Replika
		makeSecond    func() *v1alpha1.Replika
	}
	prepare := func(ctx context.Context, s *scene, a string) rivals {
		home := s.namespace(ctx, "source")
		r := rivals{first: configMap(home, "first", "one"), second: configMap(home, "second", "two")}
		r.makeFirst = func() *v1alpha1.Replika { return s.replika(ctx, r.first, into(a), naming("shared")) }
		r.makeSecond = func() *v1alpha1.Replika { return s.replika(ctx, r.second, into(a), naming("shared")) }
		return r
	}

	DescribeTable("is settled with one write, and nothing more, in whatever order things come",
		func(ctx SpecContext, steps func(SpecContext, rivals) (one, other *v1alpha1.Replika)) {
			s := newScene()
			a := s.namespace(ctx, "a")
			since := thisMoment()
			one, other := steps(ctx, prepare(ctx, s, a))

			shared := configMap(a, "shared", "")
			Eventually(ctx, func() *unstructured.Unstructured { return read(ctx, shared, a) }).ShouldNot(BeNil())
			owner, rival := one, other
			if read(ctx, shared, a).GetAnnotations()[v1alpha1.AnnotationOwner] == other.Namespace+"/"+other.Name {
				owner, rival = other, one
			}
			eventuallyReady(ctx, owner, 1)
			failing := eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
			Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
			before := read(ctx, shared, a)
			Consistently(ctx, func() string { return read(ctx, shared, a).GetResourceVersion() }).
				WithTimeout(2500 * time.Millisecond).Should(Equal(before.GetResourceVersion()))
			Expect(s.changesOf(since, "configmaps", "shared")).To(ConsistOf("create in " + a))
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
		Entry("the younger Replika's source first", func(ctx SpecContext, r rivals) (one, other *v1alpha1.Replika) {
			one, other = r.makeFirst(), r.makeSecond()
			eventuallyNotReady(ctx, one, v1alpha1.ReasonSourceNotFound)
			create(ctx, r.second)
			eventuallyReady(ctx, other, 1)
			create(ctx, r.first)
			return one, other
		}),
	)

	It("stays with its owner over edits of both, each of which costs at most one write", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		r := prepare(ctx, s, a)
		create(ctx, r.first)
		create(ctx, r.second)
		owner := r.makeFirst()
		eventuallyReady(ctx, owner, 1)
		rival := r.makeSecond()
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		uid := read(ctx, configMap(a, "shared", ""), a).GetUID()

		since := thisMoment()
		edit(ctx, rival, func(rival *v1alpha1.Replika) {
			rival.Spec.Target.Labels = v1alpha1.Labels{"of": "rival"}
			rival.Spec.Target.Namespaces.ReplicateIn = []string{a, b}
		})
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		edit(ctx, owner, func(owner *v1alpha1.Replika) { owner.Spec.Target.Labels = v1alpha1.Labels{"of": "owner"} })
		Eventually(ctx, func() map[string]string { return read(ctx, configMap(a, "shared", ""), a).GetLabels() }).
			Should(HaveKeyWithValue("of", "owner"))
		edit(ctx, owner, adopting)
		edit(ctx, rival, adopting)
		eventuallyReady(ctx, owner, 1)
		// What another Replika owns is not foreign, and not to be adopted.
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		edit(ctx, r.second, func(source *corev1.ConfigMap) { source.Data["key"] = "three" })
		eventuallyCopiedAs(ctx, r.second, "shared", b)
		Expect(s.changesOf(since, "configmaps", "shared")).To(ConsistOf("create in "+b, "patch in "+a, "patch in "+b))
		Expect(read(ctx, configMap(a, "shared", ""), a).GetUID()).To(Equal(uid))
		eventuallyCopiedAs(ctx, r.first, "shared", a)
	})

	It("goes back to a former owner that wants it again only when the present one lets go", func(ctx SpecContext) {
		s := newScene()
		a := s.namespace(ctx, "a")
		r := prepare(ctx, s, a)
		create(ctx, r.first)
		create(ctx, r.second)
		former := r.makeFirst()
		eventuallyReady(ctx, former, 1)
		present := r.makeSecond()
		eventuallyFailing(ctx, present, map[string]string{a: v1alpha1.FailureConflict})
		uid, since := read(ctx, configMap(a, "shared", ""), a).GetUID(), thisMoment()

		edit(ctx, former, func(former *v1alpha1.Replika) { former.Spec.Target.Name = "elsewhere" })
		eventuallyReady(ctx, present, 1)
		edit(ctx, former, func(former *v1alpha1.Replika) { former.Spec.Target.Name = "shared" })
		eventuallyFailing(ctx, former, map[string]string{a: v1alpha1.FailureConflict})
		eventuallyCopiedAs(ctx, r.second, "shared", a)
		remove(ctx, present)
		eventuallyReady(ctx, former, 1)
		eventuallyCopiedAs(ctx, r.first, "shared", a)
		Expect(read(ctx, configMap(a, "shared", ""), a).GetUID()).To(Equal(uid), "never missing")
		// It is handed over and given the new owner's content, twice; or in one go, by an heir who is quick.
		Expect(s.changesOf(since, "configmaps", "shared")).To(And(HaveEach("patch in "+a), WithTransform(func(changes []string) int { return len(changes) }, BeNumerically("<=", 4))))
		eventuallyGone(ctx, configMap(a, "elsewhere", ""), a)
	})

	It("is one claim in all served versions of the kind, and which of them is named is no matter of the copies", func(ctx SpecContext) {
		installTwins(ctx)
		s := newScene() // it ends before the kind does
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		first, second := create(ctx, twin("v1", home, "first", 1)), create(ctx, twin("v2", home, "second", 2))
		owner := s.replika(ctx, first, into(a), naming("shared"))
		eventuallyReady(ctx, owner, 1)
		eventuallyCopiedAs(ctx, first, "shared", a)
		shared := twin("v1", a, "shared", 0)
		before, since := read(ctx, shared, a), thisMoment()

		rival := s.replika(ctx, second, into(a), naming("shared"))
		failing := eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		Expect(failing.Status.Failures[0].Message).To(ContainSubstring(owner.Namespace + "/" + owner.Name))
		for _, version := range []string{"v2", "v1"} {
			edit(ctx, owner, func(owner *v1alpha1.Replika) { owner.Spec.Source.Version = version })
			eventuallyReady(ctx, owner, 1)
		}
		edit(ctx, rival, func(rival *v1alpha1.Replika) { rival.Spec.Source.Version = "v1" })
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		edit(ctx, rival, func(rival *v1alpha1.Replika) { rival.Spec.Source.Version = "v2" })
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		Expect(s.changesOf(since, "twins", "shared")).To(BeEmpty())
		Expect(read(ctx, shared, a).GetResourceVersion()).To(Equal(before.GetResourceVersion()))

		remove(ctx, owner)
		eventuallyReady(ctx, rival, 1)
		eventuallyCopiedAs(ctx, second, "shared", a)
		Expect(read(ctx, shared, a).GetUID()).To(Equal(before.GetUID()), "never missing")
		remove(ctx, rival)
		eventuallyGone(ctx, shared, a)
	})
})

// installTwins installs, for one spec, a CRD whose objects are served in two versions that look alike.
func installTwins(ctx context.Context) {
	GinkgoHelper()
	version := `{name: %s, served: true, storage: %t, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {number: {type: integer}}}}}}}`
	definition := fromYAML(fmt.Sprintf(`
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
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, definition)).To(Succeed()) })
	Eventually(ctx, func() string { return conditionOf(read(ctx, definition, ""), "Established") }).Should(Equal("True"))
}

func twin(version, namespace, name string, number int) *unstructured.Unstructured {
	GinkgoHelper()
	return fromYAML(fmt.Sprintf(`{apiVersion: %s/%s, kind: Twin, metadata: {namespace: %s, name: %s}, spec: {number: %d}}`,
		playlistGroup, version, namespace, name, number))
}
