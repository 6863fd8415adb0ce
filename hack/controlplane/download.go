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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// setupEnvtest is pinned as a tool in go.mod.
const setupEnvtest = "sigs.k8s.io/controller-runtime/tools/setup-envtest"

// The index is a few kilobytes: who cannot have it soon will not have the
// archive, and must not wait for it. The archive is some 70 MB.
const (
	indexTimeout   = 30 * time.Second
	archiveTimeout = 5 * time.Minute
)

// download puts what upstream publishes into stage: etcd and kube-apiserver,
// but no kube-controller-manager. Upstream does not publish every patch
// release, so it is the newest one of the pinned minor.
func download(ctx context.Context, progress io.Writer, p pins, stage string) error {
	major, minor, err := p.majorMinor()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "replika-controlplane-")
	if err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()

	fmt.Fprintln(progress, "asking for the upstream envtest archive")
	tool := filepath.Join(work, "setup-envtest")
	if _, err := output(ctx, "go", "build", "-o", tool, setupEnvtest); err != nil {
		return fmt.Errorf("build setup-envtest: %w", err)
	}
	wanted := major + "." + minor + ".x"
	if err := published(ctx, tool, wanted); err != nil {
		return err
	}

	fmt.Fprintf(progress, "downloading the upstream envtest archive %s\n", wanted)
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	dir, err := output(ctx, tool, "use", wanted, "-p", "path", "--bin-dir", work)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	dir = strings.TrimSpace(dir)
	if err := os.Chmod(dir, 0o700); err != nil { // setup-envtest makes it read-only, and it has to go
		return fmt.Errorf("open the unpacked archive: %w", err)
	}
	return adopt(dir, stage)
}

// published asks the index whether there is an archive for the version.
func published(ctx context.Context, tool, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	list, err := output(ctx, tool, "list", wanted)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if strings.TrimSpace(list) == "" {
		return fmt.Errorf("nothing published for %s", wanted)
	}
	return nil
}

// adopt copies the programs we know out of an unpacked archive.
func adopt(from, stage string) error {
	lacking := missing(from)
	for _, b := range binaries {
		if slices.Contains(lacking, b) {
			continue
		}
		if err := copyExecutable(filepath.Join(from, b.name), filepath.Join(stage, b.name)); err != nil {
			return err
		}
	}
	return nil
}

// copyExecutable copies rather than renames: the archive may have been
// unpacked on another file system.
func copyExecutable(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("take a program out of the archive: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("take a program out of the archive: %w", err)
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(to) // half a program must not pass for one
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
