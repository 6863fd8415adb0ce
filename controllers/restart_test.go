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
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// No other spec may run while the operator is stopped.
var _ = Describe("A restart of the operator", serial, func() {
	It("Should sync what changed meanwhile, and write nothing else", func(ctx SpecContext) {
		f := newFixture()
		a, b, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "source")
		sources, replikas := map[string]*corev1.ConfigMap{}, map[string]*v1alpha1.Replika{}
		copied := func(name string, changes ...kit.ReplikaOption) {
			sources[name] = create(ctx, kit.ConfigMap(home, name, "one"))
			replikas[name] = f.replika(ctx, sources[name], append([]kit.ReplikaOption{kit.TargetNamespaces(a, b)}, changes...)...)
		}
		theirs := create(ctx, kit.ConfigMap(a, "adopted", "theirs"))
		foreign := create(ctx, kit.ConfigMap(a, "conflict", "theirs"))
		copied("quiet")
		copied("adopted", kit.Adopt())
		copied("conflict")
		copied("owner", kit.TargetName("shared"))
		for _, name := range []string{"edited", "stripped", "renamed", "narrowed", "moved"} {
			copied(name)
		}
		copied("removed")
		copied("retained", kit.Retain())
		copied("sourceless", kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		for name, replika := range replikas {
			if name != "conflict" {
				expect.Ready(ctx, api, replika, 2)
			}
		}
		expect.Failures(ctx, api, replikas["conflict"], map[string]string{a: v1alpha1.FailureConflict})
		copied("claimant", kit.TargetName("shared"))
		expect.Failures(ctx, api, replikas["claimant"], map[string]string{a: v1alpha1.FailureConflict, b: v1alpha1.FailureConflict})
		shared, retained := read(ctx, kit.ConfigMap("", "shared", ""), a).GetUID(), read(ctx, sources["retained"], a).GetUID()

		var since auditMark
		whileStopped(func() {
			update(ctx, kit.CopyIn(a, sources["edited"]), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
			update(ctx, kit.CopyIn(a, sources["stripped"]), func(copy *corev1.ConfigMap) { copy.Labels = nil })
			update(ctx, replikas["renamed"], kit.TargetName("again"))
			update(ctx, replikas["narrowed"], kit.TargetNamespaces(b))
			update(ctx, replikas["adopted"], kit.TargetNamespaces(b))
			create(ctx, kit.Secret(home, "moved", "one"))
			update(ctx, replikas["moved"], kit.SourceKind("", "v1", "Secret"))
			for _, gone := range []client.Object{replikas["removed"], replikas["retained"], replikas["owner"], sources["sourceless"]} {
				Expect(api.Delete(ctx, gone)).To(Succeed())
			}
			since = markAudit()
		})

		expect.Copied(ctx, api, sources["edited"], a, b)
		expect.Copied(ctx, api, sources["stripped"], a, b)
		expect.CopiedAs(ctx, api, sources["renamed"], "again", a, b)
		expect.Copied(ctx, api, kit.Secret(home, "moved", ""), a, b)
		expect.CopiedAs(ctx, api, sources["claimant"], "shared", a, b)
		expectReleased(ctx, sources["adopted"], a, theirs.UID)
		expectReleased(ctx, sources["retained"], a, retained)
		for _, name := range []string{"renamed", "moved", "removed", "sourceless"} {
			expect.Gone(ctx, api, sources[name], a, b)
		}
		expect.Gone(ctx, api, sources["narrowed"], a)
		expect.Ready(ctx, api, replikas["claimant"], 2)
		Expect(read(ctx, kit.ConfigMap("", "shared", ""), a).GetUID()).To(Equal(shared), "the object was re-created")
		Expect(read(ctx, foreign, a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
		expect.Failures(ctx, api, replikas["conflict"], map[string]string{a: v1alpha1.FailureConflict})

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
			f.eventuallyWrites(ctx, since, "configmaps", name).Should(ConsistOf(wanted), name)
		}
		f.eventuallyWrites(ctx, since, "secrets", "moved").Should(ConsistOf(in("create", a, b)))

		whileStopped(func() { since = markAudit() })
		update(ctx, sources["quiet"], func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, sources["quiet"], a, b)
		for _, name := range []string{"edited", "stripped", "renamed", "moved"} {
			expect.Ready(ctx, api, replikas[name], 2)
		}
		f.eventuallyWrites(ctx, since, "configmaps", "").Should(ConsistOf(in("patch", a, b)), "only the update")
		Expect(f.writesTo(since, "secrets", "")).To(BeEmpty())
	})

	It("Should write each copy once that new --drop-keys change, and no other", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		touched := kit.ConfigMap(f.namespace(ctx, "source"), "touched", "one")
		touched.Annotations = map[string]string{"tool.example.com/owner": "me", "note": "kept"}
		create(ctx, touched)
		untouched := create(ctx, kit.ConfigMap(touched.Namespace, "untouched", "one"))
		expect.Ready(ctx, api, f.replika(ctx, touched, kit.TargetNamespaces(a, b)), 2)
		expect.Ready(ctx, api, f.replika(ctx, untouched, kit.TargetNamespaces(a, b)), 2)
		DeferCleanup(func() { whileStopped(func() {}) })

		var since auditMark
		annotations := func(namespace string) func() map[string]string {
			return func() map[string]string { return read(ctx, touched, namespace).GetAnnotations() }
		}
		whileStopped(func() { since = markAudit() }, dropKeys("tool.example.com/*"))
		for _, namespace := range []string{a, b} {
			Eventually(ctx, annotations(namespace)).Should(And(Not(HaveKey("tool.example.com/owner")), HaveKeyWithValue("note", "kept")))
		}
		update(ctx, untouched, func(source *corev1.ConfigMap) { source.Data["key"] = "two" })
		expect.Copied(ctx, api, untouched, a, b)
		f.eventuallyWrites(ctx, since, "configmaps", touched.Name).Should(ConsistOf("patch in "+a, "patch in "+b))
		f.eventuallyWrites(ctx, since, "configmaps", untouched.Name).Should(ConsistOf("patch in "+a, "patch in "+b))
	})
})

// whileStopped stops the operator, calls the function, and starts the operator with these options in any case.
func whileStopped(meanwhile func(), changes ...option) {
	GinkgoHelper()
	stopOperator()
	defer startOperator(changes...)
	meanwhile()
}

// restartWith restarts the operator with these options, until the spec ends.
func restartWith(changes ...option) {
	GinkgoHelper()
	DeferCleanup(func() { whileStopped(func() {}) })
	whileStopped(func() {}, changes...)
}

func dropKeys(keys ...string) option {
	return func(options *controllers.Options) { options.DropKeys = keys }
}
