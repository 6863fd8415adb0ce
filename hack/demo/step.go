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

	"k8s.io/apimachinery/pkg/util/wait"
)

// pollInterval is how often a step reads the state of the cluster.
const pollInterval = 50 * time.Millisecond

// step is one part of the demo: an action and the expected result.
type step struct {
	title string
	do    action
	// want describes the expected result, as a clause without a period.
	want string
	// check reports whether the expected result is there, and describes the actual result.
	check func(context.Context, *environment) (ok bool, got string)
}

// stepError reports a step without the expected result.
type stepError struct {
	title, want, got string
	waited           time.Duration
}

func (e *stepError) Error() string {
	return fmt.Sprintf("FAILED: %s\n  expected: %s\n  actual:   %s\n  waited:   %s",
		e.title, e.want, e.got, e.waited.Round(10*time.Millisecond))
}

// runSteps runs the steps in order. It returns at the first one that fails.
func runSteps(ctx context.Context, env *environment, steps []step, timeout time.Duration) error {
	for _, step := range steps {
		env.timeline.heading(step.title)
		if err := step.do(ctx, env); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
		if err := step.waitForResult(ctx, env, timeout); err != nil {
			return err
		}
	}
	return nil
}

// waitForResult polls until the check succeeds, the timeout ends or the operator exits.
func (s *step) waitForResult(ctx context.Context, env *environment, timeout time.Duration) error {
	start, got := time.Now(), "nothing"
	err := wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(ctx context.Context) (bool, error) {
		ok, now := s.check(ctx, env)
		if ctx.Err() == nil { // otherwise the timeout interrupted the check
			got = now
		}
		return ok, env.operator.Ended()
	})
	waited := time.Since(start)
	switch {
	case err == nil:
		env.timeline.log("OK after %.2fs: %s.", waited.Seconds(), s.want)
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case !wait.Interrupted(err):
		got = err.Error()
	}
	return &stepError{title: s.title, want: s.want, got: got, waited: waited}
}
