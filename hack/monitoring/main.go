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

// Command monitoring checks the files in config/prometheus.
//
//	monitoring rules FILE              prints the rules of a PrometheusRule in the format of promtool
//	monitoring check METRICS FILE [FILE ...]   reports metrics and labels that the files use and that do not exist
//
// METRICS is a response of the operator's metrics endpoint. A FILE is a PrometheusRule or a dashboard.
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
		return errors.New("usage: monitoring rules FILE | monitoring check METRICS FILE [FILE ...]")
	}
}

// checkFiles returns an error if an expression in the files uses a metric or a label that does not exist.
func checkFiles(metrics string, files []string) error {
	known, err := readMetrics(metrics)
	if err != nil {
		return err
	}
	var unknown []string
	checked := 0
	for _, file := range files {
		expressions, err := readExpressions(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if len(expressions) == 0 {
			return fmt.Errorf("%s: contains no expressions", file)
		}
		for _, e := range expressions {
			missing, err := e.missing(known)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", file, e.promQL, err)
			}
			checked++
			for _, m := range missing {
				unknown = append(unknown, fmt.Sprintf("%s: %s: %s", file, e.promQL, m))
			}
		}
	}
	if len(unknown) > 0 {
		return errors.New(strings.Join(unknown, "\n"))
	}
	fmt.Printf("%d expressions checked: all metrics and labels exist\n", checked)
	return nil
}
