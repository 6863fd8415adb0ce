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

// Command bench runs the operator on a local control plane and measures how long it takes to create, update and repair
// copies, which requests it sends under load and when idle, and how much memory it needs. Times are compared with a
// baseline: a bare loop that sends the same requests. Requests and times are taken from the API server's audit log.
//
// It needs no cluster, no container engine and no kubectl. The environment variable KUBEBUILDER_ASSETS names the directory
// of the control plane's binaries. `make bench` provides them and builds the operator. See docs/performance.md for the
// method.
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
	// Log lines of the client libraries would interrupt the progress output.
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\n%v\n", err)
		os.Exit(1)
	}
}

// start runs the baseline, if the benchmark started this process as the baseline, or else the benchmark.
func start(ctx context.Context) error {
	if len(os.Args) == 2 && os.Args[1] == baselineCommand {
		return serveBaseline(ctx, os.Stdin, os.Stdout)
	}
	opts := parseFlags(flag.CommandLine, os.Args[1:])
	if err := opts.validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.timeout, fmt.Errorf("timed out after %s (--timeout)", opts.timeout))
	defer cancel()
	return run(ctx, opts)
}

// run measures the selected sections, one after another, and prints the results. If a section fails, the others still run.
func run(ctx context.Context, opts *options) error {
	bench := newBench(opts, newProgress(os.Stderr))
	err := bench.measure(ctx)
	bench.report.print(os.Stdout)
	return errors.Join(err, bench.report.save(opts))
}
