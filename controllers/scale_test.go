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
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// It uses all cores, and would delay other specs.
var _ = Describe("300 namespaces", serial, func() {
	const count = 300

	It("Should cost one request each, at first and after each change", func(ctx SpecContext) {
		f := newFixture()
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		f.createNamespaces(ctx, count)

		before := markAudit()
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.name("many-*")), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, count)
		f.expectCopyRequests(ctx, before, map[string]int{"create 201": count})
		Expect(f.copies(ctx, &corev1.ConfigMap{})).To(HaveLen(count))

		began := before
		before = markAudit()
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Labels = v1alpha1.Labels{"more": "yes"} })
		expect.Ready(ctx, api, replika, count)
		f.expectCopyRequests(ctx, before, map[string]int{"patch 200": count})

		before = markAudit()
		deleteAndWait(ctx, replika)
		f.expectCopyRequests(ctx, before, map[string]int{"delete 200": count})
		Expect(f.copies(ctx, &corev1.ConfigMap{})).To(BeEmpty())
		f.expectCopyRequests(ctx, began, map[string]int{"create 201": count, "patch 200": count, "delete 200": count}) // none came later
	})
})

// createNamespaces creates this number of namespaces with the prefix many-.
func (f *fixture) createNamespaces(ctx context.Context, count int) {
	GinkgoHelper()
	group := &errgroup.Group{}
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error {
			return api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: f.name(fmt.Sprintf("many-%03d", i)), Labels: map[string]string{fixtureLabel: f.id},
			}})
		})
	}
	Expect(group.Wait()).To(Succeed())
}

// expectCopyRequests expects these numbers, by verb and code, of the operator's requests in the fixture's many namespaces since
// the mark. A request may be recorded with a delay.
func (f *fixture) expectCopyRequests(ctx context.Context, since auditMark, want map[string]int) {
	GinkgoHelper()
	Eventually(ctx, func() map[string]int {
		counts := map[string]int{}
		for _, event := range f.requests(since, func(e cluster.AuditEvent) bool { return strings.HasPrefix(e.Namespace, f.name("many-")) }) {
			counts[fmt.Sprintf("%s %d", event.Verb, event.Code)]++
		}
		return counts
	}).WithPolling(auditPolling).Should(Equal(want))
}
