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

// Command health evaluates the health of an object as GitOps tools do.
//
//	health CHECK FILE    prints the Argo CD health status and the kstatus of the object in FILE
//
// CHECK is the Lua code of a custom Argo CD health check. Flux uses kstatus. The tests run the check in config/argocd on its
// test data, which have the form of Argo CD's own.
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
		return errors.New("usage: health CHECK FILE")
	}
	check, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := readYAML(args[1], &object); err != nil {
		return err
	}
	health, err := argoCD(string(check), object)
	if err != nil {
		return err
	}
	fluxStatus, err := kstatus(object)
	if err != nil {
		return err
	}
	fmt.Println(health.Status, fluxStatus)
	return nil
}

func readYAML(file string, into any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		return fmt.Errorf("parsing %s: %w", file, err)
	}
	return nil
}

// healthStatus is what Argo CD shows of an object.
type healthStatus struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// argoCDStatuses are the health statuses that a health check can return.
var argoCDStatuses = map[string]bool{"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true}

// argoCD runs a health check as Argo CD does: obj is a global variable, and the result is a table with status and message.
func argoCD(check string, object map[string]any) (healthStatus, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	if err := openLibraries(state); err != nil {
		return healthStatus{}, err
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(check); err != nil {
		return healthStatus{}, err
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return healthStatus{}, errors.New("the health check did not return a table")
	}
	message, ok := result.RawGetString("message").(lua.LString)
	if !ok {
		return healthStatus{}, errors.New("the health check did not return a message")
	}
	health := healthStatus{Status: result.RawGetString("status").String(), Message: string(message)}
	if !argoCDStatuses[health.Status] {
		return healthStatus{}, fmt.Errorf("the health check returned %q, which is not a health status of Argo CD", health.Status)
	}
	return health, nil
}

// openLibraries opens the libraries that Argo CD gives to health checks, except its reduced version of os.
func openLibraries(state *lua.LState) error {
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return fmt.Errorf("opening the library %q: %w", name, err)
		}
	}
	return nil
}

// toLua converts a JSON value to Lua.
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

// kstatus computes the status that Flux waits for.
func kstatus(object map[string]any) (string, error) {
	// Unstructured objects need integers as int64, which the Kubernetes decoder returns.
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
