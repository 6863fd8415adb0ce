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

package commands

import (
	"context"
	"fmt"

	"github.com/aymanbagabas/go-udiff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// printDiff prints how the copies of a plan in one namespace would change.
func (c *planCommand) printDiff(ctx context.Context, p *plan) error {
	for i := range p.Actions {
		action := &p.Actions[i]
		if action.Namespace != c.diff || !changes(action.Action) {
			continue
		}
		before, after, err := p.preview.Content(ctx, p.replika, action)
		if err != nil {
			return err
		}
		if !c.showValues {
			maskChanges(before, after)
		}
		former, err := diffable(before)
		if err != nil {
			return err
		}
		next, err := diffable(after)
		if err != nil {
			return err
		}
		title := action.Namespace + "/" + action.Name
		if _, err := fmt.Fprintf(c.Out, "\n%s", udiff.Unified(title+" (now)", title+" (planned)", former, next)); err != nil {
			return err
		}
	}
	return nil
}

// maskChanges masks the values of a Secret in both objects, either of which can be nil. Values that differ stay different.
func maskChanges(before, after *unstructured.Unstructured) {
	changed := changedValues(before, after)
	for object, title := range map[*unstructured.Unstructured]string{before: " (now)", after: " (planned)"} {
		if object == nil {
			continue
		}
		maskSecret(object)
		for _, path := range changed {
			if _, found, _ := unstructured.NestedString(object.Object, path...); found {
				_ = unstructured.SetNestedField(object.Object, maskedValue+title, path...) // the map is there
			}
		}
	}
}

// changedValues returns the paths of the values of a Secret that two objects have, and that differ.
func changedValues(before, after *unstructured.Unstructured) (paths [][]string) {
	if before == nil || after == nil || !isSecret(before) {
		return nil
	}
	for _, field := range secretFields {
		former, _, _ := unstructured.NestedMap(before.Object, field)
		for key, value := range former {
			if next, found, _ := unstructured.NestedFieldNoCopy(after.Object, field, key); found && next != value {
				paths = append(paths, []string{field, key})
			}
		}
	}
	return paths
}

// diffable returns the object as YAML; empty if there is none.
func diffable(object *unstructured.Unstructured) (string, error) {
	if object == nil {
		return "", nil
	}
	content, err := yaml.Marshal(object.Object)
	return string(content), err
}
