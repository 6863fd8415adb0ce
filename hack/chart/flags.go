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
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// operatorFlag is a flag of the operator, as package flag prints it.
type operatorFlag struct {
	name, usage string
	// kind is the type that package flag prints: "int", "string", "value" (which can be repeatable), or "" for a bool.
	kind string
}

var flagUsage = regexp.MustCompile(`(?m)^  -([a-z0-9-]+)(?: (\w+))?(?:\n    )?\t(.*)$`)

// notConfigurable are flags that make no sense in a Deployment.
var notConfigurable = map[string]bool{"version": true, "kubeconfig": true}

// readFlags reads the operator's flags from the output of --help.
func (g *generator) readFlags() ([]operatorFlag, error) {
	path := filepath.Join(g.input, "flags.txt")
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var flags []operatorFlag
	for _, match := range flagUsage.FindAllStringSubmatch(string(content), -1) {
		if !notConfigurable[match[1]] {
			flags = append(flags, operatorFlag{name: match[1], kind: match[2], usage: match[3]})
		}
	}
	if len(flags) == 0 {
		return nil, fmt.Errorf("%s has no flags", path)
	}
	return flags, nil
}

// schema returns the schema of the flag's value.
func (f *operatorFlag) schema() schema {
	s := schema{"description": f.usage}
	switch f.kind {
	case "":
		s["type"] = "boolean"
	case "int":
		s["type"] = "integer"
	case "value": // can be repeatable
		s["type"] = []string{"string", "integer", "array"}
		s["items"] = schema{"type": "string"}
	default:
		s["type"] = []string{"string", "integer"}
	}
	return s
}

// parseArgs returns the values of the arguments by flag, and the flags in their order. A flag that is repeated has a list.
func parseArgs(args []string) (values map[string]any, order []string, err error) {
	values = map[string]any{}
	for _, arg := range args {
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag {
			return nil, nil, fmt.Errorf("%q is not a flag", arg)
		}
		name, value, hasValue := strings.Cut(name, "=")
		switch existing := values[name].(type) {
		case nil:
			order = append(order, name)
			values[name] = value
			if !hasValue {
				values[name] = true
			}
		case []string:
			values[name] = append(existing, value)
		case string:
			values[name] = []string{existing, value}
		default:
			return nil, nil, fmt.Errorf("--%s is repeated without a value", name)
		}
	}
	return values, order, nil
}
