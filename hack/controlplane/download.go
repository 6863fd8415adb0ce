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

// The index has a few kilobytes, the archive about 70 MB. If the index is not
// reachable, the archive is not either, so its timeout is short.
const (
	indexTimeout   = 30 * time.Second
	archiveTimeout = 5 * time.Minute
)

// download puts the binaries that upstream publishes into dir: etcd and
// kube-apiserver, but not kube-controller-manager. Upstream does not publish
// every patch release, so download takes the newest one of the pinned minor.
func download(ctx context.Context, progress io.Writer, p pins, dir string) error {
	major, minor, err := p.majorMinor()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "replika-controlplane-")
	if err != nil {
		return fmt.Errorf("creating a temporary directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()

	fmt.Fprintln(progress, "looking up the upstream envtest archive")
	tool := filepath.Join(work, "setup-envtest")
	if _, err := output(ctx, "go", "build", "-o", tool, setupEnvtest); err != nil {
		return fmt.Errorf("building setup-envtest: %w", err)
	}
	wanted := major + "." + minor + ".x"
	if err := requirePublished(ctx, tool, wanted); err != nil {
		return err
	}

	fmt.Fprintf(progress, "downloading the upstream envtest archive %s\n", wanted)
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	archive, err := output(ctx, tool, "use", wanted, "-p", "path", "--bin-dir", work)
	if err != nil {
		return fmt.Errorf("downloading the archive: %w", err)
	}
	archive = strings.TrimSpace(archive)
	if err := os.Chmod(archive, 0o700); err != nil { // setup-envtest makes it read-only, so it could not be removed
		return fmt.Errorf("making the unpacked archive writable: %w", err)
	}
	return copyBinaries(archive, dir)
}

// requirePublished returns an error if the index has no archive for the version.
func requirePublished(ctx context.Context, tool, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	list, err := output(ctx, tool, "list", wanted)
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	if strings.TrimSpace(list) == "" {
		return fmt.Errorf("no archive is published for version %s", wanted)
	}
	return nil
}

// copyBinaries copies the binaries of the control plane from an unpacked archive,
// as far as it contains them.
func copyBinaries(from, to string) error {
	lacking := missing(from)
	for _, b := range binaries {
		if slices.Contains(lacking, b) {
			continue
		}
		if err := copyExecutable(filepath.Join(from, b.name), filepath.Join(to, b.name)); err != nil {
			return err
		}
	}
	return nil
}

// copyExecutable copies instead of renaming, because the archive can be on
// another file system.
func copyExecutable(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying a binary from the archive: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copying a binary from the archive: %w", err)
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(to) // an incomplete file must not look like a binary
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}
