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

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("Handover by a Replika whose namespace is being deleted", func() {
	It("Should take place only where the new owner's account is allowed to write, never with the operator's permissions", func(ctx SpecContext) {
		f := newFixture()
		a, b := f.namespace(ctx, "a"), f.namespace(ctx, "b")
		doomed, claims, vault := f.namespace(ctx, "doomed"), f.namespace(ctx, "claims"), f.namespace(ctx, "vault")
		f.grantImpersonation(ctx, doomed)
		f.grantImpersonation(ctx, claims)
		f.grantAccount(ctx, doomed, copier, vault, readConfigMaps)
		f.grantAccount(ctx, claims, copier, vault, readConfigMaps)
		f.grantAccount(ctx, claims, copier, b, writeConfigMaps)
		first, second := create(ctx, kit.ConfigMap(vault, "first", "one")), create(ctx, kit.ConfigMap(vault, "second", "two"))
		shared := kit.ConfigMap("", "shared", "")
		targets := func(namespace string) []kit.ReplikaOption {
			return []kit.ReplikaOption{
				kit.InNamespace(namespace), kit.TargetNamespaces(a, b), kit.TargetName(shared.Name), kit.ServiceAccount(copier),
			}
		}
		revokeA := f.grantAccount(ctx, doomed, copier, a, writeConfigMaps)
		revokeB := f.grantAccount(ctx, doomed, copier, b, writeConfigMaps)
		owner := f.replika(ctx, first, targets(doomed)...)
		expect.Ready(ctx, api, owner, 2)
		claimant := f.replika(ctx, second, targets(claims)...)
		// In a, the account cannot see that there is an object.
		expect.Failures(ctx, api, claimant, map[string]string{a: v1alpha1.FailureForbidden, b: v1alpha1.FailureConflict})
		before, since := read(ctx, shared, b), markAudit()

		// The account loses its permissions first, so that only the operator is left to clean up.
		revokeA(ctx)
		revokeB(ctx)
		expect.DeleteNamespace(ctx, api, doomed)
		expect.CopiedAs(ctx, api, second, shared.Name, b)
		Expect(read(ctx, shared, b).GetUID()).To(Equal(before.GetUID()), "handed over")
		expect.Gone(ctx, api, shared, a)
		expect.Failures(ctx, api, claimant, map[string]string{a: v1alpha1.FailureForbidden})
		// The claimant takes the copy in b over with one patch, unless the owner hands it over first.
		f.eventuallyWrites(ctx, since, "configmaps", shared.Name).Should(And(ContainElements("delete in "+a, "patch in "+b), HaveEach(Not(Equal("patch in "+a)))))
		for _, event := range f.attemptedWrites(since, "configmaps", shared.Name) {
			if event.Verb == "patch" {
				Expect(event.User).To(Equal(serviceAccountUser(claims, copier)), "%d in %s", event.Code, event.Namespace)
			}
		}
	})
})
