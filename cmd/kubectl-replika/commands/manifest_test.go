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
	"strings"
	"testing"
)

const replikaManifest = `
apiVersion: replika.prosimcorp.com/v1alpha1
kind: Replika
metadata: {name: settings}
spec:
  source: {version: v1, kind: ConfigMap, name: settings}
  target: {namespaces: {matchAll: true}}
`

func TestParseReplika(t *testing.T) {
	cases := map[string]struct{ manifest, wantErr string }{
		"YAML":                     {manifest: replikaManifest},
		"comments and blank parts": {manifest: "# a comment\n---\n" + replikaManifest + "---\n# the end\n---\n"},
		"JSON":                     {manifest: `{"apiVersion": "replika.prosimcorp.com/v1alpha1", "kind": "Replika", "metadata": {"name": "settings"}}`},
		"empty":                    {wantErr: "no Replika in it"},
		"several documents":        {manifest: replikaManifest + "---" + replikaManifest, wantErr: "several documents"},
		"another kind":             {manifest: "apiVersion: v1\nkind: ConfigMap", wantErr: "it is no Replika of replika.prosimcorp.com/v1alpha1, but ConfigMap of v1"},
		"no kind":                  {manifest: "some: thing", wantErr: "it is no Replika"},
		"another version":          {manifest: strings.Replace(replikaManifest, "v1alpha1", "v2", 1), wantErr: "but Replika of replika.prosimcorp.com/v2"},
		"unknown field":            {manifest: strings.Replace(replikaManifest, "matchAll", "all", 1), wantErr: `unknown field "all"`},
		"no name":                  {manifest: strings.Replace(replikaManifest, "name: settings", "labels: {}", 1), wantErr: "set metadata.name"},
		"no YAML":                  {manifest: "{", wantErr: "yaml"},
	}
	for name, testCase := range cases {
		t.Run(name, func(t *testing.T) {
			replika, err := parseReplika([]byte(testCase.manifest))
			if testCase.wantErr == "" {
				if err != nil || replika.Name != "settings" {
					t.Errorf("got %v, %v", replika, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), testCase.wantErr) {
				t.Errorf("got the error %v, want %s", err, testCase.wantErr)
			}
		})
	}
}
