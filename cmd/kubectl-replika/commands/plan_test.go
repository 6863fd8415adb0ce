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
	"fmt"
	"os"
	"path/filepath"
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

// manifestOf returns the manifest of a Replika of the fixture's ConfigMap or Secret settings.
func manifestOf(f *e2e.Fixture, kind, more string) string {
	return fmt.Sprintf(`
apiVersion: replika.prosimcorp.com/v1beta1
kind: Replika
metadata: {name: settings, namespace: %s}
spec:
  source: {version: v1, kind: %s, name: settings}
  target:
    namespaces:
      replicateIn: ["%s"]
%s`, f.SourceNamespace, kind, f.TargetPattern(), more)
}

// fileOf writes a manifest into a file, and returns its path.
func fileOf(manifest string) string {
	GinkgoHelper()
	path := filepath.Join(GinkgoT().TempDir(), "replika.yaml")
	Expect(os.WriteFile(path, []byte(manifest), 0o600)).To(Succeed())
	return path
}

var _ = Describe("plan", func() {
	It("shows what applying a file would do, writes nothing, and afterwards has nothing to show", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan", 3)
		one, two, three := f.TargetNamespaces[0], f.TargetNamespaces[1], f.TargetNamespaces[2]
		source := f.CreateSource("settings")
		expect.Create(ctx, admin, kit.ConfigMap(two, "settings", "foreign"))
		for _, planned := range []output{
			run(ctx, "plan", "-f", fileOf(manifestOf(f, "ConfigMap", ""))),
			runWithInput(ctx, manifestOf(f, "ConfigMap", ""), "plan", "-f", "-"),
		} {
			Expect(planned.code).To(Equal(exitChanges), planned.errOut)
			Expect(planned.out).To(And(HavePrefix("Replika "+f.SourceNamespace+"/settings\n"),
				HaveSuffix("\nPlan: Conflict 1, Create 2. 0 of 3 copies are in sync.\n")))
			Expect(planned.out).To(MatchRegexp(`Create +%s +settings +no object with this name exists`, one))
			Expect(planned.out).To(MatchRegexp(`Conflict +%s +settings +an object with this name already exists`, two))
		}
		Expect(expect.Read(ctx, admin, source, one)).To(BeNil())
		Expect(f.ListReplikas(Default)).To(BeEmpty())

		replika := f.CreateReplika(source)
		expect.Failures(ctx, admin, replika, map[string]string{two: v1alpha1.FailureConflict})
		after := run(ctx, "plan", "settings", "-n", f.SourceNamespace)
		Expect(after.code).To(Equal(exitOK), "a conflict changes nothing")
		Expect(after.out).To(ContainSubstring("Plan: Conflict 1. 2 of 3 copies are in sync."))

		expect.Delete(ctx, admin, kit.ConfigMap(two, "settings", ""))
		expect.Ready(ctx, admin, replika, 3)
		Expect(succeed(ctx, "plan", "settings", "-n", f.SourceNamespace)).To(Equal(
			"Replika " + f.SourceNamespace + "/settings\nNothing to do. 3 of 3 copies are in sync.\n"))

		changed := run(ctx, "plan", "-f", fileOf(manifestOf(f, "ConfigMap", `      excludeFrom: [`+three+`]`)), "-o", "json")
		Expect(changed.code).To(Equal(exitChanges))
		var plans []plan
		Expect(json.Unmarshal([]byte(changed.out), &plans)).To(Succeed())
		Expect(plans).To(HaveLen(1))
		Expect(plans[0].Actions).To(ConsistOf(And(HaveField("Namespace", three), HaveField("Action", v1alpha1.PlannedDelete))))
		Expect(run(ctx, "plan", "-f", fileOf(manifestOf(f, "ConfigMap", `      excludeFrom: [`+three+`]`)), "-o", "name").out).To(Equal(three + "/settings\n"))
	})

	It("shows how a copy changes, without the values of a Secret", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan-diff", 1)
		target := f.TargetNamespaces[0]
		source := expect.Create(ctx, admin, kit.Secret(f.SourceNamespace, "settings", "hidden-one"))
		replika := f.CreateReplika(source)
		expect.Ready(ctx, admin, replika, 1)
		f.UpdateReplika("settings", func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true })
		expect.Reason(ctx, admin, replika, v1alpha1.ReasonSuspended)
		expect.Update(ctx, admin, source, func(source *corev1.Secret) {
			source.Data["more"], source.Data["key"] = []byte("hidden-two"), []byte("hidden-three")
		})
		f.UpdateReplika("settings", func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeDryRun })
		manifest := fileOf(manifestOf(f, "Secret", "    labels: {team: blue}"))

		planned := run(ctx, "plan", "-f", manifest, "--diff", target)
		Expect(planned.code).To(Equal(exitChanges), planned.errOut)
		Expect(planned.out).To(And(ContainSubstring("\n--- "+target+"/settings (now)\n+++ "+target+"/settings (planned)\n"),
			ContainSubstring("\n+  more: "), ContainSubstring("\n+    team: blue\n"),
			ContainSubstring("\n-  key: '*** (now)'\n"), ContainSubstring("\n+  key: '*** (planned)'\n")))
		Expect(planned.out + planned.errOut).NotTo(Or(ContainSubstring("hidden"), ContainSubstring("aGlkZGVuL")))
		Expect(run(ctx, "plan", "-f", manifest, "--diff", target, "--show-values").out).To(ContainSubstring("aGlkZGVuLXR3bw=="))
	})

	It("groups many copies, and lists them on demand", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan-many", maxRows+1)
		f.CreateSource("settings")
		manifest := fileOf(manifestOf(f, "ConfigMap", ""))
		Expect(run(ctx, "plan", "-f", manifest).out).To(MatchRegexp(`%d +\S+,…  +Create +settings +no object with this name exists\n`, maxRows+1))
		Expect(strings.Count(run(ctx, "plan", "-f", manifest, "--all").out, "no object with this name exists")).To(Equal(maxRows + 1))
	})

	It("plans all Replikas of a directory or a kustomization beside each other", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan-directory", 1)
		f.CreateSource("settings")
		directory := GinkgoT().TempDir()
		rival := manifestOf(f, "ConfigMap", "")
		for name, content := range map[string]string{
			"kustomization.yaml": "resources: [one.yaml, two.yaml]\n",
			"one.yaml":           manifestOf(f, "ConfigMap", ""),
			"two.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: default}\n---\n" + withName(rival, "rival"),
		} {
			Expect(os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600)).To(Succeed())
		}
		for _, args := range [][]string{{"-k", directory}, {"-f", filepath.Join(directory, "one.yaml"), "-f", filepath.Join(directory, "two.yaml")}} {
			planned := run(ctx, append([]string{"plan"}, args...)...)
			Expect(planned.code).To(Equal(exitChanges), planned.errOut)
			Expect(planned.out).To(And(ContainSubstring("Replika "+f.SourceNamespace+"/settings\n"), ContainSubstring("Replika "+f.SourceNamespace+"/rival\n")))
			Expect(planned.errOut).To(ContainSubstring("1 object in the files are no Replikas"))
		}
	})

	It("refuses bad input in one line", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan-bad", 1)
		for input, message := range map[string]string{
			"":     "there is no Replika in the files",
			"a: b": "",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}":              "there is no Replika of replika.prosimcorp.com/v1beta1 in the files",
			strings.Replace(manifestOf(f, "ConfigMap", ""), "v1beta1", "v2", 1): "Replika settings has the version v2: write replika.prosimcorp.com/v1beta1",
			manifestOf(f, "ConfigMap", "  unknown: field"):                      "unknown",
			manifestOf(f, "Namespace", ""):                                      "Namespaces cannot be replicated",
			manifestOf(f, "ConfigMap", ""):                                      "would not be ready: SourceNotFound",
			withName(manifestOf(f, "Nothing", ""), "kind"):                      "would not be ready: KindNotFound",
		} {
			result := runWithInput(ctx, input, "plan", "-f", "-")
			Expect(result.code).To(Equal(exitError), input)
			Expect(result.errOut).To(And(ContainSubstring(message), MatchRegexp(`(^|\n)error: [^\n]+\n$`)), input)
		}
		mismatch := runWithInput(ctx, manifestOf(f, "ConfigMap", ""), "plan", "-f", "-", "-n", "elsewhere")
		Expect(mismatch.errOut).To(ContainSubstring("and --namespace is elsewhere: make them the same"))
		unnamed := strings.Replace(manifestOf(f, "ConfigMap", ""), ", namespace: "+f.SourceNamespace, "", 1)
		Expect(runWithInput(ctx, unnamed, "plan", "-f", "-", "-n", f.SourceNamespace).errOut).To(
			ContainSubstring("Replika " + f.SourceNamespace + "/settings would not be ready: SourceNotFound"))
		for _, args := range [][]string{{"plan"}, {"plan", "a", "-f", "b"}, {"plan", "-f", "/does/not/exist"}, {"plan", "nothing"}, {"plan", "a", "-o", "b"}} {
			Expect(fail(ctx, args...)).To(MatchRegexp(`(^|\n)error: [^\n]+\n$`))
		}
	})

	It("answers for the namespaces that are named, if the caller may not list namespaces", func(ctx SpecContext) {
		f := e2e.NewFixture(admin, "plan-rights", 2)
		one, two := f.TargetNamespaces[0], f.TargetNamespaces[1]
		f.CreateSource("settings")
		manifest := fmt.Sprintf(`
apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata: {name: settings, namespace: %s}
spec:
  source: {version: v1, kind: ConfigMap, name: settings}
  target:
    namespaces: {replicateIn: ["%s", "%s"]}
`, f.SourceNamespace, one, two)
		user, err := env.User(expect.NameOfAttempt("plan-reader"))
		Expect(err).NotTo(HaveOccurred())
		access := kubeconfigOf("plan-reader", user)
		nothing := runWithInput(ctx, manifest, "plan", "-f", "-", "--kubeconfig", access)
		Expect(nothing.code).To(Equal(exitError))
		Expect(nothing.errOut).To(ContainSubstring("error: planning Replika " + f.SourceNamespace + "/settings: you may not read what the plan depends on"))

		for _, namespace := range []string{f.SourceNamespace, one, two} {
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plan-reader"}, Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}},
			}}
			expect.Create(ctx, admin, role)
			expect.Create(ctx, admin, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "plan-reader"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "plan-reader"},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: expect.NameOfAttempt("plan-reader")}},
			})
		}
		planned := runWithInput(ctx, manifest, "plan", "-f", "-", "--kubeconfig", access)
		Expect(planned.code).To(Equal(exitChanges), planned.errOut)
		Expect(planned.out).To(ContainSubstring("Plan: Create 2."))
		Expect(planned.errOut).To(And(ContainSubstring("You may not list namespaces"), ContainSubstring("You may not list Replikas"),
			ContainSubstring("was checked by the schema in this binary")))
		invalid := runWithInput(ctx, manifest+"  suspend: 5\n", "plan", "-f", "-", "--kubeconfig", access)
		Expect(invalid.code).To(Equal(exitError))
	})
})

// withName returns the manifest of a Replika of another name.
func withName(manifest, name string) string {
	return strings.Replace(manifest, "{name: settings, namespace", "{name: "+name+", namespace", 1)
}
