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

package planner

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// MayKeepFields reports whether the API server may have kept the former value of a field that an update of the copy changed,
// although it responded with success. It is known not to have when each field got the value of the template, or when it
// changed the value of this copy before, for an earlier template, and got another one now.
func (t *Template) MayKeepFields(before, updated *Observed) bool {
	changed := before.Digests.Differing(updated.Digests)
	return slices.ContainsFunc(t.Digests.Differing(updated.Digests), func(field string) bool {
		return field != MetadataField && (before.AcceptedDigests == "" || !slices.Contains(changed, field))
	})
}

// KeptFields returns the paths of the fields of which the API server keeps the former value: an update did not give them the
// value of the template, but a create does. A field that admission or a default changes has the same value after both.
func (c *Cleaner) KeptFields(t *Template, updated, created *unstructured.Unstructured) ([]string, error) {
	template := make(map[string]any, len(t.Content))
	for field, encoded := range t.Content {
		var value any
		if err := utiljson.Unmarshal(encoded, &value); err != nil {
			return nil, fmt.Errorf("decoding field %s of the template: %w", field, err)
		}
		template[field] = value
	}
	return keptPaths("", template, c.copyContent(t.Resource, updated), c.copyContent(t.Resource, created)), nil
}

// keptPaths returns the paths below a field, given its values. An absent value is nil.
func keptPaths(path string, template, updated, created any) []string {
	if reflect.DeepEqual(template, updated) {
		return nil
	}
	wanted, isMap := template.(map[string]any)
	got, bothMaps := updated.(map[string]any)
	if !isMap || !bothMaps {
		return keptItems(path, template, updated, created)
	}
	fresh, _ := created.(map[string]any)
	var kept []string
	for _, field := range slices.Sorted(maps.Keys(mergeMaps(wanted, got))) {
		child := field
		if path != "" {
			child = path + "." + field
		}
		kept = append(kept, keptPaths(child, wanted[field], got[field], fresh[field])...)
	}
	return kept
}

// keptItems returns the paths below a list, or the path of any other value.
func keptItems(path string, template, updated, created any) []string {
	wanted, _ := template.([]any)
	got, _ := updated.([]any)
	fresh, _ := created.([]any)
	if len(wanted) == 0 || len(wanted) != len(got) || len(wanted) != len(fresh) {
		if reflect.DeepEqual(template, created) {
			return []string{path}
		}
		return nil
	}
	var kept []string
	for i := range wanted {
		kept = append(kept, keptPaths(fmt.Sprintf("%s[%d]", path, i), wanted[i], got[i], fresh[i])...)
	}
	return kept
}
