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

// Command chart generates the Helm chart from what Kustomize builds, so that both install the same objects. `make chart` runs it.
//
// Templates are the objects with a template expression in the place of each field that a value of the chart sets. The values, with
// their schema and the table of the README, are one list. The flags in the schema are those that the operator prints.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	g := &generator{}
	flag.StringVar(&g.version, "version", "", "the version of the chart, such as 0.5.0")
	flag.StringVar(&g.input, "input", filepath.Join("bin", "chart"), "the folder of what Kustomize builds, and of the operator's --help")
	flag.StringVar(&g.output, "output", filepath.Join("charts", "replika"), "the folder of the chart")
	flag.Parse()
	if err := g.generate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// generator generates the chart.
type generator struct {
	version       string
	input, output string
}

func (g *generator) generate() error {
	components, err := g.readComponents()
	if err != nil {
		return err
	}
	flags, err := g.readFlags()
	if err != nil {
		return err
	}
	defaults, err := findDefaults(components)
	if err != nil {
		return err
	}
	values := chartValues(defaults, flags)
	files, err := renderTemplates(components)
	if err != nil {
		return err
	}
	if err := g.addStaticFiles(files, defaults); err != nil {
		return err
	}
	if err := values.render(files); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(g.output, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
