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
	"time"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// stay applies the samples again and logs all changes until the demo is interrupted.
func stay(ctx context.Context, env *environment, timeout time.Duration) error {
	applyAgain := []step{{
		title: "Try it yourself",
		do:    applySamples,
		want:  "every team namespace has a copy again",
		check: inSnapshot(func(s snapshot) bool { return s.inSync(append([]string{newTeam}, teams...)...) }),
	}}
	if err := runSteps(ctx, env, applyAgain, timeout); err != nil {
		return err
	}
	fmt.Fprintf(env.timeline.out, `
The demo keeps running. In another terminal, run for example:

  export KUBECONFIG=%s
  kubectl get replikas --all-namespaces --watch
  kubectl get configmaps --all-namespaces --selector %s=%s
  kubectl create namespace team-violet

Press Ctrl-C to stop the demo and to remove everything.

`, env.cluster.Kubeconfig, v1alpha1.LabelPartOf, v1alpha1.PartOf(replikaKey.Name))
	return env.logUntilInterrupted(ctx)
}

func (e *environment) logUntilInterrupted(ctx context.Context) error {
	ticker := time.NewTicker(4 * pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.operator.Exited():
			return errors.Join(e.operator.Ended(), errors.New(e.operator.Tail()))
		case <-ticker.C:
			if _, err := e.refresh(ctx); err != nil && ctx.Err() == nil {
				e.timeline.log("Error: %v", err)
			}
		}
	}
}
