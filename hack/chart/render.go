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
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"sigs.k8s.io/yaml"
)

// static are the parts of the chart that are written by hand.
//
//go:embed static
var static embed.FS

// addStaticFiles adds the files that no object determines.
func (g *generator) addStaticFiles(files map[string]string, d *defaults) error {
	order, err := json.Marshal(d.flagOrder)
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("DEFAULT_FLAGS", string(order), "VERSION", g.version, "APP_TAG", d.tag)
	for name, source := range map[string]string{
		"Chart.yaml": "Chart.yaml", "README.md": "README.md",
		"templates/_helpers.tpl": "helpers.tpl", "templates/NOTES.txt": "NOTES.txt",
	} {
		content, err := static.ReadFile("static/" + source)
		if err != nil {
			return err
		}
		files[name] = fill.Replace(string(content))
	}
	return nil
}

// values are all values of the chart. Those of a group follow each other.
type values []value

// render adds the values, their schema, and their table in the README.
func (v values) render(files map[string]string) error {
	var err error
	if files["values.yaml"], err = v.yaml(); err != nil {
		return err
	}
	if files["values.schema.json"], err = v.schema(); err != nil {
		return err
	}
	table, err := v.table()
	files["README.md"] += table
	return err
}

// yaml returns values.yaml.
func (v values) yaml() (string, error) {
	var text strings.Builder
	lastGroup := ""
	for i := range v {
		group, name := v[i].groupAndName()
		indentation := ""
		if group != "" {
			indentation = "  "
		}
		if group == "" || group != lastGroup {
			text.WriteString("\n")
		}
		if group != lastGroup && group != "" {
			text.WriteString(group + ":\n")
		}
		lastGroup = group
		entry, err := yaml.Marshal(map[string]any{name: v[i].initial})
		if err != nil {
			return "", err
		}
		text.WriteString(indent(indentation, comment(v[i].description)+string(entry)))
	}
	return strings.TrimPrefix(text.String(), "\n"), nil
}

// comment returns the text as a comment of lines with at most 100 characters.
func comment(text string) string {
	const width = 100
	line, lines := "#", ""
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) >= width && line != "#" {
			lines += line + "\n"
			line = "#"
		}
		line += " " + word
	}
	return lines + line + "\n"
}

// groupAndName splits the path. The group may be empty.
func (v *value) groupAndName() (group, name string) {
	if group, name, found := strings.Cut(v.path, "."); found {
		return group, name
	}
	return "", v.path
}

// schema returns values.schema.json. A chart that has this one as a dependency sets global, and may set enabled.
func (v values) schema() (string, error) {
	properties := schema{"global": schema{"type": "object"}, "enabled": boolSchema}
	for i := range v {
		described := schema{"description": v[i].description}
		maps.Copy(described, v[i].schema)
		group, name := v[i].groupAndName()
		if group == "" {
			properties[name] = described
			continue
		}
		if properties[group] == nil {
			properties[group] = schema{"type": "object", "additionalProperties": false, "properties": schema{}}
		}
		properties[group].(schema)["properties"].(schema)[name] = described
	}
	root := schema{
		"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
		"properties": properties, "allOf": []schema{policyRequiresImpersonation, replicasRequireLeaderElection},
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(root)
	return encoded.String(), err
}

// Schemas of values that depend on each other.
var (
	policyRequiresImpersonation = schema{
		"if":   schema{"properties": schema{"policy": schema{"properties": schema{"enabled": schema{"const": true}}, "required": []string{"enabled"}}}},
		"then": schema{"properties": schema{"impersonation": schema{"properties": schema{"enabled": schema{"const": true}}}}},
	}
	replicasRequireLeaderElection = schema{
		"if":   schema{"properties": schema{"replicas": schema{"minimum": 2}}},
		"then": schema{"properties": schema{"flags": schema{"properties": schema{"leader-elect": schema{"const": true}}, "required": []string{"leader-elect"}}}},
	}
)

// table returns the values as a table in Markdown.
func (v values) table() (string, error) {
	var text strings.Builder
	text.WriteString("| value | default | meaning |\n|---|---|---|\n")
	for i := range v {
		initial, err := json.Marshal(v[i].initial)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "| `%s` | `%s` | %s |\n", v[i].path, initial, v[i].description)
	}
	return text.String(), nil
}
