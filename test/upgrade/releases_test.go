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

package upgrade

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// release is a public release of the operator.
type release struct {
	tag string
	// version is the only version of the API that it serves.
	version string
	image   string
	// labels are those of all objects. Those of the Deployment and others are more, but nothing depends on them.
	labels map[string]string
	// selector is that of the Deployment and the Service.
	selector map[string]string
	// managerConfig is true if there is a ConfigMap for the operator.
	managerConfig bool
}

var (
	namedLabels    = map[string]string{"app.kubernetes.io/name": "replika", "app.kubernetes.io/managed-by": "kustomize"}
	namedSelector  = map[string]string{"app.kubernetes.io/name": "replika", "app.kubernetes.io/managed-by": "kustomize", "control-plane": "replika"}
	publicReleases = []release{
		{
			tag: "v0.2.4", version: "v1alpha1", image: "prosimcorp/replika:v0.2.4", managerConfig: true,
			selector: map[string]string{"control-plane": "controller-manager"},
		},
		{
			tag: "v0.2.5", version: "v1alpha1", image: "prosimcorp/replika:v0.2.5", managerConfig: true,
			labels: namedLabels, selector: namedSelector,
		},
		{tag: "v0.3.0", version: "v1beta1", image: "prosimcorp/replika:v0.3.0", labels: namedLabels, selector: namedSelector},
		{tag: "v0.4.0", version: "v1beta1", image: "ghcr.io/prosimcorp/replika:v0.4.0", labels: namedLabels, selector: namedSelector},
	}
)

// manifest returns the manifest of the release, with its CustomResourceDefinition.
func (r release) manifest() string {
	GinkgoHelper()
	files := []string{"crd.yaml", "operator.yaml"}
	if r.managerConfig {
		files = append(files, "managerconfig.yaml")
	}
	var documents []string
	for _, file := range files {
		documents = append(documents, read(filepath.Join("test", "upgrade", "testdata", file)))
	}
	return strings.NewReplacer("VERSION", r.version, "LABELS", flow(r.labels), "SELECTOR", flow(r.selector), "IMAGE", r.image).
		Replace(strings.Join(documents, "---\n"))
}

// flow returns the map as YAML in one line.
func flow(pairs map[string]string) string {
	GinkgoHelper()
	text, err := json.Marshal(maps.Clone(pairs))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// read returns the text of a file of this repository.
func read(path string) string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}
