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
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var testPins = pins{kubernetes: "v1.2.3", etcd: "v4.5.6"}

// writeExecutables creates executable files with these names in dir.
func writeExecutables(t *testing.T, dir string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// listRoot returns the names of all files in the cache's root.
func listRoot(t *testing.T, c cache) []string {
	t.Helper()
	list, err := os.ReadDir(c.root)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	writeExecutables(t, dir, "etcd", "kube-apiserver")
	if _, err := fromEnvironment(dir); err == nil ||
		!strings.Contains(err.Error(), "lacks kube-controller-manager") {
		t.Fatalf("error is %v, want one with only the missing binary", err)
	}
	writeExecutables(t, dir, "kube-controller-manager")
	if got, err := fromEnvironment(dir); err != nil || got != dir {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := fromEnvironment("bin"); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Fatalf("error is %v, want one about the absolute path", err)
	}
	if err := os.Chmod(filepath.Join(dir, "etcd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fromEnvironment(dir); err == nil {
		t.Fatal("fromEnvironment accepted a file that is not executable")
	}
}

func TestCacheProvide_ConcurrentCallsFillOnce(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	var fills atomic.Int32
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			dir, err := c.provide(t.Context(), io.Discard, func(_ context.Context, dir string) error {
				fills.Add(1)
				writeExecutables(t, dir, "etcd", "kube-apiserver", "kube-controller-manager")
				return nil
			})
			if err != nil || len(missing(dir)) > 0 {
				t.Errorf("got %q, %v", dir, err)
			}
		})
	}
	calls.Wait()
	if fills.Load() != 1 {
		t.Fatalf("fill was called %d times, want 1", fills.Load())
	}
}

func TestCacheProvide_CleansUpAfterError(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	broken := errors.New("broken")
	_, err := c.provide(t.Context(), io.Discard, func(_ context.Context, dir string) error {
		writeExecutables(t, dir, "etcd")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error is %v, want that of fill", err)
	}
	if got := listRoot(t, c); len(got) != 1 || got[0] != filepath.Base(c.lock) {
		t.Fatalf("files are %v, want only the lock file", got)
	}
}

func TestCacheProvide_ReplacesIncompleteDirectory(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	killed := filepath.Join(c.root, strings.Replace(c.tempPattern, "*", "123", 1))
	for _, dir := range []string{c.dir, killed} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeExecutables(t, dir, "etcd")
	}
	dir, err := c.provide(t.Context(), io.Discard, func(_ context.Context, dir string) error {
		writeExecutables(t, dir, "etcd", "kube-apiserver", "kube-controller-manager")
		return nil
	})
	if err != nil || len(missing(dir)) > 0 {
		t.Fatalf("got %q, %v", dir, err)
	}
	if got := listRoot(t, c); len(got) != 2 {
		t.Fatalf("files are %v, want the directory and its lock file", got)
	}
}

func TestCopyBinaries(t *testing.T) {
	archive, dir := t.TempDir(), t.TempDir()
	writeExecutables(t, archive, "etcd", "kube-apiserver", "kubectl")
	if err := copyBinaries(archive, dir); err != nil {
		t.Fatal(err)
	}
	if got := joinNames(missing(dir)); got != "kube-controller-manager" {
		t.Fatalf("missing after the copy: %s, want only kube-controller-manager", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "kubectl")); err == nil {
		t.Fatal("copyBinaries copied a binary that is not part of the control plane")
	}
}
