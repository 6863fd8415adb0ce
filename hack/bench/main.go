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

// Command bench measures the operator on a control plane of its own on this machine: how long it takes to make, change
// and repair copies, what it asks of the API server for it, at work and at rest, and how much memory it keeps. Times are
// compared with a floor: a bare loop that sends the same requests. Requests are counted from the API server's audit log,
// and that log's clock is the only one.
//
// It needs no cluster, no container engine and no kubectl; the control plane's binaries are found by the environment
// variable KUBEBUILDER_ASSETS. `make bench` provides them and the operator. docs/performance.md describes the method.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	// What the client libraries have to say would tear the progress.
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\n%v\n", err)
		os.Exit(1)
	}
}

// start is the benchmark, or the floor, if the benchmark started this process as that.
func start(ctx context.Context) error {
	if len(os.Args) == 2 && os.Args[1] == floorCommand {
		return serveFloor(ctx, os.Stdin, os.Stdout)
	}
	opts := parseFlags(flag.CommandLine, os.Args[1:])
	if err := opts.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.timeout, fmt.Errorf("not done within %s (--timeout)", opts.timeout))
	defer cancel()
	return run(ctx, opts)
}

// run measures the sections that were asked for, one after the other, and tells what came of them. A section that fails
// does not stop the others.
func run(ctx context.Context, opts *options) error {
	bench := newBench(opts, newProgress(os.Stderr))
	err := bench.measure(ctx)
	bench.report.print(os.Stdout)
	return errors.Join(err, bench.report.save(opts))
}
