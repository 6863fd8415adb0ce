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
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// Artifact Hub shows what the annotations say of the CRD and of its use.
func TestArtifactHubAnnotations(t *testing.T) {
	metadata := struct{ Annotations map[string]string }{}
	parse(t, readFile(t, chart, "Chart.yaml"), &metadata)

	type described struct{ Kind, Version, Name, DisplayName, Description string }
	var crds []described
	parse(t, []byte(metadata.Annotations["artifacthub.io/crds"]), &crds)
	csv := struct {
		Spec struct {
			CustomResourceDefinitions struct{ Owned []described }
		}
	}{}
	parse(t, readFile(t, root, "config", "manifests", "bases", "replika.clusterserviceversion.yaml"), &csv)
	// The first version is the one to write.
	if diff := cmp.Diff(csv.Spec.CustomResourceDefinitions.Owned[:1], crds); diff != "" {
		t.Errorf("the CRDs differ from those for OLM (-want +got):\n%s", diff)
	}

	var examples []any
	parse(t, []byte(metadata.Annotations["artifacthub.io/crdsExamples"]), &examples)
	var sample any
	parse(t, readFile(t, root, "config", "samples", "replika_v1beta1_replika.yaml"), &sample)
	if diff := cmp.Diff([]any{sample}, examples); diff != "" {
		t.Errorf("the examples differ from the sample (-want +got):\n%s", diff)
	}
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func parse(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}
