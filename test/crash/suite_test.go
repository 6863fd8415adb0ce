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

// Package crash kills the operator (SIGKILL) after every single write of each operation, and starts it again. The final state
// must be exact, without leftovers, and no object may be written twice.
package crash

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/proxy"
)

// All scenarios share these. They run one after the other, because a kill affects all Replikas.
var (
	env *e2e.Environment
	// apiProxy is the operator's way to the API server. The specs bypass it.
	apiProxy *proxy.Proxy
	options  operator.Options
	// process is the operator. It is shared by scenarios as long as none kills it.
	process *operator.Process
)

func TestCrash(t *testing.T) {
	expect.Run(t, "Crash")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	var err error
	env, err = e2e.StartEnvironment(ctx, GinkgoT().TempDir(), cluster.Options{
		CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}, AuditLog: true,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	apiProxy, err = proxy.Start(proxy.Options{Config: env.Config, SerializeWrites: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(apiProxy.Close()).To(Succeed()) })
	options, err = env.Options("operator", apiProxy.Config())
	Expect(err).NotTo(HaveOccurred())
})

// The log may report panics and races that the final state does not show. An operator that was not killed must also stop
// gracefully.
var _ = AfterEach(func() {
	if process == nil {
		return
	}
	apiProxy.OnResponse(nil)
	ended := process
	process = nil
	DeferCleanup(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			GinkgoWriter.Printf("\nThe operator's log:\n%s\n", ended.Log())
			e2e.RemoveLeftovers(ctx, env.Admin)
		}
		Expect(os.Truncate(options.LogFile, 0)).To(Succeed())
	})
	if ended.Running() {
		Expect(ended.Stop()).To(Succeed())
	}
	Expect(ended.PanicsAndRaces()).To(BeEmpty())
})

// startOperator starts the operator and waits until it is ready.
func startOperator() {
	GinkgoHelper()
	var err error
	process, err = operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	Eventually(process.Ready).Should(Succeed())
}
