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

package security

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("docs/security.md", func() {
	It("names tests that exist", func() {
		page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
		Expect(err).NotTo(HaveOccurred())
		_, table, _ := strings.Cut(string(page), "| mitigation | test |")
		table, _, _ = strings.Cut(table, "\n\n")
		rows := strings.Split(strings.TrimSpace(table), "\n")[1:]
		Expect(len(rows)).To(BeNumerically(">", 10))
		for _, row := range rows {
			cells := strings.Split(strings.Trim(row, "| "), "|")
			folder, tests := filepath.Join("test", "security"), cells[len(cells)-1]
			if named, rest, found := strings.Cut(tests, "`: "); found {
				folder, tests = strings.Trim(named, " `"), rest
			}
			names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(tests, -1)
			Expect(names).NotTo(BeEmpty(), row)
			for _, name := range names {
				Expect(testsIn(folder)).To(Or(ContainSubstring(`("`+name[1]), ContainSubstring("func "+name[1])), "in %s", folder)
			}
		}
	})
})

// testsIn returns the source code of the folder's tests.
func testsIn(folder string) string {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	Expect(err).NotTo(HaveOccurred())
	var code strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		code.Write(content)
	}
	return code.String()
}
