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
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// No other Replika may cause discovery or lists meanwhile.
var _ = Describe("An inventory that a user wrote", serial, func() {
	requests := func(since auditMark) []string {
		GinkgoHelper()
		events, err := controlPlane.AuditEvents(since.offset, cluster.ByUserAgent(operatorAgent), func(e cluster.AuditEvent) bool {
			return e.Received.After(since.time) && e.Verb != "watch" && e.Resource != "leases"
		})
		Expect(err).NotTo(HaveOccurred())
		var found []string
		for _, event := range events {
			found = append(found, event.Verb+" "+event.RequestURI)
		}
		return found
	}

	It("Should cost a bounded number of requests, once", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 1)
		entries := []string{"configmaps"}
		for i := range 250 {
			// Groups that are not served, and resources that a served group does not have.
			entries = append(entries, fmt.Sprintf("things%d.group%d.example.com", i, i), fmt.Sprintf("things%d.apps", i))
		}

		begin := markAudit()
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Annotations = map[string]string{v1alpha1.AnnotationKinds: strings.Join(entries, ",")}
			replika.Spec.Synchronization.Time.Duration += time.Minute
		})
		expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
			g.Expect(current.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationKinds, "configmaps"))
			g.Expect(current.Status.Inventory).To(Equal([]string{"configmaps"}))
		})
		// Groups, the version of apps, the source, the metadata and the status, each in at most two reconciles.
		Eventually(ctx, func() []string { return requests(begin) }).WithPolling(auditPolling).ShouldNot(BeEmpty())
		Expect(len(requests(begin))).To(BeNumerically("<=", 20), "%v", requests(begin))
	})
})
