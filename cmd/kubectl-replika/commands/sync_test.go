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

package commands

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("suspend and resume", func() {
	It("set spec.suspend, whatever it was", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "suspend", 1)
		replika := f.CreateReplika(f.CreateSource("settings"))
		expect.Ready(ctx, admin, replika, 1)
		for range 2 {
			Expect(succeed(ctx, "suspend", "settings", "-n", f.SourceNamespace)).
				To(Equal("replika.replika.prosimcorp.com/settings suspended\n"))
			expect.Reason(ctx, admin, replika, v1alpha1.ReasonSuspended)
		}
		for range 2 {
			Expect(succeed(ctx, "resume", "settings", "-n", f.SourceNamespace)).
				To(Equal("replika.replika.prosimcorp.com/settings resumed\n"))
			expect.Ready(ctx, admin, replika, 1)
		}
	})

	It("say that there is no such Replika", func(ctx SpecContext) {
		for _, command := range []string{"suspend", "resume", "sync"} {
			Expect(fail(ctx, command, "nothing", "-n", "default")).To(Equal(
				"error: there is no Replika nothing in namespace default: name another one, or another namespace with -n\n"))
		}
	})

	It("need a name", func(ctx SpecContext) {
		Expect(fail(ctx, "suspend")).To(Equal("error: NAME is required: see kubectl replika suspend --help\n"))
		Expect(fail(ctx, "resume", "a", "b")).To(Equal("error: unexpected argument \"b\": see kubectl replika resume --help\n"))
	})

	It("say what the user is not allowed to", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "suspend-forbidden", 0)
		user, err := env.User("nobody")
		Expect(err).NotTo(HaveOccurred())
		Expect(fail(ctx, "suspend", "settings", "-n", f.SourceNamespace, "--kubeconfig", kubeconfigOf("nobody", user))).
			To(And(ContainSubstring("changing Replika "+f.SourceNamespace+"/settings"), ContainSubstring(`cannot patch resource "replikas"`)))
	})

	It("complete the names of Replikas", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "complete", 0)
		f.CreateReplika(kit.ConfigMap(f.SourceNamespace, "settings", ""))
		Expect(succeed(ctx, "__complete", "suspend", "-n", f.SourceNamespace, "")).To(Equal("settings\n:4\n"))
	})
})

var _ = Describe("sync", func() {
	It("waits until the operator has read everything anew, and prints the condition Ready", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "sync", 2)
		replika := f.CreateReplika(f.CreateSource("settings"))
		expect.Ready(ctx, admin, replika, 2)
		for range 2 { // each is a request of its own
			before := f.GetReplika(Default, "settings").Status.LastHandledRequest
			Expect(succeed(ctx, "sync", "settings", "-n", f.SourceNamespace)).To(Equal(
				"replika.replika.prosimcorp.com/settings sync requested\n" +
					"Synced: ConfigMap " + f.SourceNamespace + "/settings is in sync in 2 namespaces\n"))
			after := f.GetReplika(Default, "settings")
			Expect(after.Status.LastHandledRequest).NotTo(Equal(before))
			Expect(after.Status.LastHandledRequest).To(Equal(after.Annotations[v1alpha1.AnnotationRequestedAt]))
		}
	})

	It("fails if the Replika is not ready", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "sync-failed", 1)
		expect.Create(ctx, admin, kit.ConfigMap(f.TargetNamespaces[0], "settings", "foreign"))
		f.CreateReplika(f.CreateSource("settings"))
		Expect(fail(ctx, "sync", "settings", "-n", f.SourceNamespace)).To(
			HavePrefix("error: Replika %s/settings is not ready: CopiesFailed: ", f.SourceNamespace))
	})

	It("does not wait with --wait=false", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "sync-no-wait", 1)
		f.CreateReplika(f.CreateSource("settings"))
		Expect(succeed(ctx, "sync", "settings", "--wait=false", "-n", f.SourceNamespace)).
			To(Equal("replika.replika.prosimcorp.com/settings sync requested\n"))
		Eventually(func(g Gomega) {
			g.Expect(f.GetReplika(g, "settings").Status.LastHandledRequest).NotTo(BeEmpty())
		}).Should(Succeed())
	})

	It("refuses a suspended Replika", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "sync-suspended", 1)
		f.CreateReplika(f.CreateSource("settings"), kit.Suspended())
		Expect(fail(ctx, "sync", "settings", "-n", f.SourceNamespace)).To(Equal(
			"error: Replika " + f.SourceNamespace + "/settings is suspended: resume it first, with kubectl replika resume\n"))
		Expect(f.GetReplika(Default, "settings").Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequestedAt))
	})

	It("says that no operator answers, and the operator handles the request later", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "sync-timeout", 1)
		replika := f.CreateReplika(f.CreateSource("settings"))
		expect.Ready(ctx, admin, replika, 1)
		Expect(leader.Pause()).To(Succeed())
		DeferCleanup(func() { Expect(leader.Resume()).To(Succeed()) })
		Expect(fail(ctx, "sync", "settings", "--timeout=1s", "-n", f.SourceNamespace)).To(
			HavePrefix("error: the operator has not handled the request within 1s: "))
		Expect(leader.Resume()).To(Succeed())
		Eventually(func(g Gomega) {
			now := f.GetReplika(g, "settings")
			g.Expect(now.Status.LastHandledRequest).To(Equal(now.Annotations[v1alpha1.AnnotationRequestedAt]))
		}).Should(Succeed())
	})
})
