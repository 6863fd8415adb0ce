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

// progressEvery is how often a running compilation says how far it is.
const progressEvery = 5 * time.Second

// compile builds the wanted binaries from the pinned modules into stage. It
// needs Go and the module proxy, nothing else.
func compile(ctx context.Context, progress io.Writer, p pins, stage string, wanted []binary) error {
	if len(wanted) == 0 {
		return nil
	}
	fmt.Fprintf(progress, "compiling %s (Kubernetes %s, etcd %s); the first time this takes several minutes\n",
		names(wanted), p.kubernetes, p.etcd)
	flags, err := buildFlags(p)
	if err != nil {
		return err
	}
	m := &meter{start: time.Now()}
	stop := m.report(progress, progressEvery)
	defer stop()

	for _, b := range wanted {
		deps, err := goTool(ctx, m, "list", "-deps", b.pkg)
		if err != nil {
			return fmt.Errorf("resolve %s: %w", b.name, err)
		}
		m.begin(b.name, strings.Fields(deps))
		args := append([]string{"build", "-v"}, flags...)
		if _, err := goTool(ctx, m, append(args, "-o", filepath.Join(stage, b.name), b.pkg)...); err != nil {
			return fmt.Errorf("compile %s: %w", b.name, err)
		}
		fmt.Fprintln(progress, m.done())
	}
	return nil
}

// buildFlags makes small, reproducible binaries that know their version: the
// API server reports it, and feature gates depend on it.
func buildFlags(p pins) ([]string, error) {
	major, minor, err := p.majorMinor()
	if err != nil {
		return nil, err
	}
	const stamp = " -X k8s.io/component-base/version."
	ldflags := "-s -w" + stamp + "gitVersion=" + p.kubernetes + stamp + "gitMajor=" + major + stamp + "gitMinor=" + minor
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", ldflags}, nil
}

// goTool runs the go command in this module, tells m what it says about its
// progress, and returns its stdout.
func goTool(ctx context.Context, m *meter, args ...string) (string, error) {
	cmd := command(ctx, "go", args...)
	var stdout strings.Builder
	said := &lines{each: m.line}
	cmd.Stdout, cmd.Stderr = &stdout, said
	err := cmd.Run()
	said.flush()
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", errors.Join(fmt.Errorf("go %s: %w (check the network and GOPROXY, or set %s to a folder with the binaries); it said",
		args[0], err, assetsEnv), errors.New(m.complaints()))
}
