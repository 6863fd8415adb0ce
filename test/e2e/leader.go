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

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/operator"
)

// StartLeader starts an operator with the permissions of an administrator, and waits until it is ready. It stops when the suite or spec
// that started it ends, which fails if it has panicked or had a data race.
func (e *Environment) StartLeader() *operator.Process {
	GinkgoHelper()
	options, err := e.Options("operator", e.Config)
	Expect(err).NotTo(HaveOccurred())
	leader, err := operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		Expect(leader.Stop()).To(Succeed())
		Expect(leader.PanicsAndRaces()).To(BeEmpty())
	})
	Eventually(leader.Ready).Should(Succeed())
	return leader
}
