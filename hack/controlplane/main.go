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

// Command controlplane provides the binaries of a real control plane (etcd,
// kube-apiserver and kube-controller-manager) for the tests, the demo and the
// benchmark. The last line on stdout is the folder that holds them, fit for
// KUBEBUILDER_ASSETS; everything else goes to stderr.
//
// Run it in its own module's folder: the versions are this module's pins.
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
	// A second signal is not caught any more, so an impatient Ctrl-C always works.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	dir, err := run(ctx, os.Stderr)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted; nothing half done is left, run it again to go on (%w)", err)
		}
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

// run returns the folder of the binaries: the one the user names, else the
// per-user cache, which it fills first if it has to.
func run(ctx context.Context, progress io.Writer) (string, error) {
	if dir := os.Getenv(assetsEnv); dir != "" {
		return fromEnvironment(dir)
	}
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		return "", fmt.Errorf("read this module's pins (run it in hack/controlplane, or with make controlplane): %w", err)
	}
	pins, err := parsePins(string(goMod))
	if err != nil {
		return "", err
	}
	userCache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the per-user cache folder (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return newCache(userCache, pins).provide(ctx, progress, func(ctx context.Context, stage string) error {
		return fill(ctx, progress, pins, stage)
	})
}

// fill puts all binaries into stage. What upstream publishes is taken from
// there; what it does not, or cannot be had, is compiled.
func fill(ctx context.Context, progress io.Writer, pins pins, stage string) error {
	if err := download(ctx, progress, pins, stage); err != nil {
		if ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(progress, "no upstream archive, compiling instead: %v\n", err)
	}
	return compile(ctx, progress, pins, stage, missing(stage))
}
