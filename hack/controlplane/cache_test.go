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

// put writes executable files for the named programs into dir.
func put(t *testing.T, dir string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// entries lists what is in the cache's root.
func entries(t *testing.T, c cache) []string {
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
	put(t, dir, "etcd", "kube-apiserver")
	if _, err := fromEnvironment(dir); err == nil ||
		!strings.Contains(err.Error(), "lacks kube-controller-manager") {
		t.Fatalf("error %v, want one that names the missing binary alone", err)
	}
	put(t, dir, "kube-controller-manager")
	if got, err := fromEnvironment(dir); err != nil || got != dir {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := fromEnvironment("bin"); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Fatalf("error %v, want one that asks for an absolute path", err)
	}
	if err := os.Chmod(filepath.Join(dir, "etcd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fromEnvironment(dir); err == nil {
		t.Fatal("a file that cannot be executed was taken for a binary")
	}
}

func TestProvideFillsOnceForManyRuns(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	var fills atomic.Int32
	var runs sync.WaitGroup
	for range 4 {
		runs.Go(func() {
			dir, err := c.provide(t.Context(), io.Discard, func(_ context.Context, stage string) error {
				fills.Add(1)
				put(t, stage, "etcd", "kube-apiserver", "kube-controller-manager")
				return nil
			})
			if err != nil || len(missing(dir)) > 0 {
				t.Errorf("got %q, %v", dir, err)
			}
		})
	}
	runs.Wait()
	if fills.Load() != 1 {
		t.Fatalf("filled %d times, want once", fills.Load())
	}
}

func TestProvideLeavesNothingHalfDone(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	broken := errors.New("broken")
	_, err := c.provide(t.Context(), io.Discard, func(_ context.Context, stage string) error {
		put(t, stage, "etcd")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error %v, want the one of the fill", err)
	}
	if got := entries(t, c); len(got) != 1 || got[0] != filepath.Base(c.lock) {
		t.Fatalf("left %v, want the lock file alone", got)
	}
}

func TestProvideRepairs(t *testing.T) {
	c := newCache(t.TempDir(), testPins)
	killed := filepath.Join(c.root, strings.Replace(c.stagePattern, "*", "123", 1))
	for _, dir := range []string{c.dir, killed} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, dir, "etcd")
	}
	dir, err := c.provide(t.Context(), io.Discard, func(_ context.Context, stage string) error {
		put(t, stage, "etcd", "kube-apiserver", "kube-controller-manager")
		return nil
	})
	if err != nil || len(missing(dir)) > 0 {
		t.Fatalf("got %q, %v", dir, err)
	}
	if got := entries(t, c); len(got) != 2 {
		t.Fatalf("left %v, want the folder and its lock", got)
	}
}

func TestAdoptTakesWhatTheArchiveHas(t *testing.T) {
	archive, stage := t.TempDir(), t.TempDir()
	put(t, archive, "etcd", "kube-apiserver", "kubectl")
	if err := adopt(archive, stage); err != nil {
		t.Fatal(err)
	}
	if got := names(missing(stage)); got != "kube-controller-manager" {
		t.Fatalf("still to compile: %s", got)
	}
	if _, err := os.Stat(filepath.Join(stage, "kubectl")); err == nil {
		t.Fatal("took a program that is none of ours")
	}
}
