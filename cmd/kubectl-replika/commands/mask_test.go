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
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestMaskSecret(t *testing.T) {
	secret := func(annotations, data, stringData map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data, "stringData": stringData,
			"metadata": map[string]any{"name": "x", "annotations": annotations},
		}
	}
	cases := map[string]struct{ object, want map[string]any }{
		"values": {
			secret(nil, map[string]any{"password": "czNjcjN0", "empty": ""}, map[string]any{"user": "me"}),
			secret(nil, map[string]any{"password": "***", "empty": "***"}, map[string]any{"user": "***"}),
		},
		"values in annotations": {
			secret(map[string]any{"a": "is s3cr3t!", "b": "czNjcjN0", "c": "harmless"}, map[string]any{"password": "czNjcjN0"}, nil),
			secret(map[string]any{"a": "***", "b": "***", "c": "harmless"}, map[string]any{"password": "***"}, nil),
		},
		"the object as somebody applied it": {
			secret(map[string]any{"example.com/last-applied-configuration": "of an older password"}, nil, nil),
			secret(map[string]any{"example.com/last-applied-configuration": "***"}, nil, nil),
		},
		"marks stay": {
			secret(map[string]any{"replika.prosimcorp.com/marks-version": "1"}, map[string]any{"one": "MQ=="}, nil),
			secret(map[string]any{"replika.prosimcorp.com/marks-version": "1"}, map[string]any{"one": "***"}, nil),
		},
		"other kinds": {
			map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"key": "value"}},
			map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"key": "value"}},
		},
		"a kind of another group": {
			map[string]any{"apiVersion": "example.com/v1", "kind": "Secret", "data": map[string]any{"key": "value"}},
			map[string]any{"apiVersion": "example.com/v1", "kind": "Secret", "data": map[string]any{"key": "value"}},
		},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: testCase.object}
			maskSecret(object)
			if diff := cmp.Diff(withoutEmpty(testCase.want), withoutEmpty(object.Object)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// withoutEmpty drops empty maps, which say the same as none.
func withoutEmpty(object map[string]any) map[string]any {
	for key, value := range object {
		if nested, isMap := value.(map[string]any); isMap && len(withoutEmpty(nested)) == 0 {
			delete(object, key)
		}
	}
	return object
}
