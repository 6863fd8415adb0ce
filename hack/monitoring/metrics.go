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

// metricLabels has the labels of each metric, by the name that PromQL uses.
type metricLabels map[string]map[string]bool

// Prometheus itself adds the metric up, which reports whether a scrape succeeded, and labels that identify the target.
var (
	builtInMetrics = metricLabels{"up": {}}
	targetLabels   = []string{"job", "instance", "pod", "service", "endpoint", "container"}
)

// readMetrics parses a file in the Prometheus text format.
func readMetrics(file string) (metricLabels, error) {
	content, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer content.Close() // read-only, no error to handle
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(content)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", file, err)
	}
	found := maps.Clone(builtInMetrics)
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, family)
		if err != nil {
			return nil, fmt.Errorf("parsing %s: %w", file, err)
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

// has reports whether the metric has the label, from the operator or from Prometheus.
func (l metricLabels) has(metric, label string) bool {
	return l[metric][label] || slices.Contains(targetLabels, label)
}

// missing lists the metrics and labels that the expression uses and that do not exist.
func (e expression) missing(known metricLabels) ([]string, error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(e.promQL)
	if err != nil {
		return nil, err
	}
	var missing []string
	report := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if _, exists := known[selector.Name]; !exists {
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
			if !known.has(selector.Name, label) {
				report("metric %s has no label %q", selector.Name, label)
			}
		}
		return nil
	})
	for _, label := range e.displayed {
		if !slices.ContainsFunc(metricsOf(parsed), func(metric string) bool { return known.has(metric, label) }) {
			report("none of its metrics has the displayed label %q", label)
		}
	}
	return missing, nil
}

// grouping returns the labels by which the enclosing nodes of a selector group or match.
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

// metricsOf returns the metrics that an expression selects.
func metricsOf(expression parser.Expr) []string {
	var metrics []string
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			metrics = append(metrics, selector.Name)
		}
		return nil
	})
	return metrics
}
