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

// stay applies the samples once more and goes on telling what happens, until it is interrupted.
func stay(ctx context.Context, s *stage, timeout time.Duration) error {
	again := []scene{{
		title: "Your turn",
		do:    applySamples,
		want:  "a copy in every team's namespace",
		look:  sees(func(v view) bool { return v.inSync(append([]string{newTeam}, teams...)...) }),
	}}
	if err := play(ctx, s, again, timeout); err != nil {
		return err
	}
	fmt.Fprintf(s.show.out, `
In another terminal:

  export KUBECONFIG=%s
  kubectl get replikas --all-namespaces --watch
  kubectl get configmaps --all-namespaces --selector %s=%s
  kubectl create namespace team-violet

Ctrl-C ends the demo, and removes all of it.

`, s.cluster.Kubeconfig, v1alpha1.LabelPartOf, v1alpha1.PartOf(replikaKey.Name))
	return s.tellUntilInterrupted(ctx)
}

func (s *stage) tellUntilInterrupted(ctx context.Context) error {
	ticker := time.NewTicker(4 * pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.operator.Exited():
			return errors.Join(s.operator.Ended(), errors.New(s.operator.Tail()))
		case <-ticker.C:
			if _, err := s.watch(ctx); err != nil && ctx.Err() == nil {
				s.show.say("error", "%v", err)
			}
		}
	}
}
