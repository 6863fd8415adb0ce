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

package migration

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/shell"
)

// Commands that the page has for all tools.
const (
	plan  = "kubectl replika plan -f registry-credentials.yaml"
	unset = "kubectl annotate secrets --all-namespaces --selector replika.prosimcorp.com/part-of=registry-credentials replika.prosimcorp.com/adopted-"
)

var _ = Describe("docs/migration.md", func() {
	DescribeTable("takes over the copies", func(ctx SpecContext, tool replicator) {
		m := newMigration(ctx, tool)
		manifest, commands := m.adapt(only(tool.replika, "yaml")), blocksUnder(tool.commands, "console")
		Expect(os.WriteFile(filepath.Join(m.dir, "registry-credentials.yaml"), []byte(manifest), 0o600)).To(Succeed())
		before, source := m.uids(ctx), m.get(ctx, m.home)

		By("looking at the plan")
		Expect(page).To(ContainSubstring(plan))
		// The exit code is 2, because something would change.
		planned := terminal.Run(ctx, m.dir, plan+" --diff "+m.targets[0]+" || [ $? = 2 ]")
		Expect(planned).To(ContainSubstring("Plan: Adopt 2."))
		for _, prefix := range tool.prefixes {
			Expect(planned).To(MatchRegexp(`(?m)^-\s+%s`, regexp.QuoteMeta(prefix)), "the diff")
		}

		By("switching")
		Expect(commands).NotTo(BeEmpty())
		terminal.Run(ctx, m.dir, m.adapt(commands[0]))
		replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{Namespace: m.home, Name: m.source.Name}}
		expect.Ready(ctx, env.Admin, replika, len(m.targets))
		Expect(m.uids(ctx)).To(Equal(before))
		Expect(m.get(ctx, m.home).Data).To(Equal(source.Data))
		m.expectWithoutMarks(ctx, m.home)
		for _, namespace := range m.targets {
			m.expectWithoutMarks(ctx, namespace)
			m.expectCopy(ctx, namespace)
		}

		By("following the source")
		expect.Update(ctx, env.Admin, m.get(ctx, m.home), func(source *corev1.Secret) { source.Data["password"] = []byte("new") })
		expect.Copied(ctx, env.Admin, m.source, m.targets...)

		By("removing the rest of the tool")
		for _, block := range commands[1:] {
			terminal.Run(ctx, m.dir, m.adapt(block))
		}
		Expect(m.uids(ctx)).To(Equal(before))

		By("deleting the Replika, after its copies no longer count as adopted")
		Expect(page).To(ContainSubstring(unset))
		terminal.Run(ctx, m.dir, unset)
		for _, namespace := range m.targets {
			// Once the operator has corrected a later change, it knows that the annotation is gone.
			expect.Update(ctx, env.Admin, m.get(ctx, namespace), func(copied *corev1.Secret) { copied.Data["password"] = []byte("drift") })
		}
		expect.Copied(ctx, env.Admin, m.source, m.targets...)
		Expect(kit.Delete(ctx, env.Admin, replika)).To(Succeed())
		expect.Gone(ctx, env.Admin, m.source, m.targets...)
		Expect(m.get(ctx, m.home).Data).To(HaveKeyWithValue("password", []byte("new")))
	},
		Entry("of reflector", reflector),
		Entry("of kubernetes-replicator", kubernetesReplicator),
		Entry("of Config Syncer", configSyncer),
		Entry("of a ClusterPolicy of Kyverno", clusterPolicy),
		Entry("of a GeneratingPolicy of Kyverno", generatingPolicy),
		Entry("of HNC", hnc),
	)

	It("has no other commands", func() {
		var tried int
		for _, tool := range []replicator{reflector, kubernetesReplicator, configSyncer, clusterPolicy, generatingPolicy, hnc} {
			tried += len(blocksUnder(tool.commands, "console"))
		}
		Expect(strings.Count(page, "```console")).To(Equal(tried+2), "and those of all tools: %s, %s", plan, unset)
	})
})

// migration is a source with copies that another tool made.
type migration struct {
	tool replicator
	// home is the namespace of the source. The names of the targets begin with copies.
	home, copies string
	targets      []string
	source       *corev1.Secret
	// dir is the folder of the commands.
	dir string
}

// newMigration creates what the tool leaves. The names of namespaces are not those of the page, which all sections share.
func newMigration(ctx context.Context, tool replicator) *migration {
	GinkgoHelper()
	name := expect.NameOfAttempt(strings.ToLower(strings.NewReplacer("#", "", " ", "").Replace(tool.commands)))
	m := &migration{tool: tool, home: name + "-home", copies: name + "-team-", dir: GinkgoT().TempDir()}
	m.targets = []string{m.copies + "a", m.copies + "b"}
	included := map[string]string{"hnc.x-k8s.io/included-namespace": "true"}
	expect.Create(ctx, env.Admin, kit.Namespace(m.home, included))
	m.source = expect.Create(ctx, env.Admin, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: m.home, Name: "registry-credentials",
			Labels:      with(userKeys.labels, tool.source.labels),
			Annotations: with(userKeys.annotations, tool.source.annotations),
		},
		Data: map[string][]byte{"password": []byte("secret")},
	})
	for _, target := range m.targets {
		namespace := expect.Create(ctx, env.Admin, kit.Namespace(target, included, map[string]string{"example.com/registry": name}))
		copied := tool.copied(m.source, namespace)
		expect.Create(ctx, env.Admin, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: m.source.Name, Labels: copied.labels, Annotations: copied.annotations},
			Type:       m.source.Type, Data: m.source.Data,
		})
	}
	if tool.installed == nil {
		return m
	}
	for _, object := range tool.installed(m.home, m.copies) {
		// A failed attempt leaves CRDs, and a CRD is served some time after it was created.
		Eventually(func() error { return client.IgnoreAlreadyExists(env.Admin.Create(ctx, object)) }).Should(Succeed())
		if object.GetObjectKind().GroupVersionKind().Kind != "CustomResourceDefinition" {
			DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Admin.Delete(ctx, object))).To(Succeed()) })
		}
	}
	return m
}

// adapt returns a text of the page with the namespaces of the spec.
func (m *migration) adapt(text string) string {
	name := strings.TrimSuffix(m.home, "-home")
	return strings.NewReplacer("example.com/registry: private", "example.com/registry: "+name,
		"namespace: platform", "namespace: "+m.home, "--namespace platform", "--namespace "+m.home, "team-", m.copies).Replace(text)
}

func (m *migration) get(ctx context.Context, namespace string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(env.Admin.Get(ctx, types.NamespacedName{Namespace: namespace, Name: m.source.Name}, secret)).To(Succeed())
	return secret
}

// uids returns the UIDs of source and copies. One that was deleted meanwhile, and created again, has another UID.
func (m *migration) uids(ctx context.Context) map[string]types.UID {
	GinkgoHelper()
	uids := map[string]types.UID{}
	for _, namespace := range append([]string{m.home}, m.targets...) {
		uids[namespace] = m.get(ctx, namespace).UID
	}
	return uids
}

// expectWithoutMarks expects that the tool does not know the object any more.
func (m *migration) expectWithoutMarks(ctx context.Context, namespace string) {
	GinkgoHelper()
	secret := m.get(ctx, namespace)
	for key := range with(secret.Labels, secret.Annotations) {
		for _, prefix := range m.tool.prefixes {
			Expect(key).NotTo(HavePrefix(prefix), "in %s", namespace)
		}
	}
}

// expectCopy expects the labels and annotations of a copy that the Replika would have created. Those that track the source are left
// only if the tool copies labels without the mark of a clone.
func (m *migration) expectCopy(ctx context.Context, namespace string) {
	GinkgoHelper()
	copied := m.get(ctx, namespace)
	wantLabels := with(kit.OwnKeys(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: copied.Labels}}), map[string]string{"example.com/team": "platform"})
	if m.tool.commands == kubernetesReplicator.commands {
		wantLabels["app.kubernetes.io/instance"] = "registry"
	}
	Expect(copied.Labels).To(Equal(wantLabels))
	Expect(copied.Annotations).To(Equal(with(kit.OwnKeys(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: copied.Annotations}}),
		map[string]string{"example.com/contact": "platform@example.com"})))
}

// blocksUnder returns the fenced blocks of the language under the heading, up to the next heading.
func blocksUnder(heading, language string) []string {
	GinkgoHelper()
	_, text, found := strings.Cut(page, "\n"+heading+"\n")
	Expect(found).To(BeTrue(), heading)
	text, _, _ = strings.Cut(text, "\n##")
	return shell.Blocks(text+"\n", language, "")
}

// only returns the one block of the language under the heading.
func only(heading, language string) string {
	GinkgoHelper()
	blocks := blocksUnder(heading, language)
	Expect(blocks).To(HaveLen(1), heading)
	return blocks[0]
}
