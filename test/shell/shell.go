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

// Package shell runs the commands that the documentation shows, as the administrator of a cluster. It replaces only the URL of this
// repository, by a clone of the last commit.
package shell

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// RepositoryURL is the URL of this repository in Kustomize.
const RepositoryURL = "https://github.com/prosimcorp/replika//"

// VersionReference matches a URL of this repository with its version.
var VersionReference = regexp.MustCompile(`github\.com/prosimcorp/replika//\S+\?ref=([^\s'` + "`" + `]+)`)

// Shell runs commands.
type Shell struct {
	// Repository is the root of this repository.
	Repository string
	// WorkDir holds the programs and the clone. The caller creates and removes it.
	WorkDir string
	// Kubeconfig is the access of the commands. Without one, they have none.
	Kubeconfig string
}

// New compiles kubectl and clones the last commit of the repository, with a tag for the release. GitOps tools fetch a commit, not a
// working tree.
func New(ctx context.Context, repository, workDir, release string) *Shell {
	GinkgoHelper()
	s := &Shell{Repository: repository, WorkDir: workDir}
	Expect(os.Mkdir(s.BinDir(), 0o700)).To(Succeed())
	s.Build(ctx, "controlplane", "k8s.io/kubernetes/cmd/kubectl", "-trimpath")
	head := strings.TrimSpace(s.Command(ctx, "git", "-C", repository, "rev-parse", "HEAD"))
	s.Command(ctx, "git", "clone", "--quiet", "--bare", "--no-local", repository, s.clone())
	s.Command(ctx, "git", "-C", s.clone(), "tag", "--force", release, head)
	return s
}

// Build compiles a program of a module under hack. Like operator.Build, it uses `go run` with cp: Go caches what it links.
func (s *Shell) Build(ctx context.Context, module, program string, flags ...string) {
	GinkgoHelper()
	args := append([]string{"-C", filepath.Join(s.Repository, "hack", filepath.FromSlash(module)), "run", "-exec=cp", "-buildvcs=false"}, flags...)
	s.Command(ctx, "go", append(args, program, filepath.Join(s.BinDir(), path.Base(program)))...)
}

// AddPlugin compiles kubectl-replika, which kubectl then finds.
func (s *Shell) AddPlugin(ctx context.Context) {
	GinkgoHelper()
	s.Command(ctx, "go", "-C", s.Repository, "run", "-exec=cp", "-trimpath", "-buildvcs=false", "./cmd/kubectl-replika",
		filepath.Join(s.BinDir(), "kubectl-replika"))
}

func (s *Shell) clone() string { return filepath.Join(s.WorkDir, "replika.git") }

// BinDir is the folder of programs, the first one in which commands are looked up.
func (s *Shell) BinDir() string { return filepath.Join(s.WorkDir, "bin") }

// UseClone returns the text with the URL of the clone instead of the repository's URL.
func (s *Shell) UseClone(text string) string {
	return strings.ReplaceAll(text, RepositoryURL, "git::file://"+s.clone()+"//")
}

// Run runs a block of commands in the folder, and returns its standard output.
func (s *Shell) Run(ctx context.Context, dir, text string) string {
	GinkgoHelper()
	run := exec.CommandContext(ctx, "/bin/sh", "-euc", s.UseClone(text))
	run.Dir = dir
	return s.output(run)
}

// Command runs a program, and returns its standard output.
func (s *Shell) Command(ctx context.Context, name string, args ...string) string {
	GinkgoHelper()
	return s.output(exec.CommandContext(ctx, name, args...))
}

func (s *Shell) output(run *exec.Cmd) string {
	GinkgoHelper()
	run.Env = append(os.Environ(), "PATH="+s.BinDir()+string(os.PathListSeparator)+os.Getenv("PATH"))
	if s.Kubeconfig != "" {
		run.Env = append(run.Env, "KUBECONFIG="+s.Kubeconfig)
	}
	var stdout, stderr strings.Builder
	run.Stdout, run.Stderr = &stdout, &stderr
	err := run.Run()
	GinkgoWriter.Println(run, stdout.String(), stderr.String())
	Expect(err).NotTo(HaveOccurred(), "%s\n%s%s", run, stdout.String(), stderr.String())
	return stdout.String()
}

// Blocks returns the fenced blocks in a Markdown text that are in the language and contain the text.
func Blocks(markdown, language, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^ *```"+language+"\n(.*?)^ *```$").FindAllStringSubmatch(markdown, -1) {
		if strings.Contains(match[1], text) {
			found = append(found, match[1])
		}
	}
	return found
}

// Release returns the version of this repository that a Markdown text installs.
func Release(markdown string) string {
	GinkgoHelper()
	matches := VersionReference.FindAllStringSubmatch(markdown, -1)
	Expect(matches).NotTo(BeEmpty(), "the text has no version to install")
	for _, match := range matches {
		Expect(match[1]).To(Equal(matches[0][1]), "the text has several versions: %s", match[0])
	}
	return matches[0][1]
}
