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
		former, err := c.diffable(before)
		if err != nil {
			return err
		}
		next, err := c.diffable(after)
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

// diffable returns the object as YAML, with masked values if it is a Secret. What differs stays different.
func (c *planCommand) diffable(object *unstructured.Unstructured) (string, error) {
	if object == nil {
		return "", nil
	}
	if !c.showValues {
		object = object.DeepCopy()
		maskSecret(object)
	}
	content, err := yaml.Marshal(object.Object)
	return string(content), err
}
