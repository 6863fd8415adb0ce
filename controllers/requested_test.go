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
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// seldom is longer than any spec, so that nothing but a request reads the source again.
const seldom = time.Hour

// The copies of each spec have a name of their own: a Replika is reconciled when another one with the same targets changes.
var _ = Describe("A requested reconcile", func() {
	It("Should read the source anew, once, and write nothing but the status", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one"))
		replika := f.replika(ctx, source, kit.Interval(seldom), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		barrier(ctx, source, replika)

		mark := markAudit()
		for _, value := range []string{"2030-01-02T03:04:05.678Z", "2030-01-02T03:04:06.789Z"} {
			handled := request(ctx, replika, value)
			Expect(kit.Ready(handled).Reason).To(Equal(v1alpha1.ReasonSynced))
		}
		Eventually(ctx, func() []string { return f.writes(mark) }).WithPolling(auditPolling).Should(HaveLen(2), "the status")
		Expect(f.sourceReads(mark)).To(Equal([]string{source.Name, source.Name}))
	})

	It("Should read every one of many sources anew", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		one, two := f.id+"-one", f.id+"-two"
		source := create(ctx, kit.ConfigMap(home, one, "1"))
		create(ctx, kit.ConfigMap(home, two, "2"))
		replika := f.replika(ctx, source, kit.Interval(seldom), kit.TargetNamespaces(a), func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Source.Names = "", []string{one, two}
		})
		expect.Ready(ctx, api, replika, 2)
		barrier(ctx, source, replika)

		mark := markAudit()
		request(ctx, replika, "now")
		request(ctx, replika, "again")
		Eventually(ctx, func() []string { return f.writes(mark) }).WithPolling(auditPolling).Should(HaveLen(2), "the status")
		Expect(f.sourceReads(mark)).To(Equal([]string{one, one, two, two}))
		Expect(f.requests(mark, func(e cluster.AuditEvent) bool { return e.Verb == "list" })).To(HaveLen(2))
	})

	It("Should be handled when the Replika is created with it", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), func(replika *v1alpha1.Replika) {
			replika.Annotations = map[string]string{v1alpha1.AnnotationRequestedAt: "first"}
		})
		eventuallyHandled(ctx, replika, "first")
		expect.Ready(ctx, api, replika, 1)
	})

	It("Should keep the status small, and end, whatever the annotation has", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one"))
		replika := f.replika(ctx, source, kit.Interval(seldom), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		mark := markAudit()
		long := strings.Repeat("é", 100_000)
		Expect(request(ctx, replika, long).Status.LastHandledRequest).To(HaveLen(64))
		request(ctx, replika, "now")
		Eventually(ctx, func() []string { return f.writes(mark) }).WithPolling(auditPolling).Should(HaveLen(2), "the status")
		Expect(f.sourceReads(mark)).To(HaveLen(2))
	})

	It("Should be over when the annotation is removed", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one"))
		replika := f.replika(ctx, source, kit.Interval(seldom), kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		request(ctx, replika, "now")
		mark := markAudit()
		update(ctx, replika, func(replika *v1alpha1.Replika) { delete(replika.Annotations, v1alpha1.AnnotationRequestedAt) })
		request(ctx, replika, "again")
		Eventually(ctx, func() []string { return f.writes(mark) }).WithPolling(auditPolling).Should(HaveLen(1), "the status")
		Expect(f.sourceReads(mark)).To(HaveLen(1))
	})

	It("Should not write the copies of a suspended Replika", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Suspended())
		expect.Reason(ctx, api, replika, v1alpha1.ReasonSuspended)
		Expect(kit.Ready(request(ctx, replika, "now")).Reason).To(Equal(v1alpha1.ReasonSuspended))
		expectAbsent(ctx, source, a)
	})

	It("Should request refused copies again", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		frozen := kit.ConfigMap(f.namespace(ctx, "source"), f.id, "one")
		frozen.Immutable = new(true)
		source := create(ctx, frozen)
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(seldom),
			kit.ImmutableFields(v1alpha1.ImmutableFieldsFail))
		expect.Ready(ctx, api, replika, 1)
		mark := markAudit()
		deleteAndWait(ctx, source)
		source = kit.ConfigMap(source.Namespace, source.Name, "two")
		source.Immutable = new(true)
		create(ctx, source)
		// Each refusal takes two requests: the update, and a dry run that finds out why it is refused.
		attempts := func() int { return f.attemptsByNamespace(mark, source)[a] }
		Eventually(ctx, attempts).WithPolling(auditPolling).Should(Equal(2))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable})

		request(ctx, replika, "now")
		Eventually(ctx, attempts).WithPolling(auditPolling).Should(Equal(4))
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable})
	})
})

// request requests a reconcile, as `kubectl replika sync` does, and waits until the request is handled. It returns the Replika.
func request(ctx context.Context, replika *v1alpha1.Replika, value string) *v1alpha1.Replika {
	GinkgoHelper()
	update(ctx, replika, func(replika *v1alpha1.Replika) {
		if replika.Annotations == nil {
			replika.Annotations = map[string]string{}
		}
		replika.Annotations[v1alpha1.AnnotationRequestedAt] = value
	})
	return eventuallyHandled(ctx, replika, value)
}

// eventuallyHandled waits until the request is handled, and returns the Replika.
func eventuallyHandled(ctx context.Context, replika *v1alpha1.Replika, value string) *v1alpha1.Replika {
	GinkgoHelper()
	return expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
		g.Expect(current.Status.LastHandledRequest).To(Equal(v1alpha1.HandledRequest(value)))
	})
}

// sourceReads lists the names of the ConfigMaps that the operator read since the mark, with their content.
func (f *fixture) sourceReads(since auditMark) []string {
	GinkgoHelper()
	var names []string
	for _, event := range f.requests(since) {
		if event.Verb == "get" && event.Resource == "configmaps" && event.Code == http.StatusOK {
			names = append(names, event.Name)
		}
	}
	slices.Sort(names)
	return names
}
