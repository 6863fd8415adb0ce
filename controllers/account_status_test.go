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
	"encoding/json"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The status of a Replika with a ServiceAccount", func() {
	It("Should not reveal an object in the way, nor the Replika that owns it, before the account can read it", func(ctx SpecContext) {
		f := newFixture()
		empty, foreign, owned, home := f.namespace(ctx, "empty"), f.namespace(ctx, "foreign"), f.namespace(ctx, "owned"), f.namespace(ctx, "home")
		create(ctx, kit.ConfigMap(foreign, "settings", "theirs"))
		theirs := create(ctx, kit.ConfigMap(f.namespace(ctx, "tenant"), "settings", "theirs"))
		owner := f.replika(ctx, theirs, kit.TargetNamespaces(owned), kit.WithName("hidden-owner"))
		expect.Ready(ctx, api, owner, 1)
		f.grantImpersonation(ctx, home)
		f.grantAccount(ctx, home, copier, home, readConfigMaps)
		source := create(ctx, kit.ConfigMap(home, "settings", "one"))

		for _, policy := range []kit.ReplikaOption{func(*v1alpha1.Replika) {}, kit.Adopt()} {
			replika := f.replika(ctx, source, kit.TargetNamespaces(empty, foreign, owned), kit.ServiceAccount(copier), policy)
			denied := expect.Failures(ctx, api, replika, map[string]string{
				empty: v1alpha1.FailureForbidden, foreign: v1alpha1.FailureForbidden, owned: v1alpha1.FailureForbidden,
			})
			messages := map[string]bool{}
			for _, failure := range denied.Status.Failures {
				messages[strings.ReplaceAll(failure.Message, failure.Namespace, "NAMESPACE")] = true
			}
			Expect(messages).To(HaveLen(1), "the messages differ: %v", messages)
			Expect(f.reported(ctx, replika)).NotTo(ContainSubstring(owner.Name))
			deleteAndWait(ctx, replika)
		}

		By("granting the permissions")
		f.grantAccount(ctx, home, copier, foreign, writeConfigMaps)
		f.grantAccount(ctx, home, copier, owned, writeConfigMaps)
		replika := f.replika(ctx, source, kit.TargetNamespaces(foreign, owned), kit.ServiceAccount(copier), kit.Interval(time.Hour))
		known := expect.Failures(ctx, api, replika, map[string]string{foreign: v1alpha1.FailureConflict, owned: v1alpha1.FailureConflict})
		Expect(known.Status.Failures).To(ContainElement(HaveField("Message", ContainSubstring(owner.Namespace+"/"+owner.Name))))

		By("reconciling again: what the account found is remembered")
		idle := markAudit()
		update(ctx, source, func(source *corev1.ConfigMap) {
			source.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}
		})
		f.waitForReads(ctx, idle, source, 1)
		expect.Failures(ctx, api, replika, map[string]string{foreign: v1alpha1.FailureConflict, owned: v1alpha1.FailureConflict})
		Expect(f.writes(idle)).To(BeEmpty())

		deleteAndWait(ctx, owner)
		deleteAndWait(ctx, kit.ConfigMap(foreign, "settings", ""))
		expect.Copied(ctx, api, source, foreign, owned)
	})

	DescribeTable("Should not name the namespaces that it selects by a pattern and in which the account has no permission",
		func(ctx SpecContext, selectAll func(*fixture) kit.ReplikaOption) {
			f := newFixture()
			a, home := f.namespace(ctx, "a"), f.namespace(ctx, "home")
			hidden := []string{f.namespace(ctx, "hidden-b"), f.namespace(ctx, "hidden-c")}
			create(ctx, kit.ConfigMap(hidden[1], "settings", "theirs"))
			f.grantImpersonation(ctx, home)
			f.grantAccount(ctx, home, copier, home, readConfigMaps)
			f.grantAccount(ctx, home, copier, a, writeConfigMaps)
			source := create(ctx, kit.ConfigMap(home, "settings", "one"))
			replika := f.replika(ctx, source, selectAll(f), kit.ServiceAccount(copier))

			denied := expect.Failures(ctx, api, replika, map[string]string{"": v1alpha1.FailureForbidden})
			expect.Copied(ctx, api, source, a)
			Expect(denied.Status.Copies).To(Equal(&v1alpha1.CopiesStatus{Desired: 3, Synced: 1, Failed: 2}))
			Expect(denied.Status.Failures[0].Message).To(ContainSubstring("2 namespaces"))
			Expect(f.reported(ctx, replika)).NotTo(Or(ContainSubstring(hidden[0]), ContainSubstring(hidden[1])))

			f.grantAccount(ctx, home, copier, hidden[0], writeConfigMaps)
			f.grantAccount(ctx, home, copier, hidden[1], writeConfigMaps)
			expect.Copied(ctx, api, source, hidden[0])
			expect.Failures(ctx, api, replika, map[string]string{hidden[1]: v1alpha1.FailureConflict})
		},
		Entry("a glob", func(f *fixture) kit.ReplikaOption { return kit.TargetNamespaces(f.name("*")) }),
		Entry("labels", func(f *fixture) kit.ReplikaOption {
			return kit.SelectNamespaces(map[string]string{fixtureLabel: f.id})
		}),
	)
})

// reported returns what a user who reads the Replika finds: its status and the events about it.
func (f *fixture) reported(ctx context.Context, replika *v1alpha1.Replika) string {
	GinkgoHelper()
	notes := eventNotes(ctx, replika.Namespace)
	current := &v1alpha1.Replika{}
	Expect(api.Get(ctx, client.ObjectKeyFromObject(replika), current)).To(Succeed())
	status, err := json.Marshal(current.Status)
	Expect(err).NotTo(HaveOccurred())
	return string(status) + strings.Join(notes, "\n")
}
