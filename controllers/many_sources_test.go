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
	"maps"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// manyFixture is a namespace with ConfigMaps, and two namespaces for copies.
type manyFixture struct {
	*fixture
	home, a, b string
}

func newManyFixture(ctx context.Context) *manyFixture {
	GinkgoHelper()
	f := newFixture()
	return &manyFixture{fixture: f, home: f.namespace(ctx, "source"), a: f.namespace(ctx, "a"), b: f.namespace(ctx, "b")}
}

// source creates a ConfigMap with labels in the namespace of the sources.
func (f *manyFixture) source(ctx context.Context, name string, labels map[string]string) *corev1.ConfigMap {
	GinkgoHelper()
	source := kit.ConfigMap(f.home, name, name)
	source.Labels = labels
	return create(ctx, source)
}

// many creates a Replika of ConfigMaps. Its interval is long, so that only events are served promptly.
func (f *manyFixture) many(ctx context.Context, options ...kit.ReplikaOption) *v1alpha1.Replika {
	GinkgoHelper()
	options = append([]kit.ReplikaOption{kit.TargetNamespaces(f.a, f.b), kit.Interval(time.Hour)}, options...)
	return f.replika(ctx, kit.ConfigMap(f.home, "many", ""), options...)
}

// expectSources waits for the counts of the sources.
func expectSources(ctx context.Context, replika *v1alpha1.Replika, matched, synced, refused int32) *v1alpha1.Replika {
	GinkgoHelper()
	return expect.Status(ctx, api, replika, func(g Gomega, found *v1alpha1.Replika) {
		g.Expect(found.Status.Sources).NotTo(BeNil())
		counts := *found.Status.Sources
		counts.CopiedKeys = nil
		g.Expect(counts).To(Equal(v1alpha1.SourcesStatus{Matched: matched, Synced: synced, Refused: refused}))
	})
}

// isList selects the lists in the namespace.
func isList(namespace string) cluster.Filter {
	return func(event cluster.AuditEvent) bool { return event.Verb == "list" && event.Namespace == namespace }
}

// isGet selects the reads of one object in the namespace.
func isGet(namespace string) cluster.Filter {
	return func(event cluster.AuditEvent) bool { return event.Verb == "get" && event.Namespace == namespace }
}

var database = map[string]string{"app": "db"}

var _ = Describe("A Replika with many sources", func() {
	It("Should copy what names and globs match, as they come, change and go", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "db-one", nil), f.source(ctx, "db-two", nil)
		plain, other := f.source(ctx, "plain", nil), f.source(ctx, "other", nil)
		replika := f.many(ctx, kit.SourceNames("db-*", "plain", "later"), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		ready := expect.Ready(ctx, api, replika, 6)
		Expect(ready.Status.Sources).To(Equal(&v1alpha1.SourcesStatus{Matched: 3, Synced: 3}))
		Expect(ready.Status.Source).To(BeNil())
		Expect(kit.Ready(ready).Message).To(ContainSubstring("6 copies of 3 sources (kind ConfigMap, namespace " + f.home + ") in sync; spec.source.names without an object: later"))
		for _, source := range []*corev1.ConfigMap{one, two, plain} {
			expect.Copied(ctx, api, source, f.a, f.b)
		}
		expectAbsent(ctx, other, f.a, f.b)

		By("editing one: only its copies are written, and only it is read")
		mark := markAudit()
		update(ctx, one, func(source *corev1.ConfigMap) { source.Data["key"] = "changed" })
		expect.Copied(ctx, api, one, f.a, f.b)
		Expect(f.writesTo(mark, "configmaps", "db-one")).To(HaveLen(2))
		Expect(f.requests(mark, isGet(f.home))).To(HaveLen(1))

		By("creating one that a plain name waits for, and one that the glob matches")
		later, three := f.source(ctx, "later", nil), f.source(ctx, "db-three", nil)
		expect.Copied(ctx, api, later, f.a, f.b)
		expect.Copied(ctx, api, three, f.a, f.b)
		expectSources(ctx, replika, 5, 5, 0)

		By("deleting one")
		deleteAndWait(ctx, three)
		expect.Gone(ctx, api, three, f.a, f.b)
		expectSources(ctx, replika, 4, 4, 0)
		expect.Ready(ctx, api, replika, 8)

		By("no longer naming one")
		update(ctx, replika, kit.SourceNames("db-*", "later"))
		expect.Gone(ctx, api, plain, f.a, f.b)
		expect.Ready(ctx, api, replika, 6)

		By("deleting the Replika")
		deleteAndWait(ctx, replika)
		Expect(f.copies(ctx, one)).To(BeEmpty())
	})

	It("Should copy what a label selector matches, while it does", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", nil)
		replika := f.many(ctx, kit.SelectSources(database))
		expect.Ready(ctx, api, replika, 2)
		expect.Copied(ctx, api, one, f.a, f.b)
		expectAbsent(ctx, two, f.a, f.b)

		update(ctx, two, func(source *corev1.ConfigMap) { source.Labels = maps.Clone(database) })
		expect.Copied(ctx, api, two, f.a, f.b)
		expect.Ready(ctx, api, replika, 4)
		update(ctx, one, func(source *corev1.ConfigMap) { source.Labels = nil })
		expect.Gone(ctx, api, one, f.a, f.b) // whatever onSourceDeletion says: it is not deleted
		expect.Ready(ctx, api, replika, 2)

		By("deleting the last one: its copies are retained, and synced again when it comes back")
		deleteAndWait(ctx, two)
		waiting := expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		Expect(waiting.Status.Sources.Matched).To(BeZero())
		Expect(waiting.Status.Copies.Desired).To(BeZero())
		expect.Exists(ctx, api, two, f.a)
		expect.Exists(ctx, api, two, f.b)
		update(ctx, replika, kit.TargetNamespaces(f.b))
		expect.Gone(ctx, api, two, f.a)
		expect.Exists(ctx, api, two, f.b)
		again := f.source(ctx, "two", database)
		expect.Copied(ctx, api, again, f.b)
		expect.Ready(ctx, api, replika, 1)

		By("no longer selecting it")
		update(ctx, replika, kit.SelectSources(map[string]string{"app": "cache"}))
		expect.Gone(ctx, api, again, f.b)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
	})

	It("Should release what it no longer selects if it retains copies", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one := f.source(ctx, "one", database)
		replika := f.many(ctx, kit.SelectSources(database), kit.Retain())
		expect.Ready(ctx, api, replika, 2)
		update(ctx, one, func(source *corev1.ConfigMap) { source.Labels = nil })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		for _, namespace := range []string{f.a, f.b} {
			expect.Exists(ctx, api, one, namespace)
			Expect(kit.OwnKeys(read(ctx, one, namespace))).To(BeEmpty())
		}
	})

	It("Should not take what is not for it, unless a plain name says so", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		// kube-root-ca.crt is there by itself.
		token := kit.Secret(f.home, "token", "")
		token.Type, token.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "default"}
		create(ctx, token)
		release := kit.Secret(f.home, "sh.helm.release.v1.app.v1", "")
		release.Type = "helm.sh/release.v1"
		create(ctx, release)
		hidden := kit.Secret(f.home, "hidden-release", "")
		hidden.Type = "helm.sh/release.v1"
		create(ctx, hidden)
		secret := create(ctx, kit.Secret(f.home, "secret", "one"))
		single := f.replika(ctx, secret, kit.WithName("single"), kit.TargetName("chained"), kit.TargetNamespaces(f.home))
		expect.Ready(ctx, api, single, 1)
		replika := f.replika(ctx, kit.Secret(f.home, "many", ""), kit.SourceNames("*"), kit.TargetNamespaces(f.a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		expect.Copied(ctx, api, secret, f.a)
		expectSources(ctx, replika, 1, 1, 0)

		update(ctx, replika, kit.SourceNames("*", "token", "chained", "sh.helm.release.v1.app.v1"))
		refused := expectSources(ctx, replika, 4, 2, 2)
		Expect(kit.Failures(refused)).To(Equal(map[string]string{
			"/token": v1alpha1.ReasonSourceNotAllowed, "/chained": v1alpha1.ReasonSourceNotAllowed,
		}))
		expect.Exists(ctx, api, release, f.a)

		maps := f.many(ctx, kit.SourceNames("*"), kit.WithName("maps"))
		Expect(kit.Ready(expect.Reason(ctx, api, maps, v1alpha1.ReasonSourceNotFound)).Message).To(ContainSubstring("no object matches"))
		ca := create(ctx, kit.ConfigMap(f.home, "istio-ca-root-cert", "one"))
		own := f.source(ctx, "own", nil)
		expect.Copied(ctx, api, own, f.a, f.b)
		expectAbsent(ctx, ca, f.a, f.b)
	})

	It("Should serve each source by itself", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		good, restricted := f.source(ctx, "good", database), f.source(ctx, "restricted", database)
		unreadable := f.source(ctx, "unreadable", database)
		update(ctx, restricted, func(source *corev1.ConfigMap) { allowNamespaces(source, f.a) })
		update(ctx, unreadable, func(source *corev1.ConfigMap) { allowNamespaces(source, "“"+f.a+"”") })
		replika := f.many(ctx, kit.SelectSources(database))
		failed := expectSources(ctx, replika, 3, 1, 1)
		Expect(kit.Failures(failed)).To(Equal(map[string]string{
			"/unreadable": v1alpha1.ReasonSourceNotAllowed, f.b + "/restricted": v1alpha1.FailureForbidden,
		}))
		Expect(kit.Ready(failed).Reason).To(Equal(v1alpha1.ReasonCopiesFailed))
		Expect(kit.Ready(failed).Message).To(And(ContainSubstring("1 of 3 sources cannot be copied"), ContainSubstring("restricted in "+f.b)))
		expect.Copied(ctx, api, good, f.a, f.b)
		expect.Copied(ctx, api, restricted, f.a)
		expectAbsent(ctx, restricted, f.b)

		By("allowing one, and withdrawing the consent of another")
		update(ctx, unreadable, func(source *corev1.ConfigMap) { source.Annotations = nil })
		update(ctx, restricted, func(source *corev1.ConfigMap) { allowNamespaces(source, "nowhere") })
		expect.Copied(ctx, api, unreadable, f.a, f.b)
		expect.Gone(ctx, api, restricted, f.a)
		update(ctx, restricted, func(source *corev1.ConfigMap) { source.Annotations = nil })
		expect.Ready(ctx, api, replika, 6)
	})

	It("Should follow a change of prefix and suffix", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		replika := f.many(ctx, kit.SelectSources(database), kit.TargetNameAffixes("x-", "-y"))
		expect.Ready(ctx, api, replika, 4)
		expect.CopiedAs(ctx, api, one, "x-one-y", f.a, f.b)
		expect.CopiedAs(ctx, api, two, "x-two-y", f.a, f.b)
		update(ctx, replika, kit.TargetNameAffixes("z-", ""))
		expect.CopiedAs(ctx, api, one, "z-one", f.a, f.b)
		expect.CopiedAs(ctx, api, two, "z-two", f.a, f.b)
		expect.Gone(ctx, api, kit.ConfigMap("", "x-one-y", ""), f.a, f.b)
		expect.Gone(ctx, api, kit.ConfigMap("", "x-two-y", ""), f.a, f.b)
		expect.Ready(ctx, api, replika, 4)

		By("a prefix with which some names are too long or not valid: foreseen, without a request")
		mark := markAudit()
		update(ctx, replika, kit.TargetNameAffixes(strings.Repeat("p", 251), ""))
		rejected := expect.Failures(ctx, api, replika, map[string]string{
			f.a + "/one": v1alpha1.FailureRejected, f.b + "/one": v1alpha1.FailureRejected,
			f.a + "/two": v1alpha1.FailureRejected, f.b + "/two": v1alpha1.FailureRejected,
		})
		Expect(rejected.Status.Failures[0].Message).To(ContainSubstring("254 characters"))
		update(ctx, replika, kit.TargetNameAffixes("Not_Valid-", ""))
		rejected = expect.Status(ctx, api, replika, func(g Gomega, found *v1alpha1.Replika) {
			g.Expect(found.Status.Failures).NotTo(BeEmpty())
			g.Expect(found.Status.Failures[0].Message).To(ContainSubstring("Not_Valid-one"))
		})
		Expect(kit.Failures(rejected)).To(HaveLen(4))
		Expect(f.requests(mark, func(event cluster.AuditEvent) bool { return event.Verb == "create" && event.Resource == "configmaps" })).To(BeEmpty())
		update(ctx, replika, kit.TargetNameAffixes("", ""))
		expect.Copied(ctx, api, one, f.a, f.b)
		expect.Ready(ctx, api, replika, 4)
	})

	It("Should become one of one source, and back", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		replika := f.many(ctx, kit.SelectSources(database))
		expect.Ready(ctx, api, replika, 4)
		uid := read(ctx, one, f.a).GetUID()
		update(ctx, replika, kit.Source(kit.NewReplika(one).Spec.Source))
		single := expect.Ready(ctx, api, replika, 2)
		Expect(single.Status.Sources).To(BeNil())
		expect.Gone(ctx, api, two, f.a, f.b)
		update(ctx, one, func(source *corev1.ConfigMap) { source.Data["key"] = "changed" })
		expect.Copied(ctx, api, one, f.a, f.b)
		update(ctx, replika, kit.SourceNames("t*", "one"))
		many := expect.Ready(ctx, api, replika, 4)
		Expect(many.Status.Source).To(BeNil())
		expect.Copied(ctx, api, two, f.a, f.b)
		Expect(read(ctx, one, f.a).GetUID()).To(Equal(uid), "the copy of the source that both name")
		update(ctx, kit.CopyIn(f.a, one), func(copied *corev1.ConfigMap) { copied.Data["key"] = "drifted" })
		expect.Copied(ctx, api, one, f.a, f.b)
	})

	It("Should repair copies, and serve new namespaces", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		replika := f.many(ctx, kit.SelectSources(database), kit.TargetNamespaces(f.id+"-*"), kit.ExcludeNamespaces(f.home))
		expect.Ready(ctx, api, replika, 4)
		mark := markAudit()
		update(ctx, kit.CopyIn(f.a, one), func(copied *corev1.ConfigMap) { copied.Data["key"] = "drifted" })
		expect.Copied(ctx, api, one, f.a, f.b)
		deleteAndWait(ctx, kit.CopyIn(f.b, two))
		expect.Copied(ctx, api, two, f.a, f.b)
		Expect(f.requests(mark, isGet(f.home))).To(HaveLen(2), "reads of sources")
		Expect(f.requests(mark, isList(f.home))).To(BeEmpty(), "lists of sources")

		c := f.namespace(ctx, "c")
		expect.Copied(ctx, api, one, f.a, f.b, c)
		expect.Copied(ctx, api, two, f.a, f.b, c)
		expect.Ready(ctx, api, replika, 6)
		expect.DeleteNamespace(ctx, api, c)
		expect.Ready(ctx, api, replika, 4)
	})

	It("Should list the metadata once per interval at rest, and nothing else", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, refused := f.source(ctx, "one", database), f.source(ctx, "two", database)
		f.source(ctx, "three", database)
		f.source(ctx, "unrelated", nil)
		update(ctx, refused, func(source *corev1.ConfigMap) { allowNamespaces(source) })
		replika := f.many(ctx, kit.SelectSources(database), kit.Interval(time.Second))
		expectSources(ctx, replika, 3, 2, 1)
		expect.Copied(ctx, api, one, f.a, f.b)
		reconcile(ctx, replika)
		mark := markAudit()
		Eventually(ctx, func() int { return len(f.requests(mark, isList(f.home))) }).Should(BeNumerically(">=", 3))
		requests := f.requests(mark)
		Expect(requests).NotTo(BeEmpty())
		for i, request := range requests {
			Expect(request.Verb).To(Equal("list"), "%+v", request)
			Expect(request.RequestURI).To(ContainSubstring("labelSelector=app%3Ddb"))
			if i > 0 {
				Expect(request.Received.Sub(requests[i-1].Received)).To(BeNumerically(">=", 900*time.Millisecond))
			}
		}
	})

	It("Should be refused with the right to read, but not to list", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one := f.source(ctx, "one", database)
		f.grantImpersonation(ctx, f.home)
		create(ctx, &corev1.ServiceAccount{ObjectMeta: kit.ConfigMap(f.home, "copier", "").ObjectMeta})
		revoke := grantUser(ctx, serviceAccountUser(f.home, "copier"), f.home, policyRule("", "configmaps", "get", "list"))
		for _, namespace := range []string{f.a, f.b} {
			grantUser(ctx, serviceAccountUser(f.home, "copier"), namespace, policyRule("", "configmaps", "get", "create", "patch", "delete"))
		}
		replika := f.many(ctx, kit.SelectSources(database), kit.ServiceAccount("copier"), kit.Interval(time.Second))
		expect.Ready(ctx, api, replika, 2)

		revoke(ctx)
		grantUser(ctx, serviceAccountUser(f.home, "copier"), f.home, policyRule("", "configmaps", "get"))
		forbidden := expect.Reason(ctx, api, replika, v1alpha1.ReasonForbidden)
		Expect(kit.Ready(forbidden).Message).To(ContainSubstring("grant it get and list on configmaps in namespace " + f.home))
		expect.Exists(ctx, api, one, f.a)
		expect.Exists(ctx, api, one, f.b)
		By("an owner of a namespace can withdraw consent all the same")
		optOut(ctx, f.a, v1alpha1.OptOutValue)
		expect.Gone(ctx, api, one, f.a)
		grantUser(ctx, serviceAccountUser(f.home, "copier"), f.home, policyRule("", "configmaps", "list"))
		optOut(ctx, f.a, "false")
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should claim its copies like any other", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		first := f.many(ctx, kit.SelectSources(database))
		expect.Ready(ctx, api, first, 4)
		second := f.many(ctx, kit.SourceNames("one"), kit.WithName("second"), kit.TargetNamespaces(f.a))
		conflict := expect.Failures(ctx, api, second, map[string]string{f.a + "/one": v1alpha1.FailureConflict})
		Expect(conflict.Status.Failures[0].Message).To(ContainSubstring(f.home + "/" + first.Name))

		By("the owner no longer selects the source: the other inherits the copy")
		uid := read(ctx, one, f.a).GetUID()
		other := f.replika(ctx, two, kit.WithName("single"), kit.TargetNamespaces(f.b), kit.Interval(time.Hour))
		expect.Failures(ctx, api, other, map[string]string{f.b: v1alpha1.FailureConflict})
		update(ctx, first, kit.SourceNames("nothing"))
		expect.Ready(ctx, api, second, 1)
		expect.Ready(ctx, api, other, 1)
		Expect(read(ctx, one, f.a).GetUID()).To(Equal(uid))
		expect.Gone(ctx, api, one, f.b)
		expect.Gone(ctx, api, two, f.a)
		expect.Reason(ctx, api, first, v1alpha1.ReasonSourceNotFound)

		By("the new owners are deleted")
		update(ctx, first, kit.SelectSources(database))
		expect.Failures(ctx, api, first, map[string]string{f.a + "/one": v1alpha1.FailureConflict, f.b + "/two": v1alpha1.FailureConflict})
		deleteAndWait(ctx, second)
		deleteAndWait(ctx, other)
		expect.Ready(ctx, api, first, 4)
		Expect(read(ctx, one, f.a).GetUID()).To(Equal(uid))
	})

	It("Should leave foreign objects alone until they are gone", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		foreign := create(ctx, kit.ConfigMap(f.a, "x-one", "theirs"))
		replika := f.many(ctx, kit.SelectSources(database), kit.TargetNameAffixes("x-", ""))
		expect.Failures(ctx, api, replika, map[string]string{f.a + "/one": v1alpha1.FailureConflict})
		expect.CopiedAs(ctx, api, two, "x-two", f.a, f.b)
		Expect(read(ctx, foreign, f.a).GetResourceVersion()).To(Equal(foreign.ResourceVersion))
		deleteAndWait(ctx, foreign)
		expect.CopiedAs(ctx, api, one, "x-one", f.a, f.b)
		expect.Ready(ctx, api, replika, 4)
	})

	It("Should copy into its source's namespace under other names, and never over a source", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one := f.source(ctx, "one", nil)
		source := f.source(ctx, "x-one", nil)
		before := read(ctx, source, f.home)
		replika := f.many(ctx, kit.SourceNames("*"), kit.TargetNameAffixes("x-", ""), kit.TargetNamespaces(f.home), kit.Adopt())
		failed := expect.Failures(ctx, api, replika, map[string]string{f.home + "/one": v1alpha1.FailureConflict})
		Expect(failed.Status.Failures[0].Message).To(ContainSubstring("can itself be one of the sources"))
		expect.CopiedAs(ctx, api, source, "x-x-one", f.home)
		Expect(read(ctx, source, f.home)).To(Equal(before))
		expectSources(ctx, replika, 2, 1, 0)
		deleteAndWait(ctx, source)
		expect.CopiedAs(ctx, api, one, "x-one", f.home)
		expectSources(ctx, replika, 1, 1, 0) // a copy is no source
	})

	It("Should let consent win while it is suspended", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		replika := f.many(ctx, kit.SelectSources(database))
		expect.Ready(ctx, api, replika, 4)
		update(ctx, replika, kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		deleteAndWait(ctx, two)
		update(ctx, one, func(source *corev1.ConfigMap) { allowNamespaces(source, f.a); source.Data["key"] = "changed" })
		expect.Gone(ctx, api, one, f.b)
		optOut(ctx, f.b, v1alpha1.OptOutValue)
		expect.Gone(ctx, api, two, f.b)
		Expect(read(ctx, one, f.a).Object["data"]).To(Equal(map[string]any{"key": "one"}))
		expect.Exists(ctx, api, two, f.a)

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Suspend = false })
		expect.Copied(ctx, api, one, f.a)
		expect.Exists(ctx, api, two, f.a)
	})

	It("Should take keys and types from every source", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		full, lacking := kit.Secret(f.home, "full", ""), kit.Secret(f.home, "lacking", "")
		full.Labels, lacking.Labels = database, database
		full.Data = map[string][]byte{"password": []byte("one"), "uri": []byte("two"), "other": []byte("three")}
		create(ctx, full)
		create(ctx, lacking)
		replika := f.replika(ctx, kit.Secret(f.home, "many", ""), kit.SelectSources(database), kit.TargetNamespaces(f.a),
			kit.Interval(time.Hour), chooseKeys("password", "u*"), renameKey("password", "PGPASSWORD"))
		waiting := expectSources(ctx, replika, 2, 1, 1)
		Expect(kit.Failures(waiting)).To(Equal(map[string]string{"/lacking": v1alpha1.ReasonKeyNotFound}))
		eventuallyHasKeys(ctx, full, f.a, "PGPASSWORD", "uri")
		Expect(waiting.Status.Sources.CopiedKeys).To(ConsistOf("password", "u*"))

		By("withdrawing consent to a key while another is missing: the copies do not stay as they are")
		update(ctx, full, func(source *corev1.Secret) { delete(source.Data, "password") })
		expectSources(ctx, replika, 2, 0, 2)
		expect.Exists(ctx, api, full, f.a)
		allowKeys(ctx, full, "password")
		expect.Gone(ctx, api, full, f.a)
	})

	It("Should follow a source that is renamed, by its deletion and creation", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one := f.source(ctx, "db-one", nil)
		replika := f.many(ctx, kit.SourceNames("db-*"), kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete))
		expect.Ready(ctx, api, replika, 2)
		deleteAndWait(ctx, one)
		two := f.source(ctx, "db-two", nil)
		expect.Copied(ctx, api, two, f.a, f.b)
		expect.Gone(ctx, api, one, f.a, f.b)
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should wait with a selector that no labels satisfy", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		one := f.source(ctx, "one", database)
		replika := f.many(ctx, kit.SelectSources(database), func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Selector.MatchExpressions = []v1alpha1.LabelRequirement{{Key: "app", Operator: "DoesNotExist"}}
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
		expectAbsent(ctx, one, f.a, f.b)
		update(ctx, replika, kit.SelectSources(database))
		expect.Ready(ctx, api, replika, 2)
	})

	It("Should notice that a source was replaced by a token", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		secret := kit.Secret(f.home, "credentials", "one")
		secret.Labels = database
		create(ctx, secret)
		replika := f.replika(ctx, secret, kit.WithName("many"), kit.SelectSources(database), kit.TargetNamespaces(f.a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		deleteAndWait(ctx, secret)
		token := kit.Secret(f.home, "credentials", "")
		token.Labels, token.Type = database, corev1.SecretTypeServiceAccountToken
		token.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		create(ctx, token)
		expect.Gone(ctx, api, secret, f.a)
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSourceNotFound)
	})
})
