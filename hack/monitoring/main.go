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

// Command monitoring looks after config/prometheus.
//
//	monitoring rules FILE            prints a PrometheusRule as the plain file that promtool takes
//	monitoring check METRICS FILES   names what the PrometheusRules and dashboards ask for and the metrics lack
//
// METRICS is what the operator's metrics endpoint answered.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "rules":
		rule, err := readRule(args[1])
		if err != nil {
			return err
		}
		plain, err := yaml.Marshal(rule.Spec)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(plain)
		return err
	case len(args) >= 3 && args[0] == "check":
		return checkFiles(args[1], args[2:])
	default:
		return errors.New("usage: monitoring rules FILE | monitoring check METRICS FILES")
	}
}

// checkFiles fails if an expression in the files asks for what the metrics do not have.
func checkFiles(metrics string, files []string) error {
	exposed, err := readMetrics(metrics)
	if err != nil {
		return err
	}
	var unknown []string
	asked := 0
	for _, file := range files {
		questions, err := readQuestions(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(questions) == 0 {
			return fmt.Errorf("%s: asks for nothing", file)
		}
		for _, q := range questions {
			missing, err := q.missing(exposed)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", file, q.expression, err)
			}
			asked++
			for _, m := range missing {
				unknown = append(unknown, fmt.Sprintf("%s: %s: %s", file, q.expression, m))
			}
		}
	}
	if len(unknown) > 0 {
		return errors.New(strings.Join(unknown, "\n"))
	}
	fmt.Printf("%d expressions ask for metrics and labels that exist\n", asked)
	return nil
}
