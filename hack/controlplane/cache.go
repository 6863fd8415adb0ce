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

// cache is the folder of one version's binaries under the user's cache. It
// exists only complete: it is filled beside its place and renamed into it.
type cache struct {
	root, dir, lock, stagePattern string
}

func newCache(userCache string, p pins) cache {
	root := filepath.Join(userCache, "replika", "controlplane")
	return cache{
		root:         root,
		dir:          filepath.Join(root, p.folder()),
		lock:         filepath.Join(root, p.folder()+".lock"),
		stagePattern: "." + p.folder() + ".stage-*",
	}
}

// provide returns the cache's folder; if it is not there yet, fill is called
// with an empty folder to put the binaries into. Of several runs at once one
// fills and the others wait for it.
func (c cache) provide(ctx context.Context, progress io.Writer, fill func(ctx context.Context, stage string) error) (string, error) {
	if len(missing(c.dir)) == 0 {
		return c.dir, nil
	}
	if err := os.MkdirAll(c.root, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder (set XDG_CACHE_HOME to a writable one): %w", err)
	}
	unlock, err := lockFile(ctx, c.lock, func() {
		fmt.Fprintln(progress, "another run provides the same binaries, waiting for it")
	})
	if err != nil {
		return "", err
	}
	defer unlock()

	if len(missing(c.dir)) == 0 { // the run that was waited for did it
		return c.dir, nil
	}
	return c.dir, c.replace(ctx, fill)
}

// replace fills a new folder and puts it into place at once. The lock is held.
func (c cache) replace(ctx context.Context, fill func(ctx context.Context, stage string) error) (err error) {
	// Whatever is there now was left by a run that was killed, or was damaged
	// later: nobody else is at work while the lock is held.
	leftovers, err := filepath.Glob(filepath.Join(c.root, c.stagePattern))
	if err != nil {
		return fmt.Errorf("look for leftovers in %s: %w", c.root, err)
	}
	for _, path := range append(leftovers, c.dir) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what an earlier run left: %w", err)
		}
	}

	stage, err := os.MkdirTemp(c.root, c.stagePattern)
	if err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()

	if err := fill(ctx, stage); err != nil {
		return err
	}
	if lacking := missing(stage); len(lacking) > 0 {
		return fmt.Errorf("%s did not come about; this is a bug of hack/controlplane", names(lacking))
	}
	if err := os.Chmod(stage, 0o755); err != nil { // MkdirTemp's 0700 is for secrets
		return fmt.Errorf("open the folder to readers: %w", err)
	}
	if err := os.Rename(stage, c.dir); err != nil {
		return fmt.Errorf("put the binaries into place: %w", err)
	}
	return nil
}
