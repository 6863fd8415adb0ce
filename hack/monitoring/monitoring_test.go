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
	"reflect"
	"testing"
)

const exposition = `# TYPE replika_ready gauge
replika_ready{namespace="shop",name="ca"} 1
# TYPE replika_propagation_seconds histogram
replika_propagation_seconds_bucket{le="+Inf"} 1
replika_propagation_seconds_sum 0.1
replika_propagation_seconds_count 1
`

// writeFile creates a file and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExpression_Missing(t *testing.T) {
	known, err := readMetrics(writeFile(t, "metrics.txt", exposition))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		expression
		want []string
	}{
		"existing metric and labels": {
			expression: expression{promQL: `max by (namespace, name) (replika_ready) == 0`, displayed: []string{"name"}},
		},
		"buckets of a histogram": {
			expression: expression{promQL: `histogram_quantile(0.5, sum by (le) (rate(replika_propagation_seconds_bucket[5m])))`},
		},
		"metric and label of Prometheus": {
			expression: expression{promQL: `absent(up{job="replika"} == 1)`, displayed: []string{"pod"}},
		},
		"unknown metric": {
			expression: expression{promQL: `replika_redy > 0`},
			want:       []string{`there is no metric "replika_redy"`},
		},
		"unknown label in a matcher": {
			expression: expression{promQL: `replika_ready{kind="Secret"}`},
			want:       []string{`metric replika_ready has no label "kind"`},
		},
		"unknown label in a grouping": {
			expression: expression{promQL: `sum by (kind) (replika_ready)`},
			want:       []string{`metric replika_ready has no label "kind"`},
		},
		"unknown label in a join": {
			expression: expression{promQL: `replika_ready * on (kind) up`},
			want:       []string{`metric replika_ready has no label "kind"`, `metric up has no label "kind"`},
		},
		"unknown displayed label": {
			expression: expression{promQL: `replika_ready`, displayed: []string{"kind"}},
			want:       []string{`none of its metrics has the displayed label "kind"`},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := test.missing(known)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("missing = %q, want %q", got, test.want)
			}
		})
	}
}

func TestReadExpressions(t *testing.T) {
	cases := map[string]struct {
		file, content string
		want          []expression
	}{
		"PrometheusRule": {
			file: "rule.yaml",
			content: `{kind: PrometheusRule, spec: {groups: [{name: it, rules: [
				{alert: It, expr: replika_ready == 0, annotations: {summary: "{{ $labels.name }} is at {{ $value }}"}}]}]}}`,
			want: []expression{{promQL: "replika_ready == 0", displayed: []string{"name"}}},
		},
		"dashboard": {
			file: "dashboard.json",
			content: `{"templating": {"list": [{"type": "datasource", "query": "prometheus"},
					{"type": "query", "query": "label_values(replika_ready, namespace)"}]},
				"panels": [{"targets": [{"expr": "rate(replika_writes_total[$__rate_interval])", "legendFormat": "{{result}}"}]}]}`,
			want: []expression{
				{promQL: "replika_ready", displayed: []string{"namespace"}},
				{promQL: "rate(replika_writes_total[5m])", displayed: []string{"result"}},
			},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readExpressions(writeFile(t, test.file, test.content))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("read %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestCheckFiles(t *testing.T) {
	metrics := writeFile(t, "metrics.txt", exposition)
	empty := writeFile(t, "empty.yaml", "{}")
	if err := checkFiles(metrics, []string{empty}); err == nil {
		t.Error("checkFiles accepted a file without expressions")
	}
	wrong := writeFile(t, "rule.yaml", `{spec: {groups: [{rules: [{alert: It, expr: replika_redy}]}]}}`)
	if err := checkFiles(metrics, []string{wrong}); err == nil {
		t.Error("checkFiles accepted an unknown metric")
	}
}
