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
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// exposed are the labels of each metric, by its name as PromQL knows it.
type exposed map[string]map[string]bool

// byPrometheus is what Prometheus itself adds: the metric that says whether an instance answered, and the labels that say
// which one it is.
var (
	byPrometheus = exposed{"up": {}}
	targetLabels = []string{"job", "instance", "pod", "service", "endpoint", "container"}
)

func readMetrics(file string) (exposed, error) {
	content, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer content.Close() // only read
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	found := maps.Clone(byPrometheus)
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, family)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, sample := range samples {
			name := string(sample.Metric[model.MetricNameLabel])
			if found[name] == nil {
				found[name] = map[string]bool{}
			}
			for label := range sample.Metric {
				found[name][string(label)] = true
			}
		}
	}
	return found, nil
}

func (e exposed) has(metric, label string) bool {
	return e[metric][label] || slices.Contains(targetLabels, label)
}

// missing names the metrics and labels that the question is about and that are not exposed.
func (q question) missing(e exposed) ([]string, error) {
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(q.expression)
	if err != nil {
		return nil, err
	}
	var missing []string
	report := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if _, known := e[selector.Name]; !known {
			report("there is no metric %q", selector.Name)
			return nil
		}
		labels := grouping(path)
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != model.MetricNameLabel {
				labels = append(labels, matcher.Name)
			}
		}
		for _, label := range labels {
			if !e.has(selector.Name, label) {
				report("metric %s has no label %q", selector.Name, label)
			}
		}
		return nil
	})
	for _, label := range q.shown {
		if !slices.ContainsFunc(shownBy(expression), func(metric string) bool { return e.has(metric, label) }) {
			report("no metric of it has the label %q, which is shown", label)
		}
	}
	return missing, nil
}

// grouping are the labels by which what encloses a selector groups or matches it.
func grouping(path []parser.Node) []string {
	var labels []string
	for _, node := range path {
		switch node := node.(type) {
		case *parser.AggregateExpr:
			labels = append(labels, node.Grouping...)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				labels = append(labels, node.VectorMatching.MatchingLabels...)
			}
		}
	}
	return labels
}

// shownBy are the metrics of an expression.
func shownBy(expression parser.Expr) []string {
	var metrics []string
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			metrics = append(metrics, selector.Name)
		}
		return nil
	})
	return metrics
}
