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
// RBAC and admission work as in a real cluster. There are no nodes.
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

// startTimeout limits the start of each program. It usually takes seconds, but
// much longer on a busy machine with two cores that other programs share. A
// program that exits fails at once.
const startTimeout = 3 * time.Minute

// dirPrefix is the prefix of the names of clusters' folders.
const dirPrefix = "replika-cluster-"

// kubeconfigName is the administrator's kubeconfig file in Cluster.Dir.
const kubeconfigName = "admin.kubeconfig"

// Options configure a cluster.
type Options struct {
	// CRDs are files or folders of CRD manifests to install.
	CRDs []string
	// AuditLog records every request to the API server, for Cluster.AuditEvents.
	AuditLog bool
	// Log receives the control plane's own logs; nil discards them. If a program
	// does not start, the error includes the end of its log.
	Log io.Writer
	// APIServerArgs are further flags of kube-apiserver, without the dashes. They
	// replace flags that this package sets.
	APIServerArgs map[string][]string
}

// Cluster is a running control plane.
type Cluster struct {
	// Config is the administrator's access, without a client-side rate limit.
	Config *rest.Config
	// Kubeconfig is the path of the administrator's kubeconfig file.
	Kubeconfig string
	// Dir holds the cluster's state, keys and audit log. Stop removes it.
	Dir string

	// The following fields are nil in an attached cluster.
	env      *envtest.Environment
	manager  *process
	watchdog *watchdog
	stop     func() error
}

// Start starts a control plane and returns when it is ready: the CRDs are
// established and the controllers run. ctx limits only the start. The cluster
// runs until Stop, or until this process ends for any reason.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	removeStaleDirs()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the cluster: %w", err)
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
	// envtest's start takes no context, so kill its programs when ctx ends.
	release := context.AfterFunc(ctx, c.watchdog.killAll)
	defer release()

	logs := newLogs(o.Log)
	if err := c.startAPIServer(ctx, bin, o, logs); err != nil {
		return nil, errors.Join(fmt.Errorf("starting etcd and kube-apiserver: %w", err), ctx.Err())
	}
	if err := c.startControllerManager(ctx, bin, logs); err != nil {
		return nil, fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	if !release() {
		return nil, fmt.Errorf("starting the cluster: %w", ctx.Err())
	}
	return c, nil
}

// Attach returns the cluster that another process started, from its Kubeconfig,
// so that parallel test processes share one cluster. Its Stop does nothing, and
// its User impersonates.
func Attach(kubeconfig string) (*Cluster, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("attaching to the cluster of %s: %w", kubeconfig, err)
	}
	cfg.QPS = -1
	return &Cluster{Config: cfg, Kubeconfig: kubeconfig, Dir: filepath.Dir(kubeconfig)}, nil
}

// Stop kills all programs of the cluster and removes its Dir. It can be called
// more than once.
func (c *Cluster) Stop() error {
	if c.stop == nil {
		return nil
	}
	return c.stop()
}

// stopAll kills the programs instead of terminating them gracefully: the state is
// not needed any more, and an API server that terminates gracefully waits for its
// open watches.
func (c *Cluster) stopAll() error {
	if c.watchdog != nil {
		c.watchdog.killAll()
	}
	if c.manager != nil {
		c.manager.kill()
	}
	var errs []error
	if c.env != nil {
		// The first call fails if a program exits between envtest's check and its
		// signal. The second call then finds that it has exited.
		if c.env.Stop() != nil {
			errs = append(errs, c.env.Stop())
		}
	}
	errs = append(errs, os.RemoveAll(c.Dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping the cluster in %s: %w", c.Dir, err)
	}
	return nil
}
