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
)

// cache is the directory for the binaries of one version. It is never
// incomplete: the binaries are put into a temporary directory, which is then
// renamed.
type cache struct {
	root, dir, lock, tempPattern string
}

func newCache(userCache string, p pins) cache {
	root := filepath.Join(userCache, "replika", "controlplane")
	return cache{
		root:        root,
		dir:         filepath.Join(root, p.dirName()),
		lock:        filepath.Join(root, p.dirName()+".lock"),
		tempPattern: "." + p.dirName() + ".tmp-*",
	}
}

// provide returns the directory with all binaries. If it does not exist yet,
// provide calls fill with an empty directory. If several processes call it at
// the same time, one calls fill and the others wait.
func (c cache) provide(ctx context.Context, progress io.Writer, fill func(ctx context.Context, dir string) error) (string, error) {
	if len(missing(c.dir)) == 0 {
		return c.dir, nil
	}
	if err := os.MkdirAll(c.root, 0o755); err != nil {
		return "", fmt.Errorf("creating the cache directory (set XDG_CACHE_HOME to a writable directory): %w", err)
	}
	unlock, err := lockFile(ctx, c.lock, func() {
		fmt.Fprintln(progress, "waiting for another process that provides the same binaries")
	})
	if err != nil {
		return "", err
	}
	defer unlock()

	if len(missing(c.dir)) == 0 { // the other process has provided them
		return c.dir, nil
	}
	return c.dir, c.replace(ctx, fill)
}

// replace fills a new directory and renames it to c.dir. The caller holds the lock.
func (c cache) replace(ctx context.Context, fill func(ctx context.Context, dir string) error) (err error) {
	// Existing directories are left over from a process that was killed, or are
	// damaged: no other process uses them while the lock is held.
	leftovers, err := filepath.Glob(filepath.Join(c.root, c.tempPattern))
	if err != nil {
		return fmt.Errorf("searching for incomplete directories in %s: %w", c.root, err)
	}
	for _, path := range append(leftovers, c.dir) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing an incomplete directory: %w", err)
		}
	}

	temp, err := os.MkdirTemp(c.root, c.tempPattern)
	if err != nil {
		return fmt.Errorf("creating a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	if err := fill(ctx, temp); err != nil {
		return err
	}
	if lacking := missing(temp); len(lacking) > 0 {
		return fmt.Errorf("%s are still missing; this is a bug in hack/controlplane", joinNames(lacking))
	}
	if err := os.Chmod(temp, 0o755); err != nil { // MkdirTemp creates it with 0700
		return fmt.Errorf("making the directory readable: %w", err)
	}
	if err := os.Rename(temp, c.dir); err != nil {
		return fmt.Errorf("renaming the directory of the binaries: %w", err)
	}
	return nil
}
