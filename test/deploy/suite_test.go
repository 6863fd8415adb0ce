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

// Package deploy runs the commands that the README shows, on the manifests that the README shows. It replaces only the URL of
// this repository. The operator then runs with exactly the permissions that the manifests grant.
//
// It tests the last commit, not the working tree, because GitOps tools fetch a commit.
package deploy

import (
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/shell"
)

// repository is the root of this repository.
var repository = filepath.Join("..", "..")

// All specs share these.
var (
	env *e2e.Environment
	// admin is the user who deploys. It rejects manifests with unknown fields.
	admin client.Client
	// terminal runs the commands.
	terminal *shell.Shell
	// workDir is the folder of all files.
	workDir string
)

func TestDeploy(t *testing.T) {
	expect.Run(t, "Deploy")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(2 * time.Minute) // a leader that a pause has ended is followed after 20 s
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	ctrl.SetLogger(GinkgoLogr)
	workDir = GinkgoT().TempDir()
	terminal = shell.New(ctx, repository, workDir, release())

	var err error
	env, err = e2e.StartEnvironment(ctx, workDir, cluster.Options{CRDs: foreignCRDs(ctx)})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	terminal.Kubeconfig = env.Kubeconfig
	admin = client.WithFieldValidation(env.Admin, metav1.FieldValidationStrict)
})
