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

// Package crash kills the operator (SIGKILL) after each single write of
// everything it does, and looks at what it makes of that when it starts again:
// the final state is exact, nothing is left over, and nothing is written twice.
package crash

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
	"github.com/prosimcorp/replika/test/proxy"
)

// What all scenarios share. They run one after the other: a killed operator is
// killed for every Replika.
var (
	controlPlane *cluster.Cluster
	// between is what the operator talks to; the tests talk to the API server.
	apiProxy *proxy.Proxy
	admin   client.Client
	options operator.Options
	// running is the operator, which outlives a scenario that did not kill it.
	process *operator.Process
)

func TestCrash(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Killed after any write")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	dir := GinkgoT().TempDir()
	binary, err := operator.Build(ctx, dir)
	Expect(err).NotTo(HaveOccurred())

	controlPlane, err = cluster.Start(ctx, cluster.Options{
		CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}, AuditLog: true,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	admin, err = client.New(controlPlane.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	apiProxy, err = proxy.Start(proxy.Options{Config: controlPlane.Config, SerializeWrites: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(apiProxy.Close()).To(Succeed()) })
	options = operator.Options{
		Binary: binary, Kubeconfig: filepath.Join(dir, "kubeconfig"), LogFile: filepath.Join(dir, "operator.log"),
	}
	Expect(controlPlane.KubeconfigFor(apiProxy.Config(), options.Kubeconfig)).To(Succeed())
})

// An operator may say things that no final state shows, and is asked to end in
// order when it is not killed.
var _ = AfterEach(func() {
	if process == nil {
		return
	}
	apiProxy.OnResponse(nil)
	if CurrentSpecReport().Failed() {
		GinkgoWriter.Printf("\nThe operator's log:\n%s\n", process.Log())
		DeferCleanup(removeLeftovers)
	}
	if process.Running() {
		Expect(process.Stop()).To(Succeed())
	}
	Expect(process.PanicsAndRaces()).To(BeEmpty())
	process = nil
	Expect(os.Truncate(options.LogFile, 0)).To(Succeed())
})

// sweep removes what a scenario left that failed, by force: it would make the
// next ones fail too, and hide why.
func removeLeftovers(ctx SpecContext) {
	replikas := &v1alpha1.ReplikaList{}
	Expect(admin.List(ctx, replikas)).To(Succeed())
	for i := range replikas.Items {
		replika := &replikas.Items[i]
		Expect(client.IgnoreNotFound(admin.Delete(ctx, replika))).To(Succeed())
		Expect(client.IgnoreNotFound(admin.Patch(ctx, replika,
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))).To(Succeed())
	}
	copies := &corev1.ConfigMapList{}
	Expect(admin.List(ctx, copies, client.HasLabels{v1alpha1.LabelCreatedBy})).To(Succeed())
	for i := range copies.Items {
		Expect(client.IgnoreNotFound(admin.Delete(ctx, &copies.Items[i]))).To(Succeed())
	}
}

// startOperator returns when its probe says that it is ready.
func startOperator() {
	GinkgoHelper()
	var err error
	process, err = operator.Start(options)
	Expect(err).NotTo(HaveOccurred())
	Eventually(process.Ready).Should(Succeed())
}
