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

// write makes a file of the content, and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMissing(t *testing.T) {
	exposed, err := readMetrics(write(t, "metrics.txt", exposition))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		question
		want []string
	}{
		"all is there": {
			question: question{expression: `max by (namespace, name) (replika_ready) == 0`, shown: []string{"name"}},
		},
		"parts of a histogram": {
			question: question{expression: `histogram_quantile(0.5, sum by (le) (rate(replika_propagation_seconds_bucket[5m])))`},
		},
		"what Prometheus adds": {
			question: question{expression: `absent(up{job="replika"} == 1)`, shown: []string{"pod"}},
		},
		"no such metric": {
			question: question{expression: `replika_redy > 0`},
			want:     []string{`there is no metric "replika_redy"`},
		},
		"a matcher's label": {
			question: question{expression: `replika_ready{kind="Secret"}`},
			want:     []string{`metric replika_ready has no label "kind"`},
		},
		"a grouping's label": {
			question: question{expression: `sum by (kind) (replika_ready)`},
			want:     []string{`metric replika_ready has no label "kind"`},
		},
		"a join's label": {
			question: question{expression: `replika_ready * on (kind) up`},
			want:     []string{`metric replika_ready has no label "kind"`, `metric up has no label "kind"`},
		},
		"a legend's label": {
			question: question{expression: `replika_ready`, shown: []string{"kind"}},
			want:     []string{`no metric of it has the label "kind", which is shown`},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := test.missing(exposed)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("missing: %q, want %q", got, test.want)
			}
		})
	}
}

func TestReadQuestions(t *testing.T) {
	cases := map[string]struct {
		file, content string
		want          []question
	}{
		"a rule": {
			file: "rule.yaml",
			content: `{kind: PrometheusRule, spec: {groups: [{name: it, rules: [
				{alert: It, expr: replika_ready == 0, annotations: {summary: "{{ $labels.name }} is at {{ $value }}"}}]}]}}`,
			want: []question{{expression: "replika_ready == 0", shown: []string{"name"}}},
		},
		"a dashboard": {
			file: "dashboard.json",
			content: `{"templating": {"list": [{"type": "datasource", "query": "prometheus"},
					{"type": "query", "query": "label_values(replika_ready, namespace)"}]},
				"panels": [{"targets": [{"expr": "rate(replika_writes_total[$__rate_interval])", "legendFormat": "{{result}}"}]}]}`,
			want: []question{
				{expression: "replika_ready", shown: []string{"namespace"}},
				{expression: "rate(replika_writes_total[5m])", shown: []string{"result"}},
			},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readQuestions(write(t, test.file, test.content))
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
	metrics := write(t, "metrics.txt", exposition)
	empty := write(t, "empty.yaml", "{}")
	if err := checkFiles(metrics, []string{empty}); err == nil {
		t.Error("a file that asks for nothing passes")
	}
	wrong := write(t, "rule.yaml", `{spec: {groups: [{rules: [{alert: It, expr: replika_redy}]}]}}`)
	if err := checkFiles(metrics, []string{wrong}); err == nil {
		t.Error("a metric that does not exist passes")
	}
}
