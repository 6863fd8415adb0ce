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
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A Replika with many sources, while the operator restarts", serial, func() {
	It("Should write only what changed", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		names := []string{"edited", "gone", "quiet", "renounced", "retained"}
		sources := map[string]*corev1.ConfigMap{}
		for _, name := range names {
			sources[name] = f.source(ctx, name, database)
		}
		replika := f.many(ctx, kit.SelectSources(database))
		removing := f.many(ctx, kit.SelectSources(database), kit.WithName("removing"), kit.TargetNameAffixes("r-", ""),
			kit.OnSourceDeletion(v1alpha1.SourceDeletionDelete), kit.TargetNamespaces(f.a))
		expect.Ready(ctx, api, replika, 10)
		expect.Ready(ctx, api, removing, 5)
		claimant := f.many(ctx, kit.SourceNames("quiet"), kit.WithName("claimant"))
		expect.Failures(ctx, api, claimant, map[string]string{f.a + "/quiet": v1alpha1.FailureConflict, f.b + "/quiet": v1alpha1.FailureConflict})

		var since auditMark
		whileStopped(func() {
			update(ctx, sources["edited"], func(source *corev1.ConfigMap) { source.Data["key"] = "changed" })
			update(ctx, sources["renounced"], func(source *corev1.ConfigMap) { source.Labels = nil })
			for _, name := range []string{"gone", "retained"} {
				Expect(api.Delete(ctx, sources[name])).To(Succeed())
			}
			f.source(ctx, "new", database)
			since = markAudit()
		})
		expect.Ready(ctx, api, replika, 6)
		expect.Ready(ctx, api, removing, 3)
		expect.Copied(ctx, api, sources["edited"], f.a, f.b)
		expect.Gone(ctx, api, sources["renounced"], f.a, f.b)
		expect.Exists(ctx, api, sources["retained"], f.a)
		expect.Gone(ctx, api, kit.ConfigMap("", "r-gone", ""), f.a)
		for _, name := range []string{"quiet", "r-quiet", "gone", "retained"} {
			Expect(f.writesTo(since, "configmaps", name)).To(BeEmpty(), name)
		}
		for _, object := range []client.Object{claimant, replika} {
			deleteAndWait(ctx, object)
		}
	})

	It("Should stop before too many copies", func(ctx SpecContext) {
		restartWith(func(options *controllers.Options) { options.Policy.MaxCopies = 4 })
		f := newManyFixture(ctx)
		one, two := f.source(ctx, "one", database), f.source(ctx, "two", database)
		replika := f.many(ctx, kit.SelectSources(database))
		single := f.replika(ctx, one, kit.WithName("single"), kit.TargetName("single"), kit.TargetNamespaces(f.id+"-*"), kit.Interval(time.Hour))
		expect.Ready(ctx, api, replika, 4)
		expect.Ready(ctx, api, single, 2)

		three := f.source(ctx, "three", database)
		update(ctx, one, func(source *corev1.ConfigMap) { source.Labels = nil })
		update(ctx, two, func(source *corev1.ConfigMap) { source.Data["key"] = "changed" })
		f.source(ctx, "four", database)
		stalled := expect.Reason(ctx, api, replika, v1alpha1.ReasonTooMany)
		Expect(kit.Ready(stalled).Message).To(And(ContainSubstring("6 copies"), ContainSubstring("--max-copies-per-replika")))
		deleteAndWait(ctx, three)
		expect.Ready(ctx, api, replika, 4)
		expect.Copied(ctx, api, two, f.a, f.b)
		expect.Gone(ctx, api, one, f.a)

		By("selecting too many namespaces for one source")
		for _, suffix := range []string{"c", "d", "e"} {
			f.namespace(ctx, suffix)
		}
		expect.Reason(ctx, api, single, v1alpha1.ReasonTooMany)
		update(ctx, single, kit.TargetNamespaces(f.a))
		expect.Ready(ctx, api, single, 1)
	})

	It("Should be stalled with more than 1,000 sources", func(ctx SpecContext) {
		f := newManyFixture(ctx)
		quiet := f.source(ctx, "s-quiet", nil)
		replika := f.many(ctx, kit.SourceNames("s-*"), kit.TargetNamespaces(f.a))
		expect.Ready(ctx, api, replika, 1)
		f.createSources(ctx, v1alpha1.MaxSources)
		stalled := expect.Reason(ctx, api, replika, v1alpha1.ReasonTooMany)
		Expect(kit.Ready(stalled).Message).To(ContainSubstring("matches more than 1000 objects"))
		expect.Exists(ctx, api, quiet, f.a)
		deleteAndWait(ctx, quiet)
		expect.Ready(ctx, api, replika, v1alpha1.MaxSources)
		update(ctx, replika, kit.SourceNames("s-1", "s-2"))
		expect.Ready(ctx, api, replika, 2)
	})
})

// createSources creates ConfigMaps s-1, s-2 and so on.
func (f *manyFixture) createSources(ctx context.Context, count int) {
	GinkgoHelper()
	created := make(chan error, count)
	for worker := range 8 {
		go func() {
			for number := worker + 1; number <= count; number += 8 {
				created <- api.Create(ctx, kit.ConfigMap(f.home, "s-"+strconv.Itoa(number), "one"))
			}
		}()
	}
	for range count {
		Expect(<-created).To(Succeed())
	}
}
