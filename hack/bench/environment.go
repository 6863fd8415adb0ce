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

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
)

// benchAgent is the user agent of the benchmark's own requests.
const benchAgent = "bench"

// environment is the system under test: a control plane, the operator while it runs, and the benchmark's own client.
type environment struct {
	opts     *options
	progress *progress
	cluster  *cluster.Cluster
	// client has administrator permissions.
	client client.WithWatch
	// kubeconfig is that of operator and baseline. It has the permissions of the operator's ServiceAccount.
	kubeconfig string
	kubernetes string
	version    string
	dir        string
	operator   *instance
	// namespaces is the number of target namespaces.
	namespaces int
}

func startEnvironment(ctx context.Context, opts *options, progress *progress) (_ *environment, err error) {
	e := &environment{opts: opts, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	if e.version, err = operatorVersion(ctx, opts.operator); err != nil {
		return nil, err
	}
	if e.dir, err = os.MkdirTemp("", "replika-bench-"); err != nil {
		return nil, err
	}
	progress.log("starting a control plane")
	e.cluster, err = cluster.Start(ctx, cluster.Options{CRDs: []string{filepath.Join(opts.config, "crd", "bases")}, AuditLog: true})
	if err != nil {
		return nil, err
	}
	if err := e.createClients(ctx); err != nil {
		return nil, err
	}
	return e, e.createNamespace(ctx, sourceNamespace)
}

// createClients creates the benchmark's client and the operator's kubeconfig.
func (e *environment) createClients(ctx context.Context) (err error) {
	if err := requireLoopback(e.cluster.Config.Host); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(admissionregistrationv1.AddToScheme(scheme))
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(rbacv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	config := rest.CopyConfig(e.cluster.Config)
	config.UserAgent = benchAgent
	if e.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	info, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerVersion()
	if err != nil {
		return err
	}
	e.kubernetes = info.GitVersion
	e.progress.log("Kubernetes %s is running at %s; operator version: %s", e.kubernetes, config.Host, e.version)
	e.kubeconfig, err = e.grantAccess(ctx)
	return err
}

// requireLoopback returns an error if the API server is not on this machine, because the benchmark fills its cluster with
// objects.
func requireLoopback(host string) error {
	address, err := url.Parse(host)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(address.Hostname()); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("the API server %s is not on this machine", host)
	}
	return nil
}

func operatorVersion(ctx context.Context, binary string) (string, error) {
	version, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("reading the version of %s: %w", binary, err)
	}
	return strings.TrimSpace(string(version)), nil
}

// stop stops all processes, the operator first, and removes their files.
func (e *environment) stop() error {
	errs := []error{e.stopOperator()}
	if e.cluster != nil {
		errs = append(errs, e.cluster.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}
