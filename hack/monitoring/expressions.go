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
	"os"
	"path/filepath"
	"regexp"

	"sigs.k8s.io/yaml"
)

// expression is a PromQL expression of an alert or a dashboard.
type expression struct {
	promQL string
	// displayed are the labels of the result that annotations or legends display.
	displayed []string
}

// prometheusRule has the fields of the Prometheus Operator's PrometheusRule that are used here.
type prometheusRule struct {
	Spec struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// dashboard has the fields of a Grafana dashboard that are used here.
type dashboard struct {
	Templating struct {
		List []struct {
			Type  string `json:"type"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		Title   string `json:"title"`
		Targets []struct {
			Expr         string `json:"expr"`
			LegendFormat string `json:"legendFormat"`
		} `json:"targets"`
	} `json:"panels"`
}

var (
	// labelReference matches labels in annotations and legends: {{ $labels.name }} or {{name}}.
	labelReference = regexp.MustCompile(`{{\s*(?:\$labels\.)?(\w+)\s*}}`)
	// labelValues matches the query of a dashboard variable, which is not PromQL.
	labelValues = regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`)
	// grafanaInterval matches the variables that Grafana replaces with a duration.
	grafanaInterval = regexp.MustCompile(`\$__(?:rate_interval|interval|range)`)
)

func readRule(file string) (*prometheusRule, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := &prometheusRule{}
	return found, yaml.Unmarshal(content, found)
}

// readExpressions reads all expressions of a dashboard (.json) or a PrometheusRule (.yaml).
func readExpressions(file string) ([]expression, error) {
	if filepath.Ext(file) == ".json" {
		return dashboardExpressions(file)
	}
	found, err := readRule(file)
	if err != nil {
		return nil, err
	}
	var expressions []expression
	for _, group := range found.Spec.Groups {
		for _, rule := range group.Rules {
			e := expression{promQL: rule.Expr}
			for _, text := range rule.Annotations {
				e.displayed = append(e.displayed, labelsIn(text)...)
			}
			expressions = append(expressions, e)
		}
	}
	return expressions, nil
}

func dashboardExpressions(file string) ([]expression, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found dashboard
	if err := json.Unmarshal(content, &found); err != nil {
		return nil, err
	}
	var expressions []expression
	for _, variable := range found.Templating.List {
		if variable.Type != "query" {
			continue
		}
		match := labelValues.FindStringSubmatch(fmt.Sprint(variable.Query))
		if match == nil {
			return nil, fmt.Errorf("unsupported query of a variable, want label_values(metric, label): %v", variable.Query)
		}
		expressions = append(expressions, expression{promQL: match[1], displayed: match[2:]})
	}
	for _, panel := range found.Panels {
		for _, target := range panel.Targets {
			expressions = append(expressions, expression{
				promQL: grafanaInterval.ReplaceAllString(target.Expr, "5m"), displayed: labelsIn(target.LegendFormat),
			})
		}
	}
	return expressions, nil
}

// labelsIn returns the labels that an annotation or a legend displays.
func labelsIn(text string) []string {
	var labels []string
	for _, match := range labelReference.FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}
