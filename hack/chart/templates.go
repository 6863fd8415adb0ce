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
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// renderTemplates returns the templates of the components, by path.
func renderTemplates(components []*component) (map[string]string, error) {
	files := map[string]string{}
	unused := fields()
	for _, component := range components {
		var text strings.Builder
		for _, object := range component.objects {
			own, err := namespaceFields(object)
			if err != nil {
				return nil, err
			}
			isOwn := func(f field) bool { return f.kind == object.GetKind() && f.name == object.GetName() }
			for _, field := range unused {
				if isOwn(field) {
					own = append(own, field)
				}
			}
			unused = slices.DeleteFunc(unused, isOwn)
			template, err := renderObject(object, own)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
			text.WriteString("---\n" + template)
		}
		files["templates/"+component.name+".yaml"] = conditional(component.condition, text.String())
	}
	if len(unused) > 0 {
		return nil, fmt.Errorf("no object has these fields: %v", unused)
	}
	return files, nil
}

// placeholder matches a line whose value stands for a field. YAML needs no quotes for it.
var placeholder = regexp.MustCompile(`(?m)^( *)(.*)chart-field-(\d+)-\n`)

// renderObject returns the template of the object with these fields.
func renderObject(object *unstructured.Unstructured, fields []field) (string, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var patch []operation
	for i := range fields {
		if strings.Contains(fields[i].value, current) {
			value, err := currentValue(object, fields[i].path)
			if err != nil {
				return "", err
			}
			fields[i].value = strings.ReplaceAll(fields[i].value, current, value)
		}
		op := "replace" // fails if there is no such field
		if fields[i].condition != "" {
			op = "add"
		}
		patch = append(patch, operation{op, fields[i].path, fmt.Sprintf("chart-field-%d-", i)})
	}
	patched, err := applyPatch(object, patch)
	if err != nil {
		return "", err
	}
	text, err := yaml.JSONToYAML(patched)
	if err != nil {
		return "", err
	}
	escaped := strings.ReplaceAll(string(text), "{{", `{{ "{{" }}`)
	return placeholder.ReplaceAllStringFunc(escaped, func(line string) string {
		parts := placeholder.FindStringSubmatch(line)
		i, _ := strconv.Atoi(parts[3])
		return indent(parts[1], conditional(fields[i].condition, parts[2]+fields[i].value+"\n"))
	}), nil
}

func applyPatch(object *unstructured.Unstructured, operations any) ([]byte, error) {
	original, err := json.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(operations)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, err
	}
	return patch.Apply(original)
}

// currentValue returns what the object has at the path, as JSON. The path leads through maps.
func currentValue(object *unstructured.Unstructured, path string) (string, error) {
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, strings.Split(path, "/")[1:]...)
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("%s does not exist", path)
	}
	encoded, err := json.Marshal(value)
	return string(encoded), err
}

// conditional returns the template with the condition around it.
func conditional(condition, template string) string {
	if condition == "" {
		return template
	}
	return "{{- " + condition + " }}\n" + template + "{{- end }}\n"
}

// indent indents every line.
func indent(indentation, text string) string {
	var indented strings.Builder
	for line := range strings.Lines(text) {
		indented.WriteString(indentation + line)
	}
	return indented.String()
}
