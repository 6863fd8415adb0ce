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

// Command health tells what GitOps tools make of objects.
//
//	health SCRIPT FILE    prints, for the object in FILE, what Argo CD's health check SCRIPT (Lua) and kstatus say
package main

import (
	"errors"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: health SCRIPT FILE")
	}
	script, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	content, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := yaml.Unmarshal(content, &object); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	argo, err := argoCD(string(script), object)
	if err != nil {
		return err
	}
	flux, err := kstatus(object)
	if err != nil {
		return err
	}
	fmt.Println(argo, flux)
	return nil
}

// argoCDStatuses are what a health check may say.
var argoCDStatuses = map[string]bool{"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true}

// argoCD runs a health check as Argo CD does: with the object as the global obj; it returns a table with status and message.
func argoCD(script string, object map[string]any) (string, error) {
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", errors.New("the health check returns no table")
	}
	if _, ok := health.RawGetString("message").(lua.LString); !ok {
		return "", errors.New("the health check gives no message")
	}
	said := health.RawGetString("status").String()
	if !argoCDStatuses[said] {
		return "", fmt.Errorf("the health check says %q, which Argo CD does not know", said)
	}
	return said, nil
}

// toLua is a value of JSON as Lua has it.
func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// kstatus is what Flux waits by.
func kstatus(object map[string]any) (string, error) {
	// Unstructured objects have whole numbers as int64.
	encoded, err := yaml.Marshal(object)
	if err != nil {
		return "", err
	}
	encoded, err = yaml.YAMLToJSON(encoded)
	if err != nil {
		return "", err
	}
	decoded := &unstructured.Unstructured{}
	if err := decoded.UnmarshalJSON(encoded); err != nil {
		return "", err
	}
	result, err := status.Compute(decoded)
	if err != nil {
		return "", err
	}
	return result.Status.String(), nil
}
