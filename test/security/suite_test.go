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

// Package security installs the operator as docs/security.md describes for tenants, runs it with exactly the permissions that
// the manifests grant, and tries what users with more and with fewer permissions can do.
package security

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/e2e"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
	"github.com/prosimcorp/replika/test/operator"
)

const (
	// operatorNamespace and operatorAccount are the names in the manifests.
	operatorNamespace = "replika"
	operatorAccount   = "replika-controller-manager"
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":" + operatorAccount
	// root is the module's root, relative to this folder.
	root = "../.."
)

// All specs share these.
var (
	env   *e2e.Environment
	admin client.Client
	// deployed are the installed manifests. samples are the manifests of further kinds, whose ClusterRoles are installed.
	deployed, samples manifests
	// leader is the operator that all specs use.
	leader *instance
)

func TestSecurity(t *testing.T) {
	expect.Run(t, "Security")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(2 * time.Minute) // a leader that a pause has ended is followed after 20 s
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	var err error
	env, err = e2e.StartEnvironment(ctx, GinkgoT().TempDir(), cluster.Options{AuditLog: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(env.Stop()).To(Succeed()) })
	admin = env.Admin

	deployed = build(tenantKustomization())
	Expect(deployed.apply(ctx)).To(Succeed())
	deployed.waitForCRDs(ctx)
	samples = buildFolder(filepath.Join(root, "config", "samples", "kinds"))
	Expect(samples.ofKind("ClusterRole").apply(ctx)).To(Succeed())
	for _, role := range samples.ofKind("ClusterRole") {
		eventuallyAggregated(ctx, role)
	}
	createTenant(ctx)
	eventuallyEnforced(ctx)
	leader = startOperator(ctx, "leader")
	DeferCleanup(func() { leader.stop() })
})

// clientAs returns the client of a user, with the permissions that RBAC grants to the name.
func clientAs(user string) client.Client {
	GinkgoHelper()
	config, err := env.User(user)
	Expect(err).NotTo(HaveOccurred())
	c, err := kit.NewClient(config)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// tokenOf returns a token of the ServiceAccount.
func tokenOf(ctx context.Context, namespace, account string) string {
	GinkgoHelper()
	token, err := env.Token(ctx, client.ObjectKey{Namespace: namespace, Name: account})
	Expect(err).NotTo(HaveOccurred())
	return token
}

// instance is an operator and the address of its metrics.
type instance struct {
	*operator.Process
	metrics string
}

// stop stops the operator gracefully. It must not have had a panic or data race.
func (i *instance) stop() {
	GinkgoHelper()
	Expect(i.Stop()).To(Succeed())
	Expect(i.PanicsAndRaces()).To(BeEmpty())
}

// startOperator starts the operator as its Deployment does: with its flags and as its ServiceAccount.
func startOperator(ctx context.Context, name string, args ...string) *instance {
	GinkgoHelper()
	metrics, err := operator.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	i := &instance{metrics: metrics}
	i.Process, err = env.StartAs(ctx, name, deployment(), append([]string{"--metrics-bind-address=" + metrics}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	Eventually(i.Ready).Should(Succeed())
	return i
}

// restartLeaderWith restarts the leader with further flags, until the spec ends.
func restartLeaderWith(ctx context.Context, args ...string) {
	GinkgoHelper()
	leader.stop()
	leader = startOperator(ctx, "leader-with-flags", args...)
	DeferCleanup(func(ctx SpecContext) {
		leader.stop()
		leader = startOperator(ctx, "leader-without-flags")
	})
}

var _ = AfterEach(func() {
	if CurrentSpecReport().Failed() && leader != nil {
		GinkgoWriter.Printf("\nThe operator's log:\n%s\n", leader.Log())
	}
})
