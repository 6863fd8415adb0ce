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

// stage is what the demo plays on: a control plane, the operator, and a client to look at both.
type stage struct {
	show     *timeline
	client   client.Client
	cluster  *cluster.Cluster
	operator *operator.Process
	samples  string // the folder of the samples
	logs     string // the folder of the operator's log
	last     view   // what was seen at the last look
}

func setStage(ctx context.Context, opts options, show *timeline) (_ *stage, err error) {
	s := &stage{show: show, samples: filepath.Join(opts.config, "samples")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear(), os.RemoveAll(s.logs))
		}
	}()
	show.scene("The stage")
	if err := s.startCluster(ctx, filepath.Join(opts.config, "crd", "bases")); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if s.logs, err = os.MkdirTemp("", "replika-demo-"); err != nil {
		return nil, err
	}
	logFile := filepath.Join(s.logs, "operator.log")
	s.operator, err = operator.Start(operator.Options{Binary: opts.operator, Kubeconfig: s.cluster.Kubeconfig, LogFile: logFile})
	if err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	show.say("operator", "%s, process %d; its log: %s", opts.operator, s.operator.PID(), logFile)
	return s, nil
}

func (s *stage) startCluster(ctx context.Context, crds string) (err error) {
	s.show.say("control plane", "etcd, kube-apiserver and kube-controller-manager, on this machine")
	if s.cluster, err = cluster.Start(ctx, cluster.Options{CRDs: []string{crds}}); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if s.client, err = client.New(s.cluster.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	info, err := discovery.NewDiscoveryClientForConfigOrDie(s.cluster.Config).ServerVersion()
	if err != nil {
		return err
	}
	s.show.say("control plane", "Kubernetes %s serves at %s, with the CRD", info.GitVersion, s.cluster.Config.Host)
	return nil
}

// clear ends every process, the operator first.
func (s *stage) clear() error {
	var errs []error
	if s.operator != nil {
		errs = append(errs, s.operator.Stop())
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop())
	}
	return errors.Join(errs...)
}
