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
	"io"
	"path/filepath"
	"strings"
	"time"
)

// progressInterval is how often the progress of the compilation is printed.
const progressInterval = 5 * time.Second

// compile builds the wanted binaries from the pinned modules into dir. It
// needs only Go and the module proxy.
func compile(ctx context.Context, progress io.Writer, p pins, dir string, wanted []binary) error {
	if len(wanted) == 0 {
		return nil
	}
	fmt.Fprintf(progress, "compiling %s (Kubernetes %s, etcd %s); the first time this takes several minutes\n",
		joinNames(wanted), p.kubernetes, p.etcd)
	flags, err := buildFlags(p)
	if err != nil {
		return err
	}
	m := &progressMeter{start: time.Now()}
	stop := m.printEvery(progress, progressInterval)
	defer stop()

	for _, b := range wanted {
		deps, err := goTool(ctx, m, p.dir, "list", "-deps", b.pkg)
		if err != nil {
			return fmt.Errorf("resolving the packages of %s: %w", b.name, err)
		}
		m.begin(b.name, strings.Fields(deps))
		args := append([]string{"build", "-v"}, flags...)
		if _, err := goTool(ctx, m, p.dir, append(args, "-o", filepath.Join(dir, b.name), b.pkg)...); err != nil {
			return fmt.Errorf("compiling %s: %w", b.name, err)
		}
		fmt.Fprintln(progress, m.summary())
	}
	return nil
}

// buildFlags returns the flags for small, reproducible binaries with a version,
// which the API server reports and feature gates depend on.
func buildFlags(p pins) ([]string, error) {
	major, minor, err := p.majorMinor()
	if err != nil {
		return nil, err
	}
	const stamp = " -X k8s.io/component-base/version."
	ldflags := "-s -w" + stamp + "gitVersion=" + p.kubernetes + stamp + "gitMajor=" + major + stamp + "gitMinor=" + minor
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", ldflags}, nil
}

// goTool runs the go command in the module of dir, passes its stderr to m, and
// returns its stdout.
func goTool(ctx context.Context, m *progressMeter, dir string, args ...string) (string, error) {
	cmd := command(ctx, "go", args...)
	cmd.Dir = dir
	var stdout strings.Builder
	stderr := &lineWriter{each: m.line}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	err := cmd.Run()
	stderr.flush()
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", errors.Join(fmt.Errorf("go %s: %w (check the network and GOPROXY, or set %s to a directory with the binaries)",
		args[0], err, assetsEnv), errors.New(m.otherOutput()))
}
