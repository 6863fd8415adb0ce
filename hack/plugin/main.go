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

// Command plugin builds the kubectl plugin for release: an archive for each platform, their checksums, and the manifest for krew. The
// archives are reproducible: the same sources and the same version of Go make the same archives.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// release is what is built.
type release struct {
	// version is the tag, such as v0.5.0.
	version string
	// sources is the package of the plugin, relative to root. root has the license.
	sources, root string
	// output is the folder of the results. It is created.
	output string
	// compile compiles the plugin for a platform into a folder, and returns the path of the executable.
	compile func(ctx context.Context, p platform, folder string) (string, error)
}

// platform is an operating system and an architecture, as Go names them.
type platform struct {
	os, arch string
}

var platforms = []platform{
	{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// binary is the name of the executable.
func (p platform) binary() string {
	if p.os == "windows" {
		return "kubectl-replika.exe"
	}
	return "kubectl-replika"
}

// archive is the name of the archive.
func (p platform) archive() string {
	extension := "tar.gz"
	if p.os == "windows" {
		extension = "zip"
	}
	return fmt.Sprintf("kubectl-replika_%s_%s.%s", p.os, p.arch, extension)
}

func main() {
	r := &release{sources: "./cmd/kubectl-replika", root: "."}
	r.compile = r.compileSources
	flag.StringVar(&r.version, "version", "", "the tag of the release, such as v0.5.0")
	flag.StringVar(&r.output, "output", filepath.Join("bin", "plugin"), "the folder of the results")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := r.build(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// build builds everything. It leaves nothing else in the folder of the results.
func (r *release) build(ctx context.Context) error {
	if r.version == "" {
		return errors.New("--version is required")
	}
	if err := os.RemoveAll(r.output); err != nil {
		return err
	}
	if err := os.MkdirAll(r.output, 0o755); err != nil {
		return err
	}
	var archives []archive
	for _, platform := range platforms {
		built, err := r.buildArchive(ctx, platform)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", platform.os, platform.arch, err)
		}
		archives = append(archives, built)
	}
	if err := r.writeChecksums(archives); err != nil {
		return err
	}
	return r.writeKrewManifest(archives)
}

// compileSources implements compile.
func (r *release) compileSources(ctx context.Context, p platform, folder string) (string, error) {
	path := filepath.Join(folder, p.binary())
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+r.version, "-o", path, r.sources)
	command.Dir = r.root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return path, nil
}
