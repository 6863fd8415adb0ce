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

// Command demo shows the operator on a local control plane. It starts the operator's binary, runs a series of steps, checks
// the result of each and prints a timeline. It exits with 0 only if every step had the expected result. In a terminal it
// keeps running afterwards, until Ctrl-C.
//
// It needs no cluster, no container engine and no kubectl. The environment variable KUBEBUILDER_ASSETS names the directory
// of the control plane's binaries. `make demo` provides them and builds the operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/term"
	ctrl "sigs.k8s.io/controller-runtime"
)

type options struct {
	operator string
	config   string
	timeout  time.Duration
	stay     bool
}

func main() {
	var opts options
	flag.StringVar(&opts.operator, "operator", filepath.Join("bin", "manager"), "the operator's binary")
	flag.StringVar(&opts.config, "config", "config", "the directory with the CRD (crd/bases) and the samples")
	flag.DurationVar(&opts.timeout, "timeout", time.Minute, "timeout per step")
	flag.BoolVar(&opts.stay, "stay", inTerminal(), "keep running after the last step (default: true in a terminal)")
	flag.Parse()

	// Log lines of the client libraries would interrupt the timeline. The operator has its own log file.
	ctrl.SetLogger(logr.Discard())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, opts)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\n%v\n", err)
		os.Exit(1)
	}
}

func inTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

// run starts the environment, runs the steps, and removes everything again, also after a failure.
func run(ctx context.Context, opts options) (err error) {
	timeline := newTimeline(os.Stdout)
	env, err := startEnvironment(ctx, opts, timeline)
	if err != nil {
		return err
	}
	defer func() {
		if failed := (*stepError)(nil); errors.As(err, &failed) {
			err = fmt.Errorf("%w\n\n%s", err, env.operator.Tail())
		}
		if err = errors.Join(err, env.stop()); err == nil {
			err = os.RemoveAll(env.logs) // kept after a failure
		}
	}()

	if err := runSteps(ctx, env, demoSteps(), opts.timeout); err != nil {
		return err
	}
	timeline.heading("Demo completed: every step had the expected result.")
	if opts.stay {
		return stay(ctx, env, opts.timeout)
	}
	return nil
}
