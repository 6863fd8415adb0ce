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
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A change of config/ that the chart would lose is an error.
func TestGenerate_Errors(t *testing.T) {
	for name, test := range map[string]struct {
		manifests string
		want      string
	}{
		"kind_without_a_component": {"{apiVersion: v1, kind: Secret, metadata: {name: new}}", "no component of the chart has this kind"},
		"no_deployment":            {"{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: replika}}", "has no Deployment"},
		"argument_without_a_name":  {deployment("[start]", "a:v1"), `"start" is not a flag`},
		"image_without_a_tag":      {deployment("[]", "a"), "has no tag"},
		"field_without_an_object":  {deployment("[]", "a:v1"), "no object has these fields"},
		"other_namespace": {
			deployment("[]", "a:v1") + "\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: other}}", `is "other"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := &generator{version: "1.2.3", input: t.TempDir(), output: t.TempDir()}
			for _, component := range newComponents() {
				writeFile(t, filepath.Join(g.input, component.name+".yaml"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")
			}
			writeFile(t, filepath.Join(g.input, base+".yaml"), test.manifests)
			writeFile(t, filepath.Join(g.input, "flags.txt"), "  -metrics-secure\n    \tServe over TLS.\n")
			if err := g.generate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func deployment(args, image string) string {
	return "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{args: " + args + ", image: '" + image + "'}]}}}}"
}

func TestRenderObject(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Rule", "items": []any{"{{ $value }}", "a {{ $value }}"}, "labels": map[string]any{"a": "b"}, "replicas": int64(2),
	}}
	got, err := renderObject(object, []field{
		{path: "/replicas", value: "{{ toJson .Values.replicas }}"},
		{path: "/labels", value: merged(".Values.labels")},
		{path: "/items/-", value: "{{ . }}", condition: "range .Values.items"},
	})
	want := `items:
- '{{ "{{" }} $value }}'
- a {{ "{{" }} $value }}
{{- range .Values.items }}
- {{ . }}
{{- end }}
kind: Rule
labels: {{ merge (fromJson ` + "`" + `{"a":"b"}` + "`" + `) .Values.labels | toJson }}
replicas: {{ toJson .Values.replicas }}
`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
	if _, err := renderObject(object, []field{{path: "/spec/missing", value: "x"}}); err == nil {
		t.Error("a field that does not exist is replaced")
	}
}

func TestReadFlags(t *testing.T) {
	g := &generator{input: t.TempDir()}
	writeFile(t, filepath.Join(g.input, "flags.txt"), `Usage of replika:
  -drop-key value
    	A key to strip. Repeatable.
  -leader-elect
    	Enable leader election.
  -max-concurrent-writes int
    	Maximum number of writes. (default 16)
  -version
    	Print the version and exit.
  -x	Short.
`)
	got, err := g.readFlags()
	want := []operatorFlag{
		{"drop-key", "A key to strip. Repeatable.", "value"},
		{"leader-elect", "Enable leader election.", ""},
		{"max-concurrent-writes", "Maximum number of writes. (default 16)", "int"},
		{"x", "Short.", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(operatorFlag{})); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
}
