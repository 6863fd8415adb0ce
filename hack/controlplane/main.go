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

// Command controlplane downloads or compiles the binaries of a control plane
// (etcd, kube-apiserver and kube-controller-manager) for the tests, the demo and
// the benchmark. It prints their directory, the value for KUBEBUILDER_ASSETS, to
// stdout, and its progress to stderr.
//
// Run it in the directory of its module, whose go.mod defines the versions.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Only the first signal is caught, so a second Ctrl-C ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	dir, err := run(ctx, os.Stderr)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted; run it again to continue (%w)", err)
		}
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

// run returns the directory of the binaries: the one from the environment, or
// else the per-user cache, which it fills if necessary.
func run(ctx context.Context, progress io.Writer) (string, error) {
	if dir := os.Getenv(assetsEnv); dir != "" {
		return fromEnvironment(dir)
	}
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		return "", fmt.Errorf("reading the pinned versions (run it in hack/controlplane, or use make controlplane): %w", err)
	}
	pins, err := parsePins(string(goMod))
	if err != nil {
		return "", err
	}
	userCache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the per-user cache directory (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return newCache(userCache, pins).provide(ctx, progress, func(ctx context.Context, dir string) error {
		return fill(ctx, progress, pins, dir)
	})
}

// fill puts all binaries into dir. It downloads the binaries that upstream
// publishes, and compiles those that cannot be downloaded.
func fill(ctx context.Context, progress io.Writer, pins pins, dir string) error {
	if err := download(ctx, progress, pins, dir); err != nil {
		if ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(progress, "cannot download the upstream archive, compiling instead: %v\n", err)
	}
	return compile(ctx, progress, pins, dir, missing(dir))
}
