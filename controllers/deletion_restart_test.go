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
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// No other spec may run while the operator is stopped.
var _ = Describe("A Replika that is deleted while the operator is stopped", serial, func() {
	It("Should be cleaned up with retries however long ago it was deleted", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		revoke := f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.ServiceAccount(copier))
		expect.Ready(ctx, api, replika, 1)

		var since auditMark
		whileStopped(func() {
			revoke(ctx)
			Expect(api.Delete(ctx, replika)).To(Succeed())
			deletedAt := read(ctx, replika, home).GetDeletionTimestamp()
			Eventually(ctx, func() time.Duration { return time.Since(deletedAt.Time) }).Should(BeNumerically(">", cleanupTimeout+time.Second))
			since = markAudit()
		})
		// The second attempt follows whatever the machine is busy with: the time counts from the first.
		refused := func() int {
			count := 0
			for _, event := range f.attemptedWrites(since, "configmaps", source.Name) {
				Expect(event.Verb).To(Equal("delete"))
				Expect(event.Code).To(BeEquivalentTo(http.StatusForbidden))
				count++
			}
			return count
		}
		expect.Gone(ctx, api, replika, home)
		Eventually(ctx, refused).WithPolling(auditPolling).Should(BeNumerically(">=", 2))
		Expect(expectRetainedCopiesEvent(ctx, home, replika.Name)).To(And(ContainSubstring(a), ContainSubstring(v1alpha1.FailureForbidden)))
	})
})
