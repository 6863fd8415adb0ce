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

// Package faults lets the real operator work while the API server, etcd, the
// network, other writers and its own machine behave as on a bad day. Each spec
// proves by counters that its fault happened, and then looks for the exact right
// state: every copy equal to its source, nothing left over, Ready and Synced.
package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

// everythingEnv makes the suite run what takes minutes, too.
const runHeavyEnv = "REPLIKA_TEST_EVERYTHING"

// heavy labels what takes minutes: most of it is waiting for a time-out or a
// lease.
const heavy = "heavy"

// What all specs share. They run one after the other: a fault of the control
// plane hits every operator.
var (
	controlPlane *cluster.Cluster
	// admin talks to the API server itself, past the proxies.
	admin client.WithWatch
	// binary is the operator, folder where its files go.
	binary, folder string
)

func TestFaults(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	if suite.LabelFilter == "" && os.Getenv(runHeavyEnv) == "" {
		suite.LabelFilter = "!" + heavy
	}
	RunSpecs(t, "Faults", suite, reporter)
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	folder = GinkgoT().TempDir()
	var err error
	binary, err = operator.Build(ctx, folder)
	Expect(err).NotTo(HaveOccurred())

	controlPlane, err = cluster.Start(ctx, cluster.Options{CRDs: []string{filepath.Join("..", "..", "config", "crd", "bases")}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	admin, err = client.NewWithWatch(controlPlane.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})
