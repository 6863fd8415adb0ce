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
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// documentedExample is a command in the documentation, and what it prints on stdout.
type documentedExample struct {
	command, output string
}

var (
	manifestBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	consoleBlock  = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")
)

// examplesIn returns the commands in a page that have an output.
func examplesIn(page string) (examples []documentedExample) {
	for _, block := range consoleBlock.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			switch command, isCommand := strings.CutPrefix(line, "$ "); {
			case isCommand:
				examples = append(examples, documentedExample{command: strings.TrimSpace(command)})
			case len(examples) > 0:
				examples[len(examples)-1].output += line
			}
		}
	}
	return examples
}

// withoutTrailingSpace removes what editors remove from a page.
func withoutTrailingSpace(text string) string {
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(text, "")
}

var _ = Describe("docs/kubectl-replika.md", func() {
	It("has examples that print what it says", func(ctx SpecContext) {
		content, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "kubectl-replika.md"))
		Expect(err).NotTo(HaveOccurred())
		page := string(content)
		manifests := manifestBlock.FindAllStringSubmatch(page, -1)
		apply(ctx, manifests[0][1])
		planned := filepath.Join(GinkgoT().TempDir(), "settings.yaml")
		Expect(os.WriteFile(planned, []byte(manifests[1][1]), 0o600)).To(Succeed())
		replika := &v1alpha1.Replika{}
		replika.Namespace, replika.Name = "platform", "settings"
		expect.Ready(ctx, admin, replika, 2)

		examples := examplesIn(page)
		Expect(len(examples)).To(BeNumerically(">=", 8))
		for _, example := range examples {
			args, found := strings.CutPrefix(example.command, "kubectl replika ")
			Expect(found).To(BeTrue(), example.command)
			if example.command == "kubectl replika orphans -n team-a" {
				orphanCopies(ctx, replika)
			}
			result := run(ctx, strings.Fields(strings.Replace(args, "settings.yaml", planned, 1))...)
			Expect(result.code).To(BeElementOf(exitOK, exitChanges), result.errOut)
			Expect(withoutTrailingSpace(result.out)).To(Equal(example.output), example.command)
		}
		expect.Gone(ctx, admin, kit.ConfigMap("team-a", "settings", ""), "team-a")
		expect.Exists(ctx, admin, kit.ConfigMap("team-b", "settings", ""), "team-b")
	})
})
