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

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("A dry run", func() {
	It("Should plan each action and write nothing, and then do what was planned", func(ctx SpecContext) {
		f := newFixture()
		synced, drifted, missing, foreign, former := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "c"), f.namespace(ctx, "d"), f.namespace(ctx, "e")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		create(ctx, kit.ConfigMap(foreign, source.Name, "foreign"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(synced, drifted, former))
		expect.Ready(ctx, api, replika, 3)

		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Mode = v1alpha1.ModeDryRun
			replika.Spec.Target.Namespaces.ReplicateIn = []string{synced, drifted, missing, foreign}
		})
		expect.Reason(ctx, api, replika, v1alpha1.ReasonDryRun)
		mark := markAudit()
		update(ctx, kit.CopyIn(drifted, source), func(copy *corev1.ConfigMap) { copy.Data["key"] = "edited" })
		planned := expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{
			drifted: v1alpha1.PlannedUpdate, missing: v1alpha1.PlannedCreate, foreign: v1alpha1.PlannedConflict, former: v1alpha1.PlannedDelete,
		})
		Expect(planned.Status.Planned.Counts).To(ConsistOf(
			v1alpha1.PlannedCount{Action: v1alpha1.PlannedConflict, Copies: 1}, v1alpha1.PlannedCount{Action: v1alpha1.PlannedCreate, Copies: 1},
			v1alpha1.PlannedCount{Action: v1alpha1.PlannedDelete, Copies: 1}, v1alpha1.PlannedCount{Action: v1alpha1.PlannedUpdate, Copies: 1},
		))
		Expect(*planned.Status.Copies).To(Equal(v1alpha1.CopiesStatus{Desired: 4, Synced: 1, Failed: 1}))
		Eventually(ctx, func() []eventsv1.Event { return eventsOf(ctx, replika) }).Should(ContainElement(HaveField("Reason", v1alpha1.EventReasonPlanned)))
		reconcile(ctx, replika)
		Expect(f.writesTo(mark, "configmaps", "")).To(BeEmpty())

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeEnforce })
		enforced := expect.Failures(ctx, api, replika, map[string]string{foreign: v1alpha1.FailureConflict})
		Expect(enforced.Status.Planned).To(BeNil())
		f.eventuallyWrites(ctx, mark, "configmaps", "").Should(ConsistOf("patch in "+drifted, "create in "+missing, "delete in "+former))
		expect.Copied(ctx, api, source, synced, drifted, missing)
	})

	It("Should own nothing if it never enforced", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.DryRun())
		planned := expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedCreate})
		Expect(planned.Finalizers).To(BeEmpty())
		Expect(planned.Annotations).NotTo(HaveKey(v1alpha1.AnnotationKinds))
		Expect(planned.Status.Inventory).To(BeEmpty())
		Expect(planned.Status.Conditions).To(HaveLen(1))
		deleteAndWait(ctx, replika)
		Expect(read(ctx, source, a)).To(BeNil())
	})

	It("Should apply the deletion policy to copies from before", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a))
		expect.Ready(ctx, api, replika, 1)
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeDryRun })
		expect.Reason(ctx, api, replika, v1alpha1.ReasonDryRun)
		deleteAndWait(ctx, replika)
		expect.Gone(ctx, api, source, a)
	})

	It("Should claim nothing", func(ctx SpecContext) {
		f := newFixture()
		a := f.namespace(ctx, "a")
		source := create(ctx, kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one"))
		other := create(ctx, kit.ConfigMap(f.namespace(ctx, "other"), "settings", "two"))
		owner := f.replika(ctx, source, kit.TargetNamespaces(a), kit.WithName("owner"))
		expect.Ready(ctx, api, owner, 1)
		rival := f.replika(ctx, other, kit.TargetNamespaces(a), kit.WithName("rival"), kit.DryRun())
		expectPlan(ctx, rival, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedConflict})

		deleteAndWait(ctx, owner)
		expect.Gone(ctx, api, source, a)
		expectPlan(ctx, rival, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedCreate})

		update(ctx, rival, func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeEnforce })
		expect.Ready(ctx, api, rival, 1)
		update(ctx, rival, func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeDryRun })
		expect.Reason(ctx, api, rival, v1alpha1.ReasonDryRun)
		expect.Ready(ctx, api, f.replika(ctx, source, kit.TargetNamespaces(a), kit.WithName("next-owner")), 1)
		expect.Copied(ctx, api, source, a)
		expectPlan(ctx, rival, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedConflict})
	})

	It("Should foresee adoption, recreation and immutable fields", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		source := create(ctx, kit.Secret(f.namespace(ctx, "source"), "credentials", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a), kit.Adopt())
		expect.Ready(ctx, api, replika, 1)
		create(ctx, kit.Secret(b, source.Name, "foreign"))
		update(ctx, replika, func(replika *v1alpha1.Replika) {
			replika.Spec.Mode = v1alpha1.ModeDryRun
			replika.Spec.Target.Namespaces.ReplicateIn = []string{a, b}
		})
		expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{b: v1alpha1.PlannedAdopt})
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.Type = "example.com/token" })
		expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedRecreate, b: v1alpha1.PlannedFail})
		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Target.ImmutableFields = v1alpha1.ImmutableFieldsFail })
		expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedFail, b: v1alpha1.PlannedFail})

		update(ctx, replika, func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeEnforce })
		expect.Failures(ctx, api, replika, map[string]string{a: v1alpha1.FailureImmutable, b: v1alpha1.FailureImmutable})
	})

	It("Should foresee missing permissions, and reveal nothing about namespaces that the account cannot know", func(ctx SpecContext) {
		f := newFixture()
		labels := map[string]string{f.id: "team"}
		a, b, hidden, home := f.namespace(ctx, "a"), f.namespace(ctx, "b"), f.namespace(ctx, "hidden", labels), f.namespace(ctx, "source")
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		f.grantAccount(ctx, home, copier, a, writeConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))
		replika := f.replika(ctx, source, kit.TargetNamespaces(a, b), kit.SelectNamespaces(labels), kit.ServiceAccount(copier), kit.DryRun())
		planned := expectPlan(ctx, replika, map[string]v1alpha1.PlannedActionType{a: v1alpha1.PlannedCreate, b: v1alpha1.PlannedFail})
		Expect(planned.Status.Planned.Counts).To(ContainElement(v1alpha1.PlannedCount{Action: v1alpha1.PlannedFail, Copies: 2}))
		Expect(fmt.Sprint(planned.Status)).NotTo(ContainSubstring(hidden))
	})

	It("Should plan the copies of many sources", func(ctx SpecContext) {
		f := newFixture()
		a, home := f.namespace(ctx, "a"), f.namespace(ctx, "source")
		source := create(ctx, kit.ConfigMap(home, "db-one", "one"))
		create(ctx, kit.ConfigMap(home, "db-two", "two"))
		replika := f.replika(ctx, source, kit.SourceNames("db-*"), kit.TargetNamespaces(a), kit.DryRun())
		planned := expect.Status(ctx, api, replika, func(g Gomega, replika *v1alpha1.Replika) {
			g.Expect(replika.Status.Planned).To(HaveField("Counts", ConsistOf(v1alpha1.PlannedCount{Action: v1alpha1.PlannedCreate, Copies: 2})))
		})
		Expect(planned.Status.Planned.Actions).To(ConsistOf(HaveField("Name", "db-one"), HaveField("Name", "db-two")))
		create(ctx, kit.ConfigMap(home, "db-three", "three"))
		expect.Status(ctx, api, replika, func(g Gomega, replika *v1alpha1.Replika) {
			g.Expect(replika.Status.Planned).To(HaveField("Counts", ConsistOf(v1alpha1.PlannedCount{Action: v1alpha1.PlannedCreate, Copies: 3})))
		})
	})

	It("Should say why nothing can be planned", func(ctx SpecContext) {
		f := newFixture()
		source := kit.ConfigMap(f.namespace(ctx, "source"), "settings", "one")
		replika := f.replika(ctx, source, kit.TargetNamespaces(f.namespace(ctx, "a")), kit.DryRun())
		expect.Status(ctx, api, replika, func(g Gomega, replika *v1alpha1.Replika) {
			ready := kit.Ready(replika)
			g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonDryRun))
			g.Expect(ready.Message).To(ContainSubstring(v1alpha1.ReasonSourceNotFound))
		})
		create(ctx, source)
		expect.Status(ctx, api, replika, func(g Gomega, replika *v1alpha1.Replika) {
			g.Expect(replika.Status.Planned).To(HaveField("Counts", Not(BeEmpty())))
		})
	})
})

// expectPlan waits until the Replika reports the actions, by the namespaces of the copies.
func expectPlan(
	ctx context.Context, replika *v1alpha1.Replika, actions map[string]v1alpha1.PlannedActionType,
) *v1alpha1.Replika {
	GinkgoHelper()
	return expect.Status(ctx, api, replika, func(g Gomega, replika *v1alpha1.Replika) {
		g.Expect(kit.Ready(replika).Reason).To(Equal(v1alpha1.ReasonDryRun))
		g.Expect(replika.Status.Planned).NotTo(BeNil())
		planned := map[string]v1alpha1.PlannedActionType{}
		for _, action := range replika.Status.Planned.Actions {
			planned[action.Namespace] = action.Action
			g.Expect(action.Message).NotTo(BeEmpty())
		}
		g.Expect(planned).To(Equal(actions))
	})
}
