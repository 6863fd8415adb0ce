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

package expect

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
)

// flakeAttemptsVariable sets how often a spec that fails is run, like `ginkgo --flake-attempts`. Not all packages that
// `go test` runs are suites of Ginkgo, so it cannot be a flag.
const flakeAttemptsVariable = "REPLIKA_FLAKE_ATTEMPTS"

// Run runs the specs of a suite. changes adjust its configuration.
func Run(t *testing.T, name string, changes ...func(*types.SuiteConfig)) {
	t.Helper()
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	if attempts := os.Getenv(flakeAttemptsVariable); attempts != "" {
		number, err := strconv.Atoi(attempts)
		if err != nil {
			t.Fatalf("%s: %s", flakeAttemptsVariable, err)
		}
		if number > 1 { // 1 would win over the decorators of specs
			suite.FlakeAttempts = number
		}
	}
	for _, change := range changes {
		change(&suite)
	}
	ginkgo.RunSpecs(t, name, suite, reporter)
}

// NameOfAttempt returns a name that no earlier attempt of the running spec has: what a failed attempt created is still there.
// Outside of a spec, and in the first attempt, it is the name itself.
func NameOfAttempt(name string) string {
	if attempt := ginkgo.CurrentSpecReport().NumAttempts; attempt > 1 {
		return fmt.Sprintf("%s-attempt-%d", name, attempt)
	}
	return name
}
