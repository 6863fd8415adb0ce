package controllers_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

var _ = Describe("A backup that is restored", func() {
	// restored is an object as a restore makes it: with its name, labels, annotations and finalizers, and a UID of its own.
	restored := func(saved *unstructured.Unstructured) *unstructured.Unstructured {
		again := saved.DeepCopy()
		delete(again.Object, "metadata")
		delete(again.Object, "status")
		again.SetNamespace(saved.GetNamespace())
		again.SetName(saved.GetName())
		again.SetAnnotations(saved.GetAnnotations())
		again.SetFinalizers(saved.GetFinalizers())
		labels := map[string]string{"velero.io/backup-name": "nightly", "velero.io/restore-name": "nightly-1"}
		maps.Copy(labels, saved.GetLabels())
		again.SetLabels(labels)
		return again
	}

	It("costs no writes beyond missing marks", func(ctx SpecContext) {
		s := newScene()
		a, b, c := s.namespace(ctx, "a"), s.namespace(ctx, "b"), s.namespace(ctx, "c")
		source := configMap(s.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{"tier": "back"}
		create(ctx, source)
		replika := s.replika(ctx, source, into(a, b, c), lookingEvery(time.Hour))
		eventuallyReady(ctx, replika, 3)
		saved := map[string]*unstructured.Unstructured{}
		for _, namespace := range []string{a, b, c} {
			saved[namespace] = read(ctx, source, namespace)
		}
		savedReplika := read(ctx, replika, replika.Namespace)
		remove(ctx, replika)
		eventuallyGone(ctx, source, a, b, c)

		saved[c].SetAnnotations(nil) // as of a tool that keeps labels only
		for _, object := range saved {
			create(ctx, restored(object))
		}
		uid, since := read(ctx, source, a).GetUID(), thisMoment()
		create(ctx, restored(savedReplika))
		eventuallyReady(ctx, replika, 3)
		eventuallyCopied(ctx, source, a, b, c)
		Expect(s.changesOf(since, "configmaps", "")).To(ConsistOf("patch in " + c))

		edit(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		eventuallyCopied(ctx, source, a, b, c)
		Expect(read(ctx, source, a).GetUID()).To(Equal(uid))
		remove(ctx, replika)
		eventuallyGone(ctx, source, a, b, c)
	})
})

var _ = Describe("A copy whose Replika is gone", func() {
	It("is never deleted on a guess, and its Replika's again when that comes back", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		source := create(ctx, configMap(home, "settings", "one"))
		other := create(ctx, configMap(home, "others", "one"))
		witness := s.replika(ctx, other, into(a))
		replika := s.replika(ctx, source, into(a))
		eventuallyReady(ctx, witness, 1)
		eventuallyReady(ctx, replika, 1)

		// As when the operator was uninstalled first: somebody frees the Replika by hand, and the copy stays.
		saved := read(ctx, source, a)
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
		orphan := configMap(a, source.Name, "one")
		orphan.Labels, orphan.Annotations = saved.GetLabels(), saved.GetAnnotations()
		create(ctx, orphan)

		edit(ctx, other, func(other *corev1.ConfigMap) { other.Data["key"] = "two" })
		eventuallyCopied(ctx, other, a) // the operator is at work on this very kind
		Consistently(ctx, func() string { return read(ctx, orphan, a).GetResourceVersion() }).Should(Equal(orphan.ResourceVersion))

		since := thisMoment()
		replika = s.replika(ctx, source, into(a))
		eventuallyReady(ctx, replika, 1)
		Expect(s.changesOf(since, "configmaps", source.Name)).To(BeEmpty())
		remove(ctx, replika)
		eventuallyGone(ctx, source, a)
	})
})

var _ = Describe("A copy that loses its labels", func() {
	DescribeTable("in the moment its Replika is deleted is found all the same",
		func(ctx SpecContext, strip string, changes ...change) {
			s := newScene()
			a, b := s.namespace(ctx, "a"), s.namespace(ctx, "b")
			source := create(ctx, configMap(s.namespace(ctx, "source"), "settings", "one"))
			replika := s.replika(ctx, source, append([]change{into(a, b)}, changes...)...)
			eventuallyReady(ctx, replika, 2)
			uid := read(ctx, source, a).GetUID()
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":`+strip+`}}`))
			Expect(api.Patch(ctx, in(a, source), patch)).To(Succeed())
			Expect(api.Delete(ctx, replika)).To(Succeed())
			eventuallyGone(ctx, replika, replika.Namespace)
			if len(changes) > 0 {
				eventuallyReleased(ctx, source, a, uid)
				return
			}
			eventuallyGone(ctx, source, a, b)
		},
		Entry("all of them", `null`),
		Entry("the one by which copies are watched", `{"`+v1alpha1.LabelCreatedBy+`":null}`),
		Entry("the one that names the Replika", `{"`+v1alpha1.LabelPartOf+`":"somebody"}`),
		Entry("all of them, and is to be released", `null`, change(retaining)),
	)
})

var _ = Describe("A busy source", func() {
	DescribeTable("costs no write while what is copied stays the same",
		func(ctx SpecContext, manifest string, stir func(ctx context.Context, source *unstructured.Unstructured, round int)) {
			s := newScene()
			a := s.namespace(ctx, "a")
			source := fromYAML(manifest)
			source.SetNamespace(s.namespace(ctx, "source"))
			create(ctx, source)
			replika := s.replika(ctx, source, into(a))
			shown := eventuallyReady(ctx, replika, 1).Status.Source.ResourceVersion
			before, since := read(ctx, replika, replika.Namespace), thisMoment()
			byOthers := read(ctx, source, a)

			round := 0
			Consistently(ctx, func(g Gomega) {
				round++
				stir(ctx, source, round)
				g.Expect(s.changesOf(since, kindPlural(source), source.GetName())).To(BeEmpty())
			}).WithTimeout(2 * time.Second).Should(Succeed())
			Expect(round).To(BeNumerically(">=", 3), "it was not busy")
			Expect(content(read(ctx, source, a))).To(Equal(content(byOthers)))
			Expect(read(ctx, source, a).GetAnnotations()).To(HaveKey(v1alpha1.AnnotationOwner))
			Expect(eventuallyReady(ctx, replika, 1).Status.Source.ResourceVersion).To(Equal(shown))
			Expect(read(ctx, replika, replika.Namespace).GetResourceVersion()).To(Equal(before.GetResourceVersion()))
		},
		Entry("a lock in an annotation that is renewed", `{apiVersion: v1, kind: ConfigMap, metadata: {name: lock}, data: {key: one}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				edit(ctx, source, func(source *unstructured.Unstructured) {
					source.SetAnnotations(map[string]string{"control-plane.alpha.kubernetes.io/leader": fmt.Sprintf(`{"leaderTransitions":%d}`, round)})
				})
			}),
		Entry("a Deployment whose status moves", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}},
			template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "example.com/main:1"}]}}}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				patchStatus(ctx, source, fmt.Sprintf(`{"status":{"collisionCount":%d}}`, round))
			}),
		Entry("a source that GitOps and backup tools keep touching", `{apiVersion: v1, kind: Secret, metadata: {name: account}, stringData: {key: one}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				edit(ctx, source, func(source *unstructured.Unstructured) {
					source.SetLabels(map[string]string{"velero.io/backup-name": fmt.Sprint(round)})
					source.SetAnnotations(map[string]string{
						"argocd.argoproj.io/tracking-id": fmt.Sprint(round), "reconcile.external-secrets.io/data-hash": fmt.Sprint(round),
					})
					source.SetManagedFields(nil)
				})
			}),
	)
})

var _ = Describe("Whatever was waited for", func() {
	It("is served at once, however long the synchronization time", func(ctx SpecContext) {
		s := newScene()
		a, home := s.namespace(ctx, "a"), s.namespace(ctx, "source")
		patient := lookingEvery(time.Hour)
		kind := "Late" + strings.ToUpper(s.id[:1]) + s.id[1:]
		unknown := s.replika(ctx, configMap(home, "late", ""), patient, into(a), ofKind(playlistGroup, "v1", kind))
		eventuallyNotReady(ctx, unknown, v1alpha1.ReasonKindNotFound)
		source := configMap(home, "settings", "one")
		replika := s.replika(ctx, source, patient, into(a))
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)

		create(ctx, source)
		eventuallyReady(ctx, replika, 1)
		remove(ctx, source)
		eventuallyNotReady(ctx, replika, v1alpha1.ReasonSourceNotFound)
		again := create(ctx, configMap(home, source.Name, "two"))
		eventuallyCopied(ctx, again, a)
		eventuallyReady(ctx, replika, 1)

		blocked := create(ctx, configMap(home, "blocked", "one"))
		foreign := create(ctx, configMap(a, blocked.Name, "theirs"))
		kept := s.replika(ctx, blocked, patient, into(a))
		eventuallyFailing(ctx, kept, map[string]string{a: v1alpha1.FailureConflict})
		Expect(api.Delete(ctx, foreign)).To(Succeed())
		eventuallyReady(ctx, kept, 1)

		rival := s.replika(ctx, create(ctx, configMap(home, "rival", "two")), patient, into(a), naming(source.Name))
		eventuallyFailing(ctx, rival, map[string]string{a: v1alpha1.FailureConflict})
		remove(ctx, replika)
		eventuallyReady(ctx, rival, 1)

		definition := installKind(ctx, kind, strings.ToLower(kind)+"s")
		DeferCleanup(remove, definition)
		late := create(ctx, playlistOf(kind, home, "late"))
		eventuallyCopied(ctx, late, a)
		eventuallyReady(ctx, unknown, 1)
	})
})

// kindPlural is the resource that holds objects of the kind.
func kindPlural(object *unstructured.Unstructured) string {
	return strings.ToLower(object.GetKind()) + "s"
}
