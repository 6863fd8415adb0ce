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

// Package faults runs the operator while the API server, etcd, the network, other writers or its own machine fail. Each spec
// counts the injected faults, and then expects the exact final state: every copy equal to its source, no leftovers, and a
// Replika that is ready and synced.
package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit/expect"
)

// runHeavyEnv also runs the specs that take minutes.
const runHeavyEnv = "REPLIKA_TEST_EVERYTHING"

// heavy is the label of specs that take minutes, most of which they wait for a timeout or a lease.
const heavy = "heavy"

// env is shared by all specs. They run one after the other, because a fault of the control plane affects all operators. The
// administrator's client bypasses the proxies.
var env *e2e.Environment

func TestFaults(t *testing.T) {
	expect.Run(t, "Faults", func(suite *types.SuiteConfig) {
		if suite.LabelFilter == "" && os.Getenv(runHeavyEnv) == "" {
			suite.LabelFilter = "!" + heavy
		}
	})
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(2 * time.Minute) // a dead connection is detected after 45 s, and a shared machine can stall
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	var err error
	env, err = e2e.StartEnvironment(ctx, GinkgoT().TempDir(), cluster.Options{CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
})
