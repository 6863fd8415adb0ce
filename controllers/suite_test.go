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

// Package controllers_test checks the behaviour of the operator on the API of a real control plane. All specs share one
// control plane and one operator, which runs in process 1. Each spec has namespaces of its own.
package controllers_test

import (
	"context"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/kit/expect"
)

const (
	// operatorAgent and testsAgent distinguish the two in the audit log.
	operatorAgent = "operator-under-test"
	testsAgent    = "controllers-suite"
	// operatorUser has the permissions of the project's own role, and those on the kinds that the suite copies.
	operatorUser = "replika-operator"
	// cleanupTimeout is how long the operator retries to clean up after a Replika in deletion.
	cleanupTimeout = 5 * time.Second
)

var (
	// controlPlane is shared by all processes of the suite.
	controlPlane *cluster.Cluster
	// api is the administrator's client. It has no cache.
	api client.Client

	stopOperator func()
)

// serial marks specs that need the operator or the whole cluster for themselves: those that restart the operator with other
// options, select all namespaces, or read the metrics and goroutines of the operator's process. They run one by one in process
// 1, where the operator is. The label is for a run of their own, beside the others, on a control plane of its own.
var serial = []any{Serial, Label("serial")}

func TestControllers(t *testing.T) {
	logger := zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	expect.Run(t, "Controllers")
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) []byte {
	var err error
	controlPlane, err = cluster.Start(ctx, cluster.Options{CRDs: []string{"../config/crd/bases"}, AuditLog: true})
	Expect(err).NotTo(HaveOccurred())
	connect()
	grantOperator(ctx)
	installPlaylists(ctx)
	startOperator()
	return []byte(controlPlane.Kubeconfig)
}, func(kubeconfig []byte) {
	EnforceDefaultTimeoutsWhenUsingContexts()
	SetDefaultEventuallyTimeout(time.Minute)                    // for a busy machine, under the race detector
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond) // each poll costs milliseconds of CPU time
	SetDefaultConsistentlyDuration(1200 * time.Millisecond)
	SetDefaultConsistentlyPollingInterval(100 * time.Millisecond)
	if controlPlane == nil {
		var err error
		controlPlane, err = cluster.Attach(string(kubeconfig))
		Expect(err).NotTo(HaveOccurred())
		connect()
	}
})

var _ = SynchronizedAfterSuite(func() {}, func() {
	if stopOperator != nil {
		stopOperator()
	}
	if controlPlane != nil {
		Expect(controlPlane.Stop()).To(Succeed())
	}
})

// connect creates the client of the specs.
func connect() {
	config := rest.CopyConfig(controlPlane.Config)
	config.UserAgent = testsAgent
	config.WarningHandler = rest.NoWarnings{}
	var err error
	api, err = client.New(config, client.Options{Scheme: kit.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	api = client.WithFieldValidation(api, metav1.FieldValidationStrict)
}

// option changes the flags of the operator.
type option func(*controllers.Options)

// startOperator runs the operator in this process, as a user that has no more permissions than its role.
func startOperator(changes ...option) {
	access, err := controlPlane.User(operatorUser)
	Expect(err).NotTo(HaveOccurred())
	access.UserAgent = operatorAgent
	access.QPS = -1
	manager, err := ctrl.NewManager(access, ctrl.Options{
		Scheme:  kit.Scheme(),
		Cache:   controllers.CacheOptions(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		// Some specs restart the operator in the same process.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	options := controllers.Options{
		MaxConcurrentReconciles: 4,
		MaxConcurrentWrites:     16,
		Timeouts: controllers.Timeouts{
			CleanupTimeout: cleanupTimeout, CleanupRetryInterval: time.Second, WatchSyncTimeout: 2 * time.Second,
		},
	}
	for _, change := range changes {
		change(&options)
	}
	Expect(controllers.Setup(manager, options)).To(Succeed())

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	stopOperator = func() {
		cancel()
		Eventually(ended).WithTimeout(time.Minute).Should(Receive(Not(HaveOccurred())))
	}
}

// grantOperator gives the operator the role of the project's manifests and, as its documentation shows, a second one for the
// kinds that are copied. NetworkPolicies are missing, for a spec about missing permissions.
func grantOperator(ctx context.Context) {
	manifest, err := os.ReadFile("../config/rbac/role.yaml")
	Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	Expect(yaml.UnmarshalStrict(manifest, role)).To(Succeed())
	everything := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	kinds := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "suite-kinds"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services", "serviceaccounts", "persistentvolumeclaims", "limitranges"}, Verbs: everything},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: everything},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: everything},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses"}, Verbs: everything},
		{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"roles", "rolebindings"}, Verbs: append(everything, "bind", "escalate")},
		{APIGroups: []string{playlistGroup}, Resources: []string{"*"}, Verbs: everything},
		// Written only where a spec grants it.
		{APIGroups: []string{""}, Resources: []string{"podtemplates"}, Verbs: []string{"get", "list", "watch"}},
	}}
	for _, granted := range []*rbacv1.ClusterRole{role, kinds} {
		create(ctx, granted)
		create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: granted.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: granted.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
		})
	}
}
