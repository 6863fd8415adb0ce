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
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
)

// All specs share these.
var (
	env   *e2e.Environment
	admin client.Client
	// kubeconfig is the file with the administrator's access.
	kubeconfig string
	// leader is the operator, with the permissions of an administrator.
	leader *operator.Process
)

func TestCommands(t *testing.T) {
	expect.Run(t, "Commands")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	var err error
	env, err = e2e.StartEnvironment(ctx, GinkgoT().TempDir(), cluster.Options{CRDs: []string{filepath.Join("..", "..", "..", "config", "crd", "bases")}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	admin = env.Admin
	kubeconfig = kubeconfigOf("admin", env.Config)

	leader = env.StartLeader()
})

var _ = AfterEach(func() {
	if CurrentSpecReport().Failed() && leader != nil {
		GinkgoWriter.Println(leader.Tail())
	}
})

// kubeconfigOf writes the access of a user into a file, and returns its path.
func kubeconfigOf(name string, config *rest.Config) string {
	GinkgoHelper()
	path := filepath.Join(env.WorkDir, expect.NameOfAttempt(name)+".plugin.kubeconfig")
	Expect(env.KubeconfigFor(config, path)).To(Succeed())
	return path
}

// output is what a command printed, and its exit code.
type output struct {
	code        int
	out, errOut string
}

// run runs a command as the administrator.
func run(ctx context.Context, args ...string) output {
	return runWithInput(ctx, "", args...)
}

// runWithInput runs a command as the administrator, with the input on stdin.
func runWithInput(ctx context.Context, input string, args ...string) output {
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: bytes.NewBufferString(input), Out: &out, ErrOut: &errOut}
	// Later flags win, so that a spec can run a command as somebody else.
	args = append([]string{"--kubeconfig=" + kubeconfig, "--cache-dir=" + filepath.Join(env.WorkDir, "cache")}, args...)
	code := Run(ctx, "v1.2.3", args, streams)
	GinkgoWriter.Printf("$ kubectl replika %q: exit %d\n%s%s", args[2:], code, out.String(), errOut.String())
	return output{code: code, out: out.String(), errOut: errOut.String()}
}

// succeed runs a command, and returns what it printed on stdout.
func succeed(ctx context.Context, args ...string) string {
	GinkgoHelper()
	result := run(ctx, args...)
	Expect(result.code).To(Equal(exitOK), result.errOut)
	return result.out
}

// fail runs a command, and returns its error: one line on stderr.
func fail(ctx context.Context, args ...string) string {
	GinkgoHelper()
	result := run(ctx, args...)
	Expect(result.code).To(Equal(exitError), result.out)
	Expect(result.errOut).To(MatchRegexp(`^error: [^\n]+\n$`))
	return result.errOut
}

// orphanCopies deletes the Replika without its finalizer: its copies stay. The operator is paused meanwhile, so that it cannot put the
// finalizer back.
func orphanCopies(ctx context.Context, replika *v1alpha1.Replika) {
	GinkgoHelper()
	Expect(leader.Pause()).To(Succeed())
	defer func() { Expect(leader.Resume()).To(Succeed()) }()
	Expect(kit.SetFinalizers(ctx, admin, replika)).To(Succeed())
	expect.Delete(ctx, admin, replika)
}
