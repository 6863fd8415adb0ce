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
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/prosimcorp/replika/test/operator"
)

const startPatience = 30 * time.Second

// instance is the operator's binary, run as a process of its own.
type instance struct {
	*operator.Process
	// profiles is an address on this machine.
	profiles string
}

// startOperator starts the operator and waits until it leads.
func (s *stage) startOperator(ctx context.Context) (err error) {
	if err := s.stopOperator(); err != nil {
		return err
	}
	o := &instance{}
	if o.profiles, err = operator.FreeAddress(); err != nil {
		return err
	}
	o.Process, err = operator.Start(operator.Options{
		Binary: s.opts.operator, Kubeconfig: s.kubeconfig, LogFile: filepath.Join(s.folder, "operator.log"),
		Args: []string{
			"--leader-elect", "--leader-election-namespace=" + accountNamespace, "--pprof-bind-address=" + o.profiles,
			fmt.Sprintf("--max-concurrent-writes=%d", s.opts.parallel),
		},
	})
	if err != nil {
		return err
	}
	s.operator = o
	if err := o.awaitReady(ctx); err != nil {
		return err
	}
	return s.awaitLeader(ctx)
}

func (o *instance) awaitReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, startPatience, true, func(context.Context) (bool, error) {
		return o.Ready() == nil, o.ended()
	})
	if err != nil {
		return fmt.Errorf("wait for the operator to be ready: %w\n%s", err, o.Tail())
	}
	return nil
}

// ended is an error, with what the operator said last, if it is no longer there.
func (o *instance) ended() error {
	if err := o.Ended(); err != nil {
		return fmt.Errorf("%w\n%s", err, o.Tail())
	}
	return nil
}

// stopOperator ends the operator, if it runs: politely, so that it gives its lease back.
func (s *stage) stopOperator() error {
	o := s.operator
	if o == nil {
		return nil
	}
	s.operator = nil
	if err := o.ended(); err != nil {
		return err
	}
	return o.Stop()
}
