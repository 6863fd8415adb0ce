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
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A webhook that changes copies of a kind that is polled", func() {
	It("Should cost one write per change of the source", func(ctx SpecContext) {
		const interval = 2 * time.Second
		f := newFixture()
		d := newCustomKind()
		d.grant(ctx, "get", "list", "create", "update", "patch", "delete")
		d.install(ctx)
		a := f.namespace(ctx, "a")
		source := d.create(ctx, f.namespace(ctx, "source"), "settings", "one")
		pinMode(ctx, d.object(a, "probe", ""), admissionregistrationv1.Rule{
			APIGroups: []string{d.group}, APIVersions: []string{"*"}, Resources: []string{d.plural},
		}, "spec")
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Interval(interval))
		expectIdle := func() {
			GinkgoHelper()
			expect.Status(ctx, api, replika, func(g Gomega, current *v1alpha1.Replika) {
				g.Expect(current.Status.Source).To(HaveValue(HaveField("ResourceVersion", source.GetResourceVersion())))
				g.Expect(kit.Ready(current).Reason).To(Equal(v1alpha1.ReasonSynced))
				g.Expect(kit.Ready(current).Message).To(And(ContainSubstring("spec"), ContainSubstring("not allowed to watch")))
			})
			Expect(read(ctx, source, a).Object["spec"]).To(HaveKeyWithValue("mode", "safe"))
			idle := markAudit()
			f.waitForReads(ctx, idle, source, 4)
			Expect(f.writes(idle)).To(BeEmpty())
			expect.Ready(ctx, api, replika, 1)
		}
		expect.Ready(ctx, api, replika, 1)
		expectIdle()

		edited := markAudit()
		update(ctx, source, setKey("two"))
		Eventually(ctx, func() any { return read(ctx, source, a).Object["spec"] }).Should(HaveKeyWithValue("key", "two"))
		expectIdle()
		Expect(f.writesTo(edited, d.plural, source.GetName())).To(HaveLen(1))
	})
})
