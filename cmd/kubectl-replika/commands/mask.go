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
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// maskedValue replaces each value of a Secret.
const maskedValue = "***"

// lastApplied is in the keys of annotations that have the whole object as somebody applied it.
const lastApplied = "last-applied"

// maskSecret replaces the values of a Secret, also where annotations repeat them. Other objects stay as they are.
func maskSecret(object *unstructured.Unstructured) {
	if !isSecret(object) {
		return
	}
	var values []string
	for _, field := range secretFields {
		entries, _ := object.Object[field].(map[string]any)
		for key, value := range entries {
			values = append(values, forms(value)...)
			entries[key] = maskedValue
		}
	}
	annotations := object.GetAnnotations()
	for key, text := range annotations {
		if strings.Contains(key, lastApplied) || !strings.HasPrefix(key, v1alpha1.KeyPrefix) && containsAny(text, values) {
			annotations[key] = maskedValue
		}
	}
	object.SetAnnotations(annotations)
}

// secretFields are the fields of a Secret with values.
var secretFields = []string{"data", "stringData"}

func isSecret(object *unstructured.Unstructured) bool {
	kind := object.GroupVersionKind()
	return kind.Group == "" && kind.Kind == "Secret"
}

// forms returns the value of an entry, and what it encodes.
func forms(value any) []string {
	text, _ := value.(string)
	if text == "" {
		return nil
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(decoded) == 0 {
		return []string{text}
	}
	return []string{text, string(decoded)}
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
