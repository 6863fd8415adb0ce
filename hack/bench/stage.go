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

// stage is what is measured on: a control plane, the operator when it runs, and the benchmark's own access.
type stage struct {
	opts     *options
	progress *progress
	cluster  *cluster.Cluster
	// client is the administrator's.
	client client.WithWatch
	// kubeconfig is the access that operator and floor have: the rights of the operator's ServiceAccount.
	kubeconfig string
	kubernetes string
	version    string
	folder     string
	operator   *instance
	// namespaces is how many there are.
	namespaces int
}

func setStage(ctx context.Context, opts *options, progress *progress) (_ *stage, err error) {
	s := &stage{opts: opts, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear())
		}
	}()
	if s.version, err = operatorVersion(ctx, opts.operator); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp("", "replika-bench-"); err != nil {
		return nil, err
	}
	progress.say("starting a control plane")
	s.cluster, err = cluster.Start(ctx, cluster.Options{CRDs: []string{filepath.Join(opts.config, "crd", "bases")}, AuditLog: true})
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, s.createNamespace(ctx, sourceNamespace)
}

// connect makes the clients.
func (s *stage) connect(ctx context.Context) (err error) {
	if err := onlyThisMachine(s.cluster.Config.Host); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(rbacv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	config := rest.CopyConfig(s.cluster.Config)
	config.UserAgent = benchAgent
	if s.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	info, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerVersion()
	if err != nil {
		return err
	}
	s.kubernetes = info.GitVersion
	s.progress.say("Kubernetes %s serves at %s; the operator is %s", s.kubernetes, config.Host, s.version)
	s.kubeconfig, err = s.grantAccess(ctx)
	return err
}

// onlyThisMachine refuses an API server somewhere else: nothing here is meant for it.
func onlyThisMachine(host string) error {
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
		return "", fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	return strings.TrimSpace(string(version)), nil
}

// clear ends every process, the operator first, and removes what they kept.
func (s *stage) clear() error {
	errs := []error{s.stopOperator()}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.folder))...)
}
