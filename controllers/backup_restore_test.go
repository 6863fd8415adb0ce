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
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Backup restore", func() {
	// restored returns an object as a restore creates it: with its name, labels, annotations and finalizers, and a new UID.
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

	It("Should write nothing but missing ownership annotations", func(ctx SpecContext) {
		f := newFixture()
		a, b, c := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c")
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		source.Labels = map[string]string{"tier": "back"}
		create(ctx, source)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b, c), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 3)
		saved := map[string]*unstructured.Unstructured{}
		for _, namespace := range []string{a, b, c} {
			saved[namespace] = read(ctx, source, namespace)
		}
		savedReplika := read(ctx, replika, replika.Namespace)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a, b, c)

		saved[c].SetAnnotations(nil) // as restored by a tool that keeps only labels
		for _, object := range saved {
			create(ctx, restored(object))
		}
		uid, since := read(ctx, source, a).GetUID(), markAudit()
		create(ctx, restored(savedReplika))
		expect.Ready(ctx, api, replika, 3)
		expect.Copied(ctx, api, source, a, b, c)
		f.eventuallyWrites(ctx, since, "configmaps", "").Should(ConsistOf("patch in " + c))

		update(ctx, source, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, source, a, b, c)
		Expect(read(ctx, source, a).GetUID()).To(Equal(uid))
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a, b, c)
	})
})

var _ = Describe("A copy whose Replika no longer exists", func() {
	It("Should never be deleted, and should belong to its Replika when that is created again", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		other := create(ctx, kit.ConfigMap(home, "others", "one"))
		witness := f.replika(ctx, other, kit.TargetNamespaces(a))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, witness, 1)
		expect.Ready(ctx, api, replika, 1)

		// The operator was uninstalled first: an administrator removes the finalizer by hand, and the copy stays.
		saved := read(ctx, source, a)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
		orphan := kit.ConfigMap(a, source.Name, "one")
		orphan.Labels, orphan.Annotations = saved.GetLabels(), saved.GetAnnotations()
		create(ctx, orphan)

		update(ctx, other, func(other *corev1.ConfigMap) { other.Data["key"] = "two" })
		expect.Copied(ctx, api, other, a) // the operator reconciles this kind
		barrier(ctx, orphan, witness)
		Expect(read(ctx, orphan, a).GetResourceVersion()).To(Equal(orphan.ResourceVersion))

		since := markAudit()
		replika = f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		Expect(f.writesTo(since, "configmaps", source.Name)).To(BeEmpty())
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})
})

var _ = Describe("A copy that loses its labels", func() {
	DescribeTable("Should be found while its Replika is deleted",
		func(ctx SpecContext, strip string, changes ...kit.ReplikaOption) {
			f := newFixture()
			a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
			source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
			replika := f.replika(ctx, source, append([]kit.ReplikaOption{kit.TargetNamespaces(a, b)}, changes...)...)
			expect.Ready(ctx, api, replika, 2)
			uid := read(ctx, source, a).GetUID()
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":`+strip+`}}`))
			Expect(api.Patch(ctx, kit.CopyIn(a, source), patch)).To(Succeed())
			Expect(api.Delete(ctx, replika)).To(Succeed())
			expect.Gone(ctx, api, replika, replika.Namespace)
			if len(changes) > 0 {
				expectReleased(ctx, source, a, uid)
				return
			}
			expect.Gone(ctx, api, source, a, b)
		},
		Entry("all labels", `null`),
		Entry("the label that the watch selects", `{"`+v1alpha1.LabelCreatedBy+`":null}`),
		Entry("the label that names the Replika", `{"`+v1alpha1.LabelPartOf+`":"another"}`),
		Entry("all labels, under Retain", `null`, kit.Retain()),
	)
})

var _ = Describe("A source with frequent updates", func() {
	DescribeTable("Should cause no write while the copied content is unchanged",
		func(ctx SpecContext, manifest string, stir func(ctx context.Context, source *unstructured.Unstructured, round int)) {
			f := newFixture()
			a := f.namespace(ctx, "a")
			source := kit.FromYAML(manifest)
			source.SetNamespace(f.namespace(ctx, "source"))
			create(ctx, source)
			replika := f.replika(ctx, source, kit.TargetNamespaces(a))
			shown := expect.Ready(ctx, api, replika, 1).Status.Source.ResourceVersion
			before, since := read(ctx, replika, replika.Namespace), markAudit()
			byOthers := read(ctx, source, a)

			round := 0
			Consistently(ctx, func(g Gomega) {
				round++
				stir(ctx, source, round)
				g.Expect(f.writesTo(since, kindPlural(source), source.GetName())).To(BeEmpty())
			}).WithTimeout(2 * time.Second).Should(Succeed())
			Expect(round).To(BeNumerically(">=", 3), "too few updates")
			Expect(kit.Content(read(ctx, source, a))).To(Equal(kit.Content(byOthers)))
			Expect(read(ctx, source, a).GetAnnotations()).To(HaveKey(v1alpha1.AnnotationOwner))
			Expect(expect.Ready(ctx, api, replika, 1).Status.Source.ResourceVersion).To(Equal(shown))
			Expect(read(ctx, replika, replika.Namespace).GetResourceVersion()).To(Equal(before.GetResourceVersion()))
		},
		Entry("leader election lock in an annotation", `{apiVersion: v1, kind: ConfigMap, metadata: {name: lock}, data: {key: one}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				update(ctx, source, func(source *unstructured.Unstructured) {
					source.SetAnnotations(map[string]string{"control-plane.alpha.kubernetes.io/leader": fmt.Sprintf(`{"leaderTransitions":%d}`, round)})
				})
			}),
		Entry("Deployment with status updates", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}},
			template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: "example.com/main:1"}]}}}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				patchStatus(ctx, source, fmt.Sprintf(`{"status":{"collisionCount":%d}}`, round))
			}),
		Entry("labels and annotations of GitOps and backup tools", `{apiVersion: v1, kind: Secret, metadata: {name: account}, stringData: {key: one}}`,
			func(ctx context.Context, source *unstructured.Unstructured, round int) {
				update(ctx, source, func(source *unstructured.Unstructured) {
					source.SetLabels(map[string]string{"velero.io/backup-name": fmt.Sprint(round)})
					source.SetAnnotations(map[string]string{
						"argocd.argoproj.io/tracking-id": fmt.Sprint(round), "reconcile.external-secrets.io/data-hash": fmt.Sprint(round),
					})
					source.SetManagedFields(nil)
				})
			}),
	)
})

var _ = Describe("A Replika that waits", func() {
	It("Should be synced promptly when the missing object exists, whatever the interval", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		patient := kit.Interval(time.Hour)
		kind := "Late" + strings.ToUpper(f.id[:1]) + f.id[1:]
		unknown := f.replika(ctx, kit.ConfigMap(home, "late", ""), patient, kit.TargetNamespaces(a), kit.SourceKind(playlistGroup, "v1", kind))
		expect.Reason(ctx, api, unknown, v1alpha1.ReasonKindNotFound)
		source := kit.ConfigMap(home, "settings", "one")
		replika := f.replika(ctx, source, patient, kit.TargetNamespaces(a))
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)

		create(ctx, source)
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, source)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		again := create(ctx, kit.ConfigMap(home, source.Name, "two"))
		expect.Copied(ctx, api, again, a)
		expect.Ready(ctx, api, replika, 1)

		blocked := create(ctx, kit.ConfigMap(home, "blocked", "one"))
		foreign := create(ctx, kit.ConfigMap(a, blocked.Name, "theirs"))
		kept := f.replika(ctx, blocked, patient, kit.TargetNamespaces(a))
		expect.Failures(ctx, api, kept, map[string]string{a: v1alpha1.FailureConflict})
		Expect(api.Delete(ctx, foreign)).To(Succeed())
		expect.Ready(ctx, api, kept, 1)

		rival := f.replika(ctx, create(ctx, kit.ConfigMap(home, "rival", "two")), patient, kit.TargetNamespaces(a), kit.TargetName(source.Name))
		expect.Failures(ctx, api, rival, map[string]string{a: v1alpha1.FailureConflict})
		deleteAndWait(ctx, replika)
		expect.Ready(ctx, api, rival, 1)

		definition := installCRD(ctx, kind, strings.ToLower(kind)+"s")
		DeferCleanup(deleteAndWait, definition)
		late := create(ctx, playlistOf(kind, home, "late"))
		expect.Copied(ctx, api, late, a)
		expect.Ready(ctx, api, unknown, 1)
	})
})

// kindPlural returns the resource of the object.
func kindPlural(object *unstructured.Unstructured) string {
	return strings.ToLower(object.GetKind()) + "s"
}
