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

// Command schemas writes the schemas of a CRD as JSON Schema, for editors and for tools that validate manifests without a
// cluster.
//
//	schemas CRD DIRECTORY    writes DIRECTORY/GROUP/KIND_VERSION.json for each version of the CRD in the file CRD
//
// Names and content are those of the catalogs of CRD schemas.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// definition is the part of a CRD that has the schemas.
type definition struct {
	Spec struct {
		Group    string
		Names    struct{ Kind string }
		Versions []struct {
			Name   string
			Schema struct {
				OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
			}
		}
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: schemas CRD DIRECTORY")
	}
	content, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var crd definition
	if err := yaml.Unmarshal(content, &crd); err != nil {
		return fmt.Errorf("parsing %s: %w", args[0], err)
	}
	folder := filepath.Join(args[1], crd.Spec.Group)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, version := range crd.Spec.Versions {
		schema, err := encode(version.Schema.OpenAPIV3Schema)
		if err != nil {
			return fmt.Errorf("encoding the schema of %s: %w", version.Name, err)
		}
		name := strings.ToLower(crd.Spec.Names.Kind+"_"+version.Name) + ".json"
		if err := os.WriteFile(filepath.Join(folder, name), schema, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the JSON Schema of an OpenAPI schema.
func encode(schema map[string]any) ([]byte, error) {
	for _, field := range schema {
		rejectUnknownFields(field)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// rejectUnknownFields makes an object with properties reject all others, as kubectl does, at every level below. The top level
// is not changed: metadata is not described, and tools may add fields beside it.
func rejectUnknownFields(value any) {
	schema, ok := value.(map[string]any)
	if !ok {
		return
	}
	if _, isObject := schema["properties"]; isObject && schema["additionalProperties"] == nil {
		schema["additionalProperties"] = false
	}
	for _, field := range schema {
		rejectUnknownFields(field)
	}
}
