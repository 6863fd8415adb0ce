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
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
)

const (
	crdFile       = "../../config/crd/bases/replika.prosimcorp.com_replikas.yaml"
	schemasFolder = "../../config/crd/schemas"
)

// minimal is a Replika that the schema accepts.
const minimal = `apiVersion: replika.prosimcorp.com/v1beta1
kind: Replika
metadata:
  name: minimal
spec:
  source:
    version: v1
    kind: ConfigMap
    name: settings
  target:
    namespaces:
      matchAll: true
`

// newValidator returns a validator that knows only the schemas in the folder. It finds them by the names that catalogs use.
func newValidator(t *testing.T, folder string) validator.Validator {
	t.Helper()
	location := filepath.ToSlash(folder) + "/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
	schemas, err := validator.New([]string{location}, validator.Opts{Strict: true, IgnoreMissingSchemas: true})
	if err != nil {
		t.Fatal(err)
	}
	return schemas
}

// validate returns the results for the Replikas of a manifest.
func validate(t *testing.T, schemas validator.Validator, name, manifest string) []validator.Result {
	t.Helper()
	var found []validator.Result
	for _, result := range schemas.Validate(name, io.NopCloser(strings.NewReader(manifest))) {
		signature, err := result.Resource.Signature()
		if err != nil {
			t.Fatal(err)
		}
		if signature.Kind == "Replika" {
			found = append(found, result)
		}
	}
	return found
}

func TestSchemas_ValidManifests(t *testing.T) {
	for name, folder := range map[string]string{
		"samples":          "../../config/samples",
		"health test data": "../../config/argocd/resource_customizations/replika.prosimcorp.com/Replika/testdata",
	} {
		t.Run(name, func(t *testing.T) { expectValid(t, folder) })
	}
}

// expectValid validates the Replikas in all files below the folder, under both versions of the API.
func expectValid(t *testing.T, folder string) {
	t.Helper()
	schemas := newValidator(t, schemasFolder)
	valid := 0
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		manifest, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, version := range []string{"v1alpha1", "v1beta1"} {
			text := strings.ReplaceAll(string(manifest), "replika.prosimcorp.com/v1beta1", "replika.prosimcorp.com/"+version)
			for _, result := range validate(t, schemas, path, text) {
				if result.Status != validator.Valid {
					t.Errorf("%s as %s: %v", path, version, result.Err)
				}
				valid++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if valid == 0 {
		t.Error("no Replika was validated")
	}
}

func TestSchemas_InvalidManifests(t *testing.T) {
	schemas := newValidator(t, schemasFolder)
	if results := validate(t, schemas, "minimal", minimal); len(results) != 1 || results[0].Status != validator.Valid {
		t.Fatalf("got %v, want one valid Replika", results)
	}
	for name, change := range map[string]struct{ from, to string }{
		"unknown field":            {"matchAll: true", "matchAl: true"},
		"unknown top-level field":  {"  target:", "  targets: {}\n  target:"},
		"required field missing":   {"    kind: ConfigMap\n", ""},
		"wrong type":               {"matchAll: true", "matchAll: sometimes"},
		"value not in enum":        {"  target:", "  deletionPolicy: Forget\n  target:"},
		"malformed duration":       {"  target:", "  synchronization: {time: 20 seconds}\n  target:"},
		"malformed glob":           {"matchAll: true", "replicateIn: [Team_A]"},
		"list instead of object":   {"    namespaces:\n      matchAll: true", "    namespaces: []"},
		"unknown field in failure": {"spec:", "status: {failures: [{namespace: a, reason: Conflict, message: '', cause: x}]}\nspec:"},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := strings.Replace(minimal, change.from, change.to, 1)
			if manifest == minimal {
				t.Fatal("the change does not apply")
			}
			if results := validate(t, schemas, name, manifest); len(results) != 1 || results[0].Status != validator.Invalid {
				t.Errorf("got %+v, want one invalid Replika", results)
			}
		})
	}
}

func TestRun(t *testing.T) {
	folder := t.TempDir()
	if err := run([]string{crdFile, folder}); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		name := filepath.Join("replika.prosimcorp.com", "replika_"+version+".json")
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(filepath.Join(schemasFolder, name)); err != nil || string(got) != string(want) {
			t.Errorf("%s is out of date: run make schemas (%v)", name, err)
		}
	}
	for name, args := range map[string][]string{"no arguments": nil, "no file": {"missing.yaml", folder}, "not a CRD": {"main.go", folder}} {
		if err := run(args); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
