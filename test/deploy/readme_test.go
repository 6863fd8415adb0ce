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
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/prosimcorp/replika/test/shell"
)

// readme returns the README's text.
func readme() string {
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// release returns the version that the README installs.
func release() string { return shell.Release(readme()) }

// blocks returns the README's fenced blocks in the language that contain the text.
func blocks(language, text string) []string { return shell.Blocks(readme(), language, text) }

// block returns the only such block.
func block(language, text string) string {
	GinkgoHelper()
	found := blocks(language, text)
	Expect(found).To(HaveLen(1), "the README's blocks of %s with %q", language, text)
	return found[0]
}

// foreignCRDs returns the files of other projects' CRDs, in the modules that hack/crds pins.
func foreignCRDs(ctx context.Context) []string {
	folders := map[string]string{}
	listed := json.NewDecoder(strings.NewReader(terminal.Command(ctx, "go", "-C", filepath.Join(repository, "hack", "crds"), "mod", "download", "-json")))
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
		"github.com/fluxcd/source-controller": {
			"config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
			"config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml",
		},
		"github.com/fluxcd/kustomize-controller": {"config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"},
		"github.com/operator-framework/api": {
			"crds/operators.coreos.com_clusterserviceversions.yaml",
			"crds/operators.coreos.com_operatorgroups.yaml",
			"crds/operators.coreos.com_subscriptions.yaml",
		},
		// The last version of OLM v1 that requires a ServiceAccount. Later ones ignore the field.
		"github.com/operator-framework/operator-controller": {
			"helm/olmv1/base/operator-controller/crd/standard/olm.operatorframework.io_clusterextensions.yaml",
		},
	} {
		for _, name := range names {
			files = append(files, filepath.Join(folders[module], filepath.FromSlash(name)))
		}
	}
	return files
}
