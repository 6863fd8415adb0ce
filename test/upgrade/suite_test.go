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

// Package upgrade types what docs/upgrade.md says into a cluster with each public release and the copies that it has made.
package upgrade

import (
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/shell"
)

// repository is the root of this repository.
var repository = filepath.Join("..", "..")

// All specs share these.
var (
	terminal *shell.Shell
	// workDir is the folder of all files.
	workDir string
)

func TestUpgrade(t *testing.T) {
	expect.Run(t, "Upgrade")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(2 * time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	ctrl.SetLogger(GinkgoLogr)
	workDir = GinkgoT().TempDir()
	terminal = shell.New(ctx, repository, workDir, shell.Release(read("README.md")))
	terminal.AddPlugin(ctx)
})
