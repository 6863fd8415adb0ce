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
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestBuild(t *testing.T) {
	r := &release{version: "v1.2.3", sources: "./hack/plugin/testdata/hello", root: "../..", output: filepath.Join(t.TempDir(), "plugin")}
	// To compile the standard library for all platforms takes minutes: only the one of this machine gets a real executable.
	r.compile = func(ctx context.Context, p platform, folder string) (string, error) {
		if p.os == runtime.GOOS && p.arch == runtime.GOARCH {
			return r.compileSources(ctx, p, folder)
		}
		path := filepath.Join(folder, p.binary())
		return path, os.WriteFile(path, []byte(p.os), 0o755)
	}
	if err := r.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	plugin := krewPlugin{}
	if err := yaml.UnmarshalStrict(readFile(t, r, krewName), &plugin); err != nil {
		t.Fatal(err)
	}
	// The rules of krew: names of versions begin with v, descriptions are short.
	if plugin.Metadata.Name != "replika" || plugin.Spec.Version != "v1.2.3" || len(plugin.Spec.ShortDescription) > 50 {
		t.Errorf("manifest: %+v", plugin)
	}
	checksums := string(readFile(t, r, checksumsName))
	built := map[string]bool{krewName: true, checksumsName: true}
	var found []string
	for _, platform := range plugin.Spec.Platforms {
		name := path.Base(platform.URI)
		built[name] = true
		found = append(found, platform.Selector.MatchLabels["os"]+"/"+platform.Selector.MatchLabels["arch"])
		if want := "https://github.com/prosimcorp/replika/releases/download/v1.2.3/" + name; platform.URI != want {
			t.Errorf("URI %s, want %s", platform.URI, want)
		}
		content := readFile(t, r, name)
		sum := sha256.Sum256(content)
		if hex.EncodeToString(sum[:]) != platform.SHA256 || !strings.Contains(checksums, platform.SHA256+"  "+name+"\n") {
			t.Errorf("%s: the checksum is not that of the archive", name)
		}
		files := extract(t, name, content)
		if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"LICENSE", platform.Bin}) {
			t.Errorf("%s has %v", name, got)
		}
		if platform.Selector.MatchLabels["os"] == runtime.GOOS && platform.Selector.MatchLabels["arch"] == runtime.GOARCH {
			if got := output(t, files[platform.Bin]); got != "v1.2.3\n" {
				t.Errorf("the executable in %s says that it is %q", name, got)
			}
		}
	}
	want := []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}
	if slices.Sort(found); !slices.Equal(found, want) {
		t.Errorf("platforms %v, want %v", found, want)
	}
	entries, err := os.ReadDir(r.output)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !built[entry.Name()] {
			t.Errorf("%s is in the folder, and in no manifest", entry.Name())
		}
	}
}

func TestBuild_WithoutVersion(t *testing.T) {
	r := &release{output: filepath.Join(t.TempDir(), "plugin")}
	if err := r.build(t.Context()); err == nil {
		t.Error("no error")
	}
}

func readFile(t *testing.T, r *release, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.output, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// extract returns the content of the files in the archive.
func extract(t *testing.T, name string, content []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	read := func(name string, file io.Reader) {
		content, err := io.ReadAll(file)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	if strings.HasSuffix(name, ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range archive.File {
			file, err := entry.Open()
			if err != nil {
				t.Fatal(err)
			}
			read(entry.Name, file)
		}
		return files
	}
	compressed, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(compressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		read(header.Name, archive)
	}
}

// output runs the executable.
func output(t *testing.T, executable []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl-replika")
	if err := os.WriteFile(path, executable, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
