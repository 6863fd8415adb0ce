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
	"bytes"
	"context"
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// orphaned returns a fixture with one target namespace. In it are copies of a ConfigMap and a Secret whose Replikas are gone, and a
// ConfigMap that was adopted.
func orphaned(ctx context.Context, name string) *e2e.Fixture {
	GinkgoHelper()
	f := e2e.NewFixture(admin, name, 1)
	target := f.TargetNamespaces[0]
	expect.Create(ctx, admin, kit.ConfigMap(target, "adopted", "was here before"))
	sources := []client.Object{
		f.CreateSource("settings"), f.CreateSource("adopted"),
		expect.Create(ctx, admin, kit.Secret(f.SourceNamespace, "password", "secret")),
	}
	for _, source := range sources {
		replika := f.CreateReplika(source, func(replika *v1alpha1.Replika) {
			replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt
		})
		expect.Ready(ctx, admin, replika, 1)
		orphanCopies(ctx, replika)
	}
	return f
}

var _ = Describe("orphans", func() {
	It("lists copies of all kinds whose Replika is gone, and changes nothing", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-list")
		target, home := f.TargetNamespaces[0], f.SourceNamespace
		expect.Ready(ctx, admin, f.CreateReplika(f.CreateSource("kept")), 1)
		f.CreateReplika(kit.ConfigMap(home, "settings", ""), kit.WithName("elsewhere"), kit.TargetNamespaces("elsewhere"))
		want := [][]string{
			{target, "configmaps/adopted", home + "/adopted", "release"},
			{target, "configmaps/settings", home + "/settings", "delete"},
			{target, "secrets/password", home + "/password", "delete"},
		}
		Expect(rows(succeed(ctx, "orphans", "-n", target))).To(Equal(want))
		answer := struct{ Orphans []orphanRow }{}
		Expect(json.Unmarshal([]byte(succeed(ctx, "orphans", "-o", "json")), &answer)).To(Succeed(), "of all namespaces")
		Expect(answer.Orphans).To(ContainElement(orphanRow{
			Resource: "configmaps", Namespace: target, Name: "adopted",
			Replika: home + "/adopted", Source: home + "/adopted", Adopted: true, Action: "release",
		}))
		Expect(succeed(ctx, "orphans", "-n", target, "-o", "name")).To(Equal("configmaps/adopted\nconfigmaps/settings\nsecrets/password\n"))
		Expect(succeed(ctx, "orphans", "-n", home)).To(Equal("There are no orphans.\n"))
		Expect(rows(succeed(ctx, "orphans", "-n", target))).To(Equal(want))
	})

	It("deletes them, and releases what was adopted", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-delete")
		target := f.TargetNamespaces[0]
		out := succeed(ctx, "orphans", "--delete", "--yes", "-n", target)
		Expect(out).To(And(
			ContainSubstring("configmaps/adopted in namespace "+target+" released\n"),
			ContainSubstring("configmaps/settings in namespace "+target+" deleted\n"),
			ContainSubstring("secrets/password in namespace "+target+" deleted\n")))
		expect.Gone(ctx, admin, kit.ConfigMap(target, "settings", ""), target)
		expect.Gone(ctx, admin, kit.Secret(target, "password", ""), target)
		Expect(kit.OwnKeys(expect.Read(ctx, admin, kit.ConfigMap(target, "adopted", ""), target))).To(BeEmpty())
		Expect(succeed(ctx, "orphans", "-n", target)).To(Equal("There are no orphans.\n"))
	})

	It("releases them", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-release")
		target := f.TargetNamespaces[0]
		Expect(succeed(ctx, "orphans", "--release", "-y", "-n", target)).To(ContainSubstring("secrets/password in namespace " + target + " released\n"))
		for _, like := range []client.Object{kit.ConfigMap(target, "adopted", ""), kit.ConfigMap(target, "settings", ""), kit.Secret(target, "password", "")} {
			Expect(kit.OwnKeys(expect.Read(ctx, admin, like, target))).To(BeEmpty(), like.GetName())
		}
	})

	It("changes nothing without a terminal to ask on, or with both flags", func(ctx SpecContext) {
		Expect(fail(ctx, "orphans", "--delete")).To(ContainSubstring("add --yes"))
		Expect(fail(ctx, "orphans", "--delete", "--release", "--yes")).To(ContainSubstring("[delete release] were all set"))
	})

	It("leaves alone what another controller owns, and what another Replika can take over", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-foreign")
		target, home := f.TargetNamespaces[0], f.SourceNamespace
		owner := expect.Create(ctx, admin, kit.ConfigMap(target, "owner", ""))
		expect.Update(ctx, admin, kit.Secret(target, "password", ""), func(copied *corev1.Secret) {
			copied.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: new(true),
			}}
		})
		// It is suspended, so it does not take the copy over now.
		nextOwner := f.CreateReplika(kit.ConfigMap(home, "settings", ""), kit.WithName("next-owner"), kit.Suspended())
		expect.Reason(ctx, admin, nextOwner, v1alpha1.ReasonSuspended)
		out := succeed(ctx, "orphans", "--delete", "--yes", "-n", target)
		Expect(out).To(ContainSubstring("none: Replika " + home + "/next-owner can take it over"))
		Expect(out).NotTo(Or(ContainSubstring("password"), ContainSubstring("settings in namespace")))
		expect.Exists(ctx, admin, kit.Secret(target, "password", ""), target)
		expect.Exists(ctx, admin, kit.ConfigMap(target, "settings", ""), target)
	})

	It("leaves alone what has changed since, and what has a Replika again", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-changed")
		target, home := f.TargetNamespaces[0], f.SourceNamespace
		var out, errOut bytes.Buffer
		shared := newEnvironment("v1.2.3", genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut})
		*shared.config.KubeConfig, *shared.config.Namespace = kubeconfig, target
		o := &orphansCommand{environment: shared, cleaner: planner.NewCleaner(), remove: true}
		var err error
		o.replikas, err = shared.readExistingReplikas(ctx)
		Expect(err).NotTo(HaveOccurred())
		found, err := o.findOrphans(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(HaveLen(3))

		expect.Update(ctx, admin, kit.Secret(target, "password", ""), func(copied *corev1.Secret) { copied.Labels["changed"] = "true" })
		f.CreateReplika(kit.ConfigMap(home, "settings", ""), kit.Suspended())
		Expect(o.change(ctx, found)).To(MatchError(ContainSubstring("2 of 3 orphans were left alone")))
		Expect(out.String()).To(Equal("configmaps/adopted in namespace " + target + " released\n"))
		Expect(strings.Split(strings.TrimSpace(errOut.String()), "\n")).To(ConsistOf(
			"secrets/password in namespace "+target+" left alone: it has changed meanwhile",
			"configmaps/settings in namespace "+target+" left alone: Replika "+home+"/settings exists again"))
		expect.Exists(ctx, admin, kit.Secret(target, "password", ""), target)
		expect.Exists(ctx, admin, kit.ConfigMap(target, "settings", ""), target)
	})

	It("searches what the user may read, and says what that is not", func(ctx SpecContext) {
		f := orphaned(ctx, "orphans-tenant")
		target := f.TargetNamespaces[0]
		meta := metav1.ObjectMeta{Namespace: target, Name: "reader"}
		expect.Create(ctx, admin, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
		}})
		expect.Create(ctx, admin, &rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: f.Name}},
		})
		user, err := env.User(f.Name)
		Expect(err).NotTo(HaveOccurred())
		as := kubeconfigOf(f.Name, user)
		Eventually(func(g Gomega) {
			result := run(ctx, "orphans", "-n", target, "--kubeconfig", as)
			g.Expect(result.code).To(Equal(exitOK))
			g.Expect(result.out).To(Equal("There are no orphans.\n"))
			g.Expect(result.errOut).To(And(
				ContainSubstring("You may not list Replikas in all namespaces: "),
				ContainSubstring("You may not read Replika "+f.SourceNamespace+"/settings: its copies are taken for no orphans.\n"),
				MatchRegexp(`You may not list these, so they are not searched: .*secrets.*\n`),
				Not(ContainSubstring("configmaps"))))
		}).Should(Succeed())
	})
})

var _ = DescribeTable("A question",
	func(answer string, want bool) {
		var out bytes.Buffer
		agreed, err := confirm(strings.NewReader(answer), &out, "Delete 2 orphans?")
		Expect(err).NotTo(HaveOccurred())
		Expect(agreed).To(Equal(want))
		Expect(out.String()).To(Equal("Delete 2 orphans? [y/N]: "))
	},
	Entry("yes", "yes\n", true),
	Entry("y, in upper case", "Y\n", true),
	Entry("no", "no\n", false),
	Entry("nothing", "\n", false),
	Entry("end of input", "", false),
)
