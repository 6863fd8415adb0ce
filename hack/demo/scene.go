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

// pollInterval is how often the cluster is looked at while a scene waits.
const pollInterval = 50 * time.Millisecond

// scene is one thing that the demo shows: something is done, and then something must be seen.
type scene struct {
	title string
	do    func(context.Context, *stage) error
	// want says in words what look waits for.
	want string
	// look reports whether it is there, and what is there instead.
	look func(context.Context, *stage) (ok bool, saw string)
}

// failure is a scene that did not end as it should.
type failure struct {
	title, want, saw string
	waited           time.Duration
}

func (f *failure) Error() string {
	return fmt.Sprintf("FAILED: %s\n  waited for    %s\n  saw instead   %s\n  gave up after %s",
		f.title, f.want, f.saw, f.waited.Round(10*time.Millisecond))
}

// play plays the scenes in order, up to the first that fails.
func play(ctx context.Context, stage *stage, scenes []scene, timeout time.Duration) error {
	for _, s := range scenes {
		stage.show.scene(s.title)
		if err := s.do(ctx, stage); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		if err := s.await(ctx, stage, timeout); err != nil {
			return err
		}
	}
	return nil
}

// await looks until the scene is as it should be, for as long as timeout and while the operator lives.
func (s scene) await(ctx context.Context, stage *stage, timeout time.Duration) error {
	start, saw := time.Now(), "nothing"
	err := wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(ctx context.Context) (bool, error) {
		ok, now := s.look(ctx, stage)
		if ctx.Err() == nil { // a look that the deadline cut short saw nothing worth telling
			saw = now
		}
		return ok, stage.operator.Ended()
	})
	took := time.Since(start)
	switch {
	case err == nil:
		stage.show.say("ok", "%s, after %.2fs", s.want, took.Seconds())
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case !wait.Interrupted(err):
		saw = err.Error()
	}
	return &failure{title: s.title, want: s.want, saw: saw, waited: took}
}
