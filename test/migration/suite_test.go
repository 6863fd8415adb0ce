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

// Package migration runs the commands of docs/migration.md on objects with the labels and annotations that other replicators leave.
// Each copy must end as a copy of the Replika, and be the same object as before.
package migration

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
	"github.com/prosimcorp/replika/test/shell"
)

// All specs share these. The operator has the permissions of an administrator.
var (
	env      *e2e.Environment
	terminal *shell.Shell
	leader   *operator.Process
	// page is the text of docs/migration.md.
	page string
)

func TestMigration(t *testing.T) {
	expect.Run(t, "Migration")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	repository, workDir := filepath.Join("..", ".."), GinkgoT().TempDir()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "migration.md"))
	Expect(err).NotTo(HaveOccurred())
	page = string(text)
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	Expect(err).NotTo(HaveOccurred())
	terminal = shell.New(ctx, repository, workDir, shell.Release(string(readme)))
	terminal.AddPlugin(ctx)

	env, err = e2e.StartEnvironment(ctx, workDir, cluster.Options{CRDs: []string{filepath.Join(repository, "config", "crd", "bases")}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	terminal.Kubeconfig = env.Kubeconfig
	leader = env.StartLeader()
})

var _ = AfterEach(func() {
	if CurrentSpecReport().Failed() && leader != nil {
		GinkgoWriter.Println(leader.Tail())
	}
})
