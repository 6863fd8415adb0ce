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

// Command demo shows the operator at work, on a control plane of its own on this machine: it runs the operator's
// binary, plays a script of scenes against it and prints what happens as it happens. It ends with 0 only if every
// scene was seen to work. In a terminal it then stays up, to be played with, until Ctrl-C.
//
// It needs no cluster, no container engine and no kubectl; the control plane's binaries are found by the environment
// variable KUBEBUILDER_ASSETS. `make demo` provides them and the operator.
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
	flag.StringVar(&opts.config, "config", "config", "the folder with the CRD (crd/bases) and the samples")
	flag.DurationVar(&opts.timeout, "timeout", time.Minute, "how long a scene may take")
	flag.BoolVar(&opts.stay, "stay", inTerminal(), "stay up after the last scene; by default, if in a terminal")
	flag.Parse()

	// What the operator has to say is in its own log; what the client libraries have to say would tear the timeline.
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

// run sets the stage, plays the script, and clears everything away again whatever happened.
func run(ctx context.Context, opts options) (err error) {
	show := newTimeline(os.Stdout)
	stage, err := setStage(ctx, opts, show)
	if err != nil {
		return err
	}
	defer func() {
		if failed := (*failure)(nil); errors.As(err, &failed) {
			err = fmt.Errorf("%w\n\n%s", err, stage.operator.Tail())
		}
		if err = errors.Join(err, stage.clear()); err == nil {
			err = os.RemoveAll(stage.logs) // kept after a failure
		}
	}()

	if err := play(ctx, stage, script(), opts.timeout); err != nil {
		return err
	}
	show.say("done", "every scene was seen to work")
	if opts.stay {
		return stay(ctx, stage, opts.timeout)
	}
	return nil
}
