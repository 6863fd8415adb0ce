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

package v1alpha1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/api/v1beta1"
	"github.com/prosimcorp/replika/test/kit"
)

// The API server converts between the versions by changing apiVersion only, which is right only if they are the same.
func TestVersions_Equal(t *testing.T) {
	versions := versionsOf(t)
	alpha, beta := versions[v1alpha1.GroupVersion.Version], versions[v1beta1.GroupVersion.Version]
	if len(versions) != 2 || !alpha.Served || !beta.Served || !beta.Storage {
		t.Fatalf("%d versions: want v1alpha1 and v1beta1, both served, and v1beta1 stored", len(versions))
	}
	alpha.Name, alpha.Storage = beta.Name, beta.Storage
	if diff := cmp.Diff(alpha, beta); diff != "" {
		t.Errorf("the versions differ (-v1alpha1 +v1beta1):\n%s", diff)
	}
}

// versionsOf returns the versions of the generated CustomResourceDefinition by name.
func versionsOf(t *testing.T) map[string]apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	definition, err := kit.ReadDefinition("../../config/crd/bases/replika.prosimcorp.com_replikas.yaml")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]apiextensionsv1.CustomResourceDefinitionVersion{}
	for _, version := range definition.Spec.Versions {
		versions[version.Name] = version
	}
	return versions
}
