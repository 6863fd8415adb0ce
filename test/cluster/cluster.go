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

// Package cluster starts a real control plane on this machine (etcd,
// kube-apiserver and kube-controller-manager) for the suites, the demo and the
// benchmark. Namespace deletion, garbage collection, quota, ServiceAccounts,
// RBAC and admission are the real thing; there are no nodes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// startTimeout bounds the start of each program. A loaded machine with two
// cores needs a multiple of the usual seconds.
const startTimeout = 90 * time.Second

// dirPrefix is what the names of clusters' folders begin with.
const dirPrefix = "replika-cluster-"

// kubeconfigName is the file in Cluster.Dir that Attach is pointed at.
const kubeconfigName = "admin.kubeconfig"

// Options say what kind of cluster to start.
type Options struct {
	// CRDs are files or folders of CRD manifests to install.
	CRDs []string
	// AuditLog records every request that the API server answers, for
	// Cluster.AuditEvents.
	AuditLog bool
	// Log is where the control plane's own logs go; nil discards them. What a
	// program said last is part of the error when it does not start.
	Log io.Writer
	// APIServerArgs are further flags of kube-apiserver, without the dashes.
	// They replace the ones this package would set.
	APIServerArgs map[string][]string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is the administrator's access, without a client-side rate limit.
	Config *rest.Config
	// Kubeconfig is the path of a kubeconfig file with the same access.
	Kubeconfig string
	// Dir holds everything that the cluster keeps: state, keys, audit log. It is
	// removed by Stop.
	Dir string

	// What follows is nil in an attached cluster.
	env      *envtest.Environment
	manager  *process
	watchdog *watchdog
	stop     func() error
}

// Start starts a control plane and returns when it can be used: CRDs are
// established, controllers run. ctx bounds the start alone; the cluster runs
// until Stop, or until this process ends in whatever way.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	removeStaleDirs()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the cluster: %w", err)
	}
	c := &Cluster{Dir: dir, Kubeconfig: filepath.Join(dir, kubeconfigName)}
	c.stop = sync.OnceValue(c.stopAll)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()

	if c.watchdog, err = newWatchdog(dir); err != nil {
		return nil, err
	}
	// envtest's start takes no context: if ctx ends, its programs do.
	release := context.AfterFunc(ctx, c.watchdog.killAll)
	defer release()

	logs := newLogs(o.Log)
	if err := c.startAPIServer(bin, o, logs); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd and kube-apiserver: %w", err), ctx.Err())
	}
	if err := c.startControllerManager(ctx, bin, logs); err != nil {
		return nil, fmt.Errorf("start kube-controller-manager: %w", err)
	}
	if !release() {
		return nil, fmt.Errorf("start the cluster: %w", ctx.Err())
	}
	return c, nil
}

// Attach returns the cluster that another process started, by its Kubeconfig:
// so that parallel test processes share one. Stop does nothing there, and User
// impersonates.
func Attach(kubeconfig string) (*Cluster, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("attach to the cluster of %s: %w", kubeconfig, err)
	}
	cfg.QPS = -1
	return &Cluster{Config: cfg, Kubeconfig: kubeconfig, Dir: filepath.Dir(kubeconfig)}, nil
}

// Stop ends all programs of the cluster and removes its Dir. It can be called
// more than once.
func (c *Cluster) Stop() error {
	if c.stop == nil {
		return nil
	}
	return c.stop()
}

// stopAll kills rather than asks: the state is thrown away, and an API server
// that is asked waits for its open watches first.
func (c *Cluster) stopAll() error {
	if c.watchdog != nil {
		c.watchdog.killAll()
	}
	if c.manager != nil {
		c.manager.kill()
	}
	var errs []error
	if c.env != nil {
		// The first call fails if a program ends between envtest's look and its
		// signal; the second one then finds it ended.
		if c.env.Stop() != nil {
			errs = append(errs, c.env.Stop())
		}
	}
	errs = append(errs, os.RemoveAll(c.Dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the cluster in %s: %w", c.Dir, err)
	}
	return nil
}
