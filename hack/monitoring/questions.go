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

// question is an expression of PromQL, and the labels of its answer that are shown.
type question struct {
	expression string
	shown      []string
}

// prometheusRule is what matters here of the Prometheus operator's resource of that name.
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

// dashboard is what matters here of Grafana's.
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
	// labelInText is how annotations and legends name a label: {{ $labels.name }} or {{name}}.
	labelInText = regexp.MustCompile(`{{\s*(?:\$labels\.)?(\w+)\s*}}`)
	// labelValues is a dashboard's question for the values of a label, which is not PromQL.
	labelValues = regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`)
	// grafanaInterval is a duration that Grafana fills in.
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

func readQuestions(file string) ([]question, error) {
	if filepath.Ext(file) == ".json" {
		return dashboardQuestions(file)
	}
	found, err := readRule(file)
	if err != nil {
		return nil, err
	}
	var questions []question
	for _, group := range found.Spec.Groups {
		for _, rule := range group.Rules {
			q := question{expression: rule.Expr}
			for _, text := range rule.Annotations {
				q.shown = append(q.shown, labelsIn(text)...)
			}
			questions = append(questions, q)
		}
	}
	return questions, nil
}

func dashboardQuestions(file string) ([]question, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found dashboard
	if err := json.Unmarshal(content, &found); err != nil {
		return nil, err
	}
	var questions []question
	for _, variable := range found.Templating.List {
		if variable.Type != "query" {
			continue
		}
		match := labelValues.FindStringSubmatch(fmt.Sprint(variable.Query))
		if match == nil {
			return nil, fmt.Errorf("the variable's query is not label_values(metric, label): %v", variable.Query)
		}
		questions = append(questions, question{expression: match[1], shown: match[2:]})
	}
	for _, panel := range found.Panels {
		for _, target := range panel.Targets {
			questions = append(questions, question{
				expression: grafanaInterval.ReplaceAllString(target.Expr, "5m"), shown: labelsIn(target.LegendFormat),
			})
		}
	}
	return questions, nil
}

func labelsIn(text string) []string {
	var labels []string
	for _, match := range labelInText.FindAllStringSubmatch(text, -1) {
		labels = append(labels, match[1])
	}
	return labels
}
