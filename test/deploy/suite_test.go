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

// Package deploy does what a user does: it runs the commands that the README shows, on the manifests that the README
// shows, with nothing replaced but where this repository is; and the operator then works with exactly the rights that
// these gave it.
//
// It is about the committed state: what GitOps tools fetch is a commit.
package deploy

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

// repository is the root of this one.
var repository = filepath.Join("..", "..")

// What all specs share.
var (
	controlPlane *cluster.Cluster
	// admin is the user who deploys.
	admin client.Client
	// binary is the operator; folder is where everything goes.
	binary, folder string
)

func TestDeploy(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Deploy")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	ctrl.SetLogger(GinkgoLogr)
	folder = GinkgoT().TempDir()
	var err error
	binary, err = operator.Build(ctx, folder)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.Mkdir(binDir(), 0o700)).To(Succeed())
	command(ctx, "go", "-C", filepath.Join(repository, "hack", "controlplane"), "build", "-trimpath", "-buildvcs=false",
		"-o", filepath.Join(binDir(), "kubectl"), "k8s.io/kubernetes/cmd/kubectl")
	createBareClone(ctx)

	controlPlane, err = cluster.Start(ctx, cluster.Options{CRDs: foreignCRDs(ctx)})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	admin, err = client.New(controlPlane.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	admin = client.WithFieldValidation(admin, metav1.FieldValidationStrict)
})
