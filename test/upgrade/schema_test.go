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
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/prosimcorp/replika/test/kit"
)

// nowRequired are the fields that a Replika needs since 0.5.0. Without them, the operators of the releases copied nothing, or only to the
// namespace default.
var nowRequired = []string{".spec.source", ".spec.target.namespaces", ".spec"}

// Every field of the public releases has to stay, with its type: a manifest with it has to be accepted.
func TestSchema_SupersetOfPublicReleases(t *testing.T) {
	public := schemas(t, filepath.Join("testdata", "crd.yaml"))
	for version, schema := range schemas(t, filepath.Join(repository, "config", "crd", "bases", "replika.prosimcorp.com_replikas.yaml")) {
		compareSchemas(t, version, public["VERSION"], schema)
	}
}

func compareSchemas(t *testing.T, path string, before, now *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	if before.Type != now.Type {
		t.Errorf("%s: type %q is now %q", path, before.Type, now.Type)
	}
	for _, field := range now.Required {
		if _, path, _ := strings.Cut(path+"."+field, "."); !slices.Contains(before.Required, field) && !slices.Contains(nowRequired, "."+path) {
			t.Errorf("%s.%s is required now", path, field)
		}
	}
	for name, property := range before.Properties {
		if current, ok := now.Properties[name]; ok {
			compareSchemas(t, path+"."+name, &property, &current)
		} else {
			t.Errorf("%s.%s is missing now", path, name)
		}
	}
	if before.Items != nil && now.Items != nil {
		compareSchemas(t, path+"[]", before.Items.Schema, now.Items.Schema)
	}
}

// schemas returns the schemas in a CustomResourceDefinition by version.
func schemas(t *testing.T, path string) map[string]*apiextensionsv1.JSONSchemaProps {
	t.Helper()
	definition, err := kit.ReadDefinition(path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*apiextensionsv1.JSONSchemaProps{}
	for _, version := range definition.Spec.Versions {
		found[version.Name] = version.Schema.OpenAPIV3Schema
	}
	return found
}
