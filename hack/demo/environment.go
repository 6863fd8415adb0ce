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
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

// environment is a control plane with the operator, and a client for both the demo's actions and its checks.
type environment struct {
	timeline *timeline
	client   client.Client
	cluster  *cluster.Cluster
	operator *operator.Process
	samples  string   // the directory of the samples
	logs     string   // the directory of the operator's log
	last     snapshot // the last state that was read
}

func startEnvironment(ctx context.Context, opts options, timeline *timeline) (_ *environment, err error) {
	env := &environment{timeline: timeline, samples: filepath.Join(opts.config, "samples")}
	defer func() {
		if err != nil {
			err = errors.Join(err, env.stop(), os.RemoveAll(env.logs))
		}
	}()
	timeline.heading("Setup")
	if err := env.startCluster(ctx, filepath.Join(opts.config, "crd", "bases")); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if env.logs, err = os.MkdirTemp("", "replika-demo-"); err != nil {
		return nil, err
	}
	logFile := filepath.Join(env.logs, "operator.log")
	env.operator, err = operator.Start(operator.Options{Binary: opts.operator, Kubeconfig: env.cluster.Kubeconfig, LogFile: logFile})
	if err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	timeline.log("Started the operator %s as process %d.", opts.operator, env.operator.PID())
	timeline.log("The operator writes its log to %s.", logFile)
	return env, nil
}

func (e *environment) startCluster(ctx context.Context, crds string) (err error) {
	e.timeline.log("Starting etcd, kube-apiserver and kube-controller-manager on this machine.")
	if e.cluster, err = cluster.Start(ctx, cluster.Options{CRDs: []string{crds}}); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if e.client, err = client.New(e.cluster.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	info, err := discovery.NewDiscoveryClientForConfigOrDie(e.cluster.Config).ServerVersion()
	if err != nil {
		return err
	}
	e.timeline.log("Kubernetes %s is running at %s.", info.GitVersion, e.cluster.Config.Host)
	e.timeline.log("Installed the Replika CRD.")
	return nil
}

// stop stops all processes, the operator first.
func (e *environment) stop() error {
	var errs []error
	if e.operator != nil {
		errs = append(errs, e.operator.Stop())
	}
	if e.cluster != nil {
		errs = append(errs, e.cluster.Stop())
	}
	return errors.Join(errs...)
}
