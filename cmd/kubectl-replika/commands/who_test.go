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
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// rows returns the cells of a table, without its header. Columns are separated by at least two spaces.
func rows(table string) [][]string {
	var cells [][]string
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		var row []string
		for cell := range strings.SplitSeq(line, "  ") {
			if cell = strings.TrimSpace(cell); cell != "" {
				row = append(row, cell)
			}
		}
		cells = append(cells, row)
	}
	return cells
}

var _ = Describe("who", func() {
	It("lists the copies of a source, of each Replika, and whether they are in sync", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-source", 2)
		one, two := f.TargetNamespaces[0], f.TargetNamespaces[1]
		source := f.CreateSource("settings")
		expect.Ready(ctx, admin, f.CreateReplika(source), 2)
		other := f.CreateReplika(source, kit.WithName("renamed"), func(replika *v1alpha1.Replika) {
			replika.Spec.Target.Name = "other"
			replika.Spec.Target.Namespaces.ReplicateIn = []string{one}
		})
		expect.Ready(ctx, admin, other, 1)
		// Suspended, a copy that somebody changes stays as it is.
		succeed(ctx, "suspend", "settings", "-n", f.SourceNamespace)
		expect.Reason(ctx, admin, f.ReplikaKey("settings"), v1alpha1.ReasonSuspended)
		expect.Update(ctx, admin, kit.ConfigMap(two, "settings", ""), func(copied *corev1.ConfigMap) { copied.Data["more"] = "x" })

		home := f.SourceNamespace
		want := [][]string{
			{one, "other", home + "/renamed", "yes"},
			{one, "settings", home + "/settings", "yes"},
			{two, "settings", home + "/settings", "no: data"},
		}
		for _, name := range []string{"configmap/settings", "cm/settings", "configmaps/settings", "ConfigMap.v1./settings"} {
			Expect(rows(succeed(ctx, "who", name, "-n", home))).To(Equal(want), name)
		}
		answer := sourceHolders{}
		Expect(json.Unmarshal([]byte(succeed(ctx, "who", "cm/settings", "-n", home, "-o", "json")), &answer)).To(Succeed())
		Expect(answer.Copies).To(HaveLen(3))
		Expect(answer.Replikas).To(ConsistOf(
			sourceReplika{Name: home + "/renamed", Ready: "True", Reason: v1alpha1.ReasonSynced},
			sourceReplika{Name: home + "/settings", Ready: "True", Reason: v1alpha1.ReasonSuspended}))
		Expect(strings.Fields(succeed(ctx, "who", "cm/settings", "-n", home, "-o", "name"))).
			To(Equal([]string{"configmaps/other", "configmaps/settings", "configmaps/settings"}))
	})

	It("says where a copy comes from, and whether that still exists", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-copy", 1)
		target, home := f.TargetNamespaces[0], f.SourceNamespace
		source := f.CreateSource("settings")
		replika := f.CreateReplika(source)
		expect.Ready(ctx, admin, replika, 1)
		Expect(rows(succeed(ctx, "who", "cm/settings", "-n", target))).To(Equal(
			[][]string{{home + "/settings", "exists", home + "/settings", "exists", "yes", "no"}}))

		succeed(ctx, "suspend", "settings", "-n", home)
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonSuspended)
		expect.Delete(ctx, admin, source)
		orphanCopies(ctx, replika)
		Expect(rows(succeed(ctx, "who", "cm/settings", "-n", target))).To(Equal(
			[][]string{{home + "/settings", "does not exist", home + "/settings", "does not exist", "unknown", "no"}}))
	})

	It("finds the copies of one of many sources", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-many", 1)
		source := f.CreateSource("one")
		f.CreateSource("two")
		replika := f.CreateReplika(source, func(replika *v1alpha1.Replika) {
			replika.Spec.Source.Name, replika.Spec.Source.Names = "", []string{"*"}
			replika.Spec.Target.NamePrefix = "copy-of-"
		})
		expect.Ready(ctx, admin, replika, 2)
		Expect(rows(succeed(ctx, "who", "cm/two", "-n", f.SourceNamespace))).To(Equal(
			[][]string{{f.TargetNamespaces[0], "copy-of-two", f.SourceNamespace + "/one", "yes"}}))
	})

	It("groups many namespaces", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-groups", maxRows+1)
		source := f.CreateSource("settings")
		expect.Ready(ctx, admin, f.CreateReplika(source), maxRows+1)
		home := f.SourceNamespace
		Expect(rows(succeed(ctx, "who", "cm/settings", "-n", home))).To(ConsistOf(
			ConsistOf("21", HavePrefix(f.TargetNamespaces[0]+","), "settings", home+"/settings", "yes")))
		Expect(rows(succeed(ctx, "who", "cm/settings", "-n", home, "--all"))).To(HaveLen(maxRows + 1))
	})

	It("says that an object has no copies, and is none", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-none", 0)
		source := f.CreateSource("settings")
		title := "ConfigMap " + f.SourceNamespace + "/settings"
		Expect(succeed(ctx, "who", "cm/settings", "-n", f.SourceNamespace)).
			To(Equal(title + " is not a copy, and no Replika has it as a source.\n"))
		f.CreateReplika(source)
		expect.Ready(ctx, admin, f.ReplikaKey("settings"), 0)
		Expect(succeed(ctx, "who", "cm/settings", "-n", f.SourceNamespace)).
			To(Equal(title + " has no copies. It is a source of: " + f.SourceNamespace + "/settings (Synced).\n"))
	})

	DescribeTable("refuses what it cannot answer in one line",
		func(ctx SpecContext, name, want string) {
			Expect(fail(ctx, "who", name, "-n", "default")).To(ContainSubstring(want))
		},
		Entry("no kind", "settings", `"settings": must be KIND/NAME, such as configmap/settings`),
		Entry("no such object", "cm/nothing", "there is no cm/nothing in namespace default: "),
		Entry("no such kind", "nothings/x", `the server doesn't have a resource type "nothings"`),
		Entry("a cluster-scoped kind", "namespace/default", "namespace/default is cluster-scoped: only objects in namespaces are copied"),
	)

	It("covers what the user may read, and says what that is not", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "who-tenant", 2)
		one, two := f.TargetNamespaces[0], f.TargetNamespaces[1]
		source := f.CreateSource("settings")
		replika := f.CreateReplika(source, kit.TargetNamespaces(one, two))
		expect.Ready(ctx, admin, replika, 2)
		for _, namespace := range []string{f.SourceNamespace, one} {
			meta := metav1.ObjectMeta{Namespace: namespace, Name: "reader"}
			expect.Create(ctx, admin, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
				{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"replikas"}, Verbs: []string{"list"}},
			}})
			expect.Create(ctx, admin, &rbacv1.RoleBinding{
				ObjectMeta: meta,
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: f.Name}},
			})
		}
		user, err := env.User(f.Name)
		Expect(err).NotTo(HaveOccurred())
		as := kubeconfigOf(f.Name, user)
		Eventually(func(g Gomega) {
			result := run(ctx, "who", "cm/settings", "-n", f.SourceNamespace, "--kubeconfig", as)
			g.Expect(result.code).To(Equal(exitOK), result.errOut)
			g.Expect(rows(result.out)).To(Equal([][]string{{one, "settings", f.SourceNamespace + "/settings", "yes"}}))
			g.Expect(strings.Split(strings.TrimSpace(result.errOut), "\n")).To(ConsistOf(
				HavePrefix("The operator's flags are unknown, so the defaults are assumed: "),
				"You may not list Replikas in all namespaces: the answer covers only those in namespace "+f.SourceNamespace+".",
				"You may not list configmaps in all namespaces: the answer covers only namespaces that the Replikas name.",
				"You may not read configmaps in namespace "+two+".",
			))
		}).Should(Succeed())
	})
})
