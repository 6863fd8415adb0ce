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
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

var _ = Describe("The examples of explain and render", Ordered, func() {
	samples := filepath.Join("..", "..", "..", "config", "samples")

	BeforeAll(func(ctx SpecContext) {
		for _, file := range []string{"configmap.yaml", "replika_v1beta1_replika.yaml"} {
			manifest, err := os.ReadFile(filepath.Join(samples, file))
			Expect(err).NotTo(HaveOccurred())
			object := kit.FromYAML(string(manifest))
			object.SetNamespace("default")
			if object.GetKind() == "Replika" { // it must not write to the namespaces of other specs
				object.Object["spec"].(map[string]any)["suspend"] = true
			}
			expect.Create(ctx, admin, object)
			DeferCleanup(func(ctx SpecContext) { expect.Delete(ctx, admin, object) })
		}
		expect.Create(ctx, admin, kit.Namespace(expect.NameOfAttempt("explain-examples")))
	})

	It("work with the samples", func(ctx SpecContext) {
		root, run := newRootCommand("", genericiooptions.NewTestIOStreamsDiscard()), 0
		for _, name := range []string{"explain", "render"} {
			command, _, err := root.Find([]string{name})
			Expect(err).NotTo(HaveOccurred())
			for line := range strings.Lines(command.Example) {
				args, isCommand := strings.CutPrefix(strings.TrimSpace(line), "kubectl replika ")
				if !isCommand {
					continue
				}
				args, _, _ = strings.Cut(args, " | ")
				run++
				Expect(succeed(ctx, strings.Fields(strings.ReplaceAll(args, "config/samples", samples))...)).NotTo(BeEmpty(), line)
			}
		}
		Expect(run).To(Equal(6))
	})
})

var _ = Describe("docs/kubectl-replika.md", func() {
	It("has all rules", func() {
		page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "kubectl-replika.md"))
		Expect(err).NotTo(HaveOccurred())
		for _, rule := range []planner.Rule{
			planner.RuleSourceNamespace, planner.RuleExcludeFrom, planner.RuleNotSelected, ruleNotFound, planner.RuleTerminating,
			planner.RuleExcludedNamespaces, planner.RuleOptOut, planner.RuleConsent, planner.RuleMatchAll, planner.RuleName,
			planner.RuleGlob, planner.RuleSelector, planner.RuleDefault,
		} {
			Expect(string(page)).To(ContainSubstring("| `" + string(rule) + "` |"))
		}
		Expect(string(page)).To(And(ContainSubstring(v1alpha1.LabelOptOut), ContainSubstring(v1alpha1.AnnotationAllowedNamespaces)))
	})
})
