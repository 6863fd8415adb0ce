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
)

var _ = Describe("The root command", func() {
	It("prints its version", func(ctx SpecContext) {
		Expect(succeed(ctx, "--version")).To(Equal("v1.2.3\n"))
	})

	It("names the flags that all commands have in one place", func(ctx SpecContext) {
		Expect(succeed(ctx, "options")).To(And(ContainSubstring("--kubeconfig"), ContainSubstring("--operator-namespace")))
	})

	DescribeTable("refuses a wrong command line in one line",
		func(ctx SpecContext, args []string, want string) {
			Expect(fail(ctx, args...)).To(Equal("error: " + want + "\n"))
		},
		Entry("an unknown command", []string{"nothing"}, `unknown command "nothing" for "kubectl replika"`),
		Entry("an unknown flag", []string{"options", "--nothing"}, "unknown flag: --nothing: see kubectl replika options --help"),
		Entry("an argument of a command that has none", []string{"options", "x"}, `unexpected argument "x": see kubectl replika options --help`),
	)
})
