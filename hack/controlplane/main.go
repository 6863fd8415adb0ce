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
// Run it in the directory of its module, whose go.mod defines the versions. Those
// of older Kubernetes versions, for the flag --kubernetes, are in versions.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	version := flag.String("kubernetes", newest, "Kubernetes `version`, such as 1.30")
	flag.Parse()

	// Only the first signal is caught, so a second Ctrl-C ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	dir, err := run(ctx, os.Stderr, *version)
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
func run(ctx context.Context, progress io.Writer, version string) (string, error) {
	if dir := os.Getenv(assetsEnv); dir != "" {
		if version != newest {
			return "", fmt.Errorf("%s=%s defines the version: unset it for Kubernetes %s", assetsEnv, dir, version)
		}
		return fromEnvironment(dir)
	}
	pins, err := findPins(version)
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
