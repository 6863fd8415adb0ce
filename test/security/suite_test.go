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

// Package security installs the operator as docs/security.md says to for
// tenants, runs it with exactly the rights that the manifests give it, and tries
// what people with more and less rights might.
package security

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

const (
	// operatorNamespace and operatorAccount are what the manifests call them.
	operatorNamespace = "replika"
	operatorAccount   = "replika-controller-manager"
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":" + operatorAccount
	// root is the module's root, seen from here.
	root = "../.."
)

// What all specs share.
var (
	controlPlane *cluster.Cluster
	// admin may do everything.
	admin client.Client
	// shipped are the manifests that are installed, samples those of further
	// kinds, whose roles are.
	shipped, samples manifests
	// binary is the operator, folder where its files go.
	binary, folder string
	// leader is the operator that works in all specs.
	leader *instance
)

func TestSecurity(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Security")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	log.SetLogger(GinkgoLogr)
	folder = GinkgoT().TempDir()
	var err error
	binary, err = operator.Build(ctx, folder)
	Expect(err).NotTo(HaveOccurred())
	controlPlane, err = cluster.Start(ctx, cluster.Options{AuditLog: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	admin = clientFor(controlPlane.Config)

	shipped = build(lockDown())
	Expect(shipped.apply(ctx)).To(Succeed())
	shipped.awaitCRDs(ctx)
	samples = buildFolder(filepath.Join(root, "config", "samples", "kinds"))
	Expect(samples.of("ClusterRole").apply(ctx)).To(Succeed())
	for _, role := range samples.of("ClusterRole") {
		eventuallyAggregated(ctx, role)
	}
	settle(ctx)
	eventuallyEnforced(ctx)
	leader = startOperator(ctx, "leader")
	DeferCleanup(func() { leader.end() })
})

func clientFor(config *rest.Config) client.Client {
	GinkgoHelper()
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	c, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// as is the access of a user, with the rights that RBAC gives to the name.
func as(user string) client.Client {
	GinkgoHelper()
	config, err := controlPlane.User(user)
	Expect(err).NotTo(HaveOccurred())
	return clientFor(config)
}

// tokenOf gives out a token of the ServiceAccount, as a kubelet does for a Pod.
func tokenOf(ctx context.Context, namespace, account string) string {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{}
	Expect(admin.SubResource("token").Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}, request)).To(Succeed())
	return request.Status.Token
}

// instance is an operator's process with the address of its metrics.
type instance struct {
	*operator.Process
	metrics string
}

// end stops the operator, which must not have panicked nor raced.
func (i *instance) end() {
	GinkgoHelper()
	Expect(i.Stop()).To(Succeed())
	Expect(i.Complaints()).To(BeEmpty())
}

// startOperator runs the operator as its Deployment does: with the flags from
// there, and as its ServiceAccount.
func startOperator(ctx context.Context, name string, args ...string) *instance {
	GinkgoHelper()
	access := rest.AnonymousClientConfig(controlPlane.Config)
	access.BearerToken = tokenOf(ctx, operatorNamespace, operatorAccount)
	kubeconfig := filepath.Join(folder, name+".kubeconfig")
	Expect(controlPlane.KubeconfigFor(access, kubeconfig)).To(Succeed())

	var flags []string
	for _, flag := range find[*appsv1.Deployment](shipped, "Deployment", operatorAccount).Spec.Template.Spec.Containers[0].Args {
		if !strings.Contains(flag, "-bind-address=") { // each instance here has ports of its own
			flags = append(flags, strings.ReplaceAll(flag, "$(POD_NAMESPACE)", operatorNamespace))
		}
	}
	metrics, err := operator.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	i := &instance{metrics: metrics}
	flags = append(flags, "--leader-election-namespace="+operatorNamespace, "--metrics-bind-address="+i.metrics)
	i.Process, err = operator.Start(operator.Options{
		Binary: binary, Kubeconfig: kubeconfig, LogFile: filepath.Join(folder, name+".log"), Args: append(flags, args...),
	})
	Expect(err).NotTo(HaveOccurred())
	Eventually(i.Ready).Should(Succeed())
	return i
}

// restartLeader has the leader work with further flags, until the spec is over.
func restartLeader(ctx context.Context, args ...string) {
	GinkgoHelper()
	leader.end()
	leader = startOperator(ctx, "leader-with-flags", args...)
	DeferCleanup(func(ctx SpecContext) {
		leader.end()
		leader = startOperator(ctx, "leader-again")
	})
}

// Whatever the operator has to say to a spec that failed.
var _ = AfterEach(func() {
	if CurrentSpecReport().Failed() && leader != nil {
		GinkgoWriter.Printf("\nThe operator's log:\n%s\n", leader.Log())
	}
})
