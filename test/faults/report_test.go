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

package faults

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// specReport lists what the current spec injected and checked, for the output and for the table in docs/reliability.md.
var specReport struct{ faults, checks []string }

var _ = BeforeEach(func() { specReport.faults, specReport.checks = nil, nil })

// A spec that injected or checked nothing must fail.
var _ = AfterEach(func() {
	report := CurrentSpecReport()
	if report.Failed() {
		return
	}
	Expect(specReport.faults).NotTo(BeEmpty())
	Expect(specReport.checks).NotTo(BeEmpty())
	fmt.Printf("\n%s\n  injected: %s\n  checked:  %s\n  took:     %s\n", report.LeafNodeText,
		strings.Join(specReport.faults, "; "), strings.Join(specReport.checks, "; "), time.Since(report.StartTime).Round(time.Second))
})

// reportFault reports an injected fault with its count. A count of zero fails the spec, because the fault did not happen.
func reportFault(count int, format string, args ...any) {
	GinkgoHelper()
	fault := fmt.Sprintf("%d %s", count, fmt.Sprintf(format, args...))
	By("injected " + fault)
	Expect(count).To(BeNumerically(">", 0), "the fault did not happen: %s", fault)
	specReport.faults = append(specReport.faults, fault)
}

// reportCheck reports a successful check.
func reportCheck(format string, args ...any) {
	check := fmt.Sprintf(format, args...)
	By("checked " + check)
	specReport.checks = append(specReport.checks, check)
}

// elapsed returns the rounded time since start.
func elapsed(start time.Time) time.Duration { return time.Since(start).Round(100 * time.Millisecond) }
