package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// The operator is everybody's, so no other spec may run while it is away.
var _ = Describe("The operator, started anew", Serial, func() {
	It("puts right whatever changed while it was away, and writes nothing else", func(ctx SpecContext) {
		s := newScene()
		a, b, home := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "source")
		sources, replikas := map[string]*corev1.ConfigMap{}, map[string]*v1alpha1.Replika{}
		copied := func(name string, changes ...change) {
			sources[name] = create(ctx, configMap(home, name, "one"))
			replikas[name] = s.replika(ctx, sources[name], append([]change{into(a, b)}, changes...)...)
		}
		theirs := create(ctx, configMap(a, "adopted", "theirs"))
		foreign := create(ctx, configMap(a, "conflict", "theirs"))
		copied("quiet")
		copied("adopted", adopting)
		copied("conflict")
		copied("owner", naming("shared"))
		for _, name := range []string{"edited", "stripped", "renamed", "narrowed", "moved"} {
			copied(name)
		}
		copied("removed")
		copied("retained", retaining)
		copied("sourceless", onSourceDeletion(v1alpha1.SourceDeletionDelete))
		for name, replika := range replikas {
			if name != "conflict" {
				eventuallyReady(ctx, replika, 2)
			}
		}
		eventuallyFailing(ctx, replikas["conflict"], map[string]string{a: v1alpha1.FailureConflict})
		copied("heir", naming("shared"))
		eventuallyFailing(ctx, replikas["heir"], map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})
		shared, retained := read(ctx, configMap("", "shared", ""), a).GetUID(), read(ctx, sources["retained"], a).GetUID()

		var since moment
		whileAway(func() {
			edit(ctx, in(a, sources["edited"]), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
			edit(ctx, in(a, sources["stripped"]), func(copy *corev1.ConfigMap) { copy.Labels = nil })
			edit(ctx, replikas["renamed"], naming("again"))
			edit(ctx, replikas["narrowed"], into(b))
			edit(ctx, replikas["adopted"], into(b))
			create(ctx, secret(home, "moved", "pass"))
			edit(ctx, replikas["moved"], ofKind("", "v1", "Secret"))
			for _, gone := range []client.Object{replikas["removed"], replikas["retained"], replikas["owner"], sources["sourceless"]} {
				Expect(api.Delete(ctx, gone)).To(Succeed())
			}
			since = thisMoment()
		})

		eventuallyCopied(ctx, sources["edited"], a, b)
		eventuallyCopied(ctx, sources["stripped"], a, b)
		eventuallyCopiedAs(ctx, sources["renamed"], "again", a, b)
		eventuallyCopied(ctx, secret(home, "moved", ""), a, b)
		eventuallyCopiedAs(ctx, sources["heir"], "shared", a, b)
		eventuallyReleased(ctx, sources["adopted"], a, theirs.UID)
		eventuallyReleased(ctx, sources["retained"], a, retained)
		for _, name := range []string{"renamed", "moved", "removed", "sourceless"} {
			eventuallyGone(ctx, sources[name], a, b)
		}
		eventuallyGone(ctx, sources["narrowed"], a)
		eventuallyReady(ctx, replikas["heir"], 2)
		Expect(read(ctx, configMap("", "shared", ""), a).GetUID()).To(Equal(shared), "never missing")
		Expect(read(ctx, foreign, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
		eventuallyFailing(ctx, replikas["conflict"], map[string]string{a: v1alpha1.FailureConflict})

		in := func(verb string, namespaces ...string) (changes []string) {
			for _, namespace := range namespaces {
				changes = append(changes, verb+" in "+namespace)
			}
			return changes
		}
		for name, wanted := range map[string][]string{
			"quiet": {}, "conflict": {},
			"edited": in("patch", a), "stripped": in("patch", a), "adopted": in("patch", a), "retained": in("patch", a, b),
			"renamed": in("delete", a, b), "again": in("create", a, b), "narrowed": in("delete", a),
			"moved": in("delete", a, b), "removed": in("delete", a, b), "sourceless": in("delete", a, b),
		} {
			Expect(s.changesOf(since, "configmaps", name)).To(ConsistOf(wanted), name)
		}
		Expect(s.changesOf(since, "secrets", "moved")).To(ConsistOf(in("create", a, b)))

		whileAway(func() { since = thisMoment() })
		edit(ctx, sources["quiet"], func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, sources["quiet"], a, b)
		for _, name := range []string{"edited", "stripped", "renamed", "moved"} {
			eventuallyReady(ctx, replikas[name], 2)
		}
		Expect(s.changesOf(since, "configmaps", "")).To(ConsistOf(in("patch", a, b)), "only the edit")
		Expect(s.changesOf(since, "secrets", "")).To(BeEmpty())
	})

	It("with other rules of what to copy, writes each copy that they change once, and no other", func(ctx SpecContext) {
		s := newScene()
		a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
		touched := configMap(s.namespace(ctx, "source"), "touched", "one")
		touched.Annotations = map[string]string{"tool.example.com/owner": "me", "note": "kept"}
		create(ctx, touched)
		untouched := create(ctx, configMap(touched.Namespace, "untouched", "one"))
		eventuallyReady(ctx, s.replika(ctx, touched, into(a, b)), 2)
		eventuallyReady(ctx, s.replika(ctx, untouched, into(a, b)), 2)
		DeferCleanup(func() { whileAway(func() {}) })

		var since moment
		annotations := func(namespace string) func() map[string]string {
			return func() map[string]string { return read(ctx, touched, namespace).GetAnnotations() }
		}
		whileAway(func() { since = thisMoment() }, dropping("tool.example.com/*"))
		for _, namespace := range []string{a, b} {
			Eventually(ctx, annotations(namespace)).Should(And(Not(HaveKey("tool.example.com/owner")), HaveKeyWithValue("note", "kept")))
		}
		edit(ctx, untouched, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, untouched, a, b)
		Expect(s.changesOf(since, "configmaps", touched.Name)).To(ConsistOf("patch in "+a, "patch in "+b))
		Expect(s.changesOf(since, "configmaps", untouched.Name)).To(ConsistOf("patch in "+a, "patch in "+b))
	})
})

// whileAway stops the operator, does something, and starts it again, whatever happened, with these options.
func whileAway(meanwhile func(), changes ...option) {
	GinkgoHelper()
	stopOperator()
	defer startOperator(changes...)
	meanwhile()
}

// withOptions starts the operator again with these options, until the spec is over.
func withOptions(changes ...option) {
	GinkgoHelper()
	DeferCleanup(func() { whileAway(func() {}) })
	whileAway(func() {}, changes...)
}

func dropping(keys ...string) option {
	return func(options *controllers.Options) { options.DropKeys = keys }
}
