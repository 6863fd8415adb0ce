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
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/prosimcorp/replika/test/operator"
)

// startTimeout is generous: with 100,000 copies, the first lists take a while.
const startTimeout = 2 * time.Minute

// memoryLimit is that of the Deployment, in bytes.
const memoryLimit = 256 << 20

// garbageCollection are the environment variables by which the Deployment configures the garbage collector.
var garbageCollection = []string{fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit), "GOGC=50"}

// instance is a running process of the operator's binary.
type instance struct {
	*operator.Process
	// pprofAddress is the local address that serves the profiles.
	pprofAddress string
}

// startOperator starts the operator, in place of a running one, and waits until it is the leader.
func (e *environment) startOperator(ctx context.Context, environment ...string) (err error) {
	if err := e.stopOperator(); err != nil {
		return err
	}
	o := &instance{}
	if o.pprofAddress, err = operator.FreeAddress(); err != nil {
		return err
	}
	o.Process, err = operator.Start(operator.Options{
		Binary: e.opts.operator, Kubeconfig: e.kubeconfig, LogFile: filepath.Join(e.dir, "operator.log"),
		Environment: append(slices.Clone(garbageCollection), environment...),
		Args: []string{
			"--leader-elect", "--leader-election-namespace=" + accountNamespace, "--pprof-bind-address=" + o.pprofAddress,
			fmt.Sprintf("--max-concurrent-writes=%d", e.opts.parallel),
		},
	})
	if err != nil {
		return err
	}
	e.operator = o
	if err := o.waitForReady(ctx); err != nil {
		return err
	}
	return e.waitForLeader(ctx)
}

// startIdleOperator starts the operator, and waits until it has compared all copies and is idle.
func (e *environment) startIdleOperator(ctx context.Context) error {
	if err := e.startOperator(ctx); err != nil {
		return err
	}
	return e.waitForIdle(ctx)
}

func (o *instance) waitForReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startTimeout, true, func(context.Context) (bool, error) {
		return o.Ready() == nil, o.exitError()
	})
	if err != nil {
		return fmt.Errorf("waiting for the operator to be ready: %w\n%s", err, o.Tail())
	}
	return nil
}

// exitError returns an error with the last lines of the log if the operator has exited.
func (o *instance) exitError() error {
	if err := o.Ended(); err != nil {
		return fmt.Errorf("%w\n%s", err, o.Tail())
	}
	return nil
}

// stopOperator stops the operator, if it is running. The operator shuts down cleanly and releases its lease.
func (e *environment) stopOperator() error {
	o := e.operator
	if o == nil {
		return nil
	}
	e.operator = nil
	if err := o.exitError(); err != nil {
		return err
	}
	return o.Stop()
}
