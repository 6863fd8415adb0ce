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

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// repositoryURL is the URL of this repository in Kustomize.
const repositoryURL = "https://github.com/prosimcorp/replika//"

// versionReference matches a URL of this repository with its version.
var versionReference = regexp.MustCompile(`github\.com/prosimcorp/replika//\S+\?ref=([^\s'` + "`" + `]+)`)

// readme returns the README's text.
func readme() string {
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// blocks returns the README's fenced blocks in the language that contain the text.
func blocks(language, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(readme(), -1) {
		if strings.Contains(match[1], text) {
			found = append(found, match[1])
		}
	}
	return found
}

// block returns the only such block.
func block(language, text string) string {
	GinkgoHelper()
	found := blocks(language, text)
	Expect(found).To(HaveLen(1), "the README's blocks of %s with %q", language, text)
	return found[0]
}

// release returns the version that the README installs.
func release() string {
	GinkgoHelper()
	matches := versionReference.FindAllStringSubmatch(readme(), -1)
	Expect(matches).NotTo(BeEmpty(), "the README has no version to install")
	for _, match := range matches {
		Expect(match[1]).To(Equal(matches[0][1]), "the README has several versions: %s", match[0])
	}
	return matches[0][1]
}

// createBareClone clones the last commit of this repository, with the release's tag.
func createBareClone(ctx context.Context) {
	head := strings.TrimSpace(command(ctx, "git", "-C", repository, "rev-parse", "HEAD"))
	command(ctx, "git", "clone", "--quiet", "--bare", "--no-local", repository, bareClone())
	command(ctx, "git", "-C", bareClone(), "tag", "--force", release(), head)
}

func bareClone() string { return filepath.Join(workDir, "replika.git") }
func binDir() string    { return filepath.Join(workDir, "bin") }

// useBareClone returns the text with the URL of the clone instead of the repository's URL.
func useBareClone(text string) string {
	return strings.ReplaceAll(text, repositoryURL, "git::file://"+bareClone()+"//")
}

// shell runs a block of the README in the folder, as the cluster's administrator, with the kubectl that the suite builds.
func shell(ctx context.Context, dir, text string) string {
	GinkgoHelper()
	run := exec.CommandContext(ctx, "/bin/sh", "-euc", useBareClone(text))
	run.Dir = dir
	return output(run)
}

// command runs a program and returns its standard output.
func command(ctx context.Context, name string, args ...string) string {
	GinkgoHelper()
	return output(exec.CommandContext(ctx, name, args...))
}

func output(run *exec.Cmd) string {
	GinkgoHelper()
	run.Env = append(os.Environ(), "PATH="+binDir()+string(os.PathListSeparator)+os.Getenv("PATH"))
	if env != nil {
		run.Env = append(run.Env, "KUBECONFIG="+env.Kubeconfig)
	}
	var stdout, stderr strings.Builder
	run.Stdout, run.Stderr = &stdout, &stderr
	err := run.Run()
	GinkgoWriter.Println(run, stdout.String(), stderr.String())
	Expect(err).NotTo(HaveOccurred(), "%s\n%s%s", run, stdout.String(), stderr.String())
	return stdout.String()
}

// foreignCRDs returns the files of other projects' CRDs, in the modules that hack/crds pins.
func foreignCRDs(ctx context.Context) []string {
	folders := map[string]string{}
	listed := json.NewDecoder(strings.NewReader(command(ctx, "go", "-C", filepath.Join(repository, "hack", "crds"), "mod", "download", "-json")))
	for {
		var module struct{ Path, Dir string }
		if err := listed.Decode(&module); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			Fail(err.Error())
		}
		folders[module.Path] = module.Dir
	}
	var files []string
	for module, names := range map[string][]string{
		"github.com/prometheus-operator/prometheus-operator": {
			"example/prometheus-operator-crd/monitoring.coreos.com_alertmanagerconfigs.yaml",
			"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
			"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
		},
		"github.com/external-secrets/external-secrets": {"config/crds/bases/external-secrets.io_externalsecrets.yaml"},
		"github.com/argoproj/argo-cd/v3":               {"manifests/crds/application-crd.yaml"},
		"github.com/fluxcd/source-controller":          {"config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"},
		"github.com/fluxcd/kustomize-controller":       {"config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"},
		"github.com/operator-framework/api": {
			"crds/operators.coreos.com_clusterserviceversions.yaml",
			"crds/operators.coreos.com_operatorgroups.yaml",
			"crds/operators.coreos.com_subscriptions.yaml",
		},
	} {
		for _, name := range names {
			files = append(files, filepath.Join(folders[module], filepath.FromSlash(name)))
		}
	}
	return files
}
