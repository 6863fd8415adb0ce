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

package executor

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestRedact(t *testing.T) {
	secrets, configMaps := schema.GroupResource{Resource: "secrets"}, schema.GroupResource{Resource: "configmaps"}
	template := &planner.Template{Content: map[string]json.RawMessage{
		// "hunter22", "ab", binary, empty.
		"data": json.RawMessage(`{"password":"aHVudGVyMjI=","short":"YWI=","blob":"AP8A/w==","empty":""}`),
	}}
	tests := map[string]struct {
		resource     schema.GroupResource
		template     *planner.Template
		message      string
		wantPrefix   string // what remains of the message
		wantRedacted bool   // the rest of it is replaced
	}{
		"no value":                {secrets, template, "field is immutable", "field is immutable", false},
		"plain value":             {secrets, template, "bad value hunter22", "", true},
		"encoded value":           {secrets, template, "bad value aHVudGVyMjI=", "", true},
		"encoded binary value":    {secrets, template, "bad value AP8A/w==", "", true},
		"short value":             {secrets, template, "about", "about", false},
		"other kind":              {configMaps, template, "bad value hunter22", "bad value hunter22", false},
		"policy for other kind":   {configMaps, template, "p denied request: hunter22", "p denied request: hunter22", false},
		"other group":             {schema.GroupResource{Group: "x.io", Resource: "secrets"}, template, "hunter22", "hunter22", false},
		"no template":             {secrets, nil, "cannot delete", "cannot delete", false},
		"policy":                  {secrets, template, "p denied request: bad value", "p denied request: ", true},
		"policy without template": {secrets, nil, "p denied request: bad value", "p denied request: ", true},
		"webhook": {
			secrets, nil, `admission webhook "w" denied the request: bad value`, `admission webhook "w" denied the request: `, true,
		},
		"failing webhook": {
			secrets, nil, `Internal error occurred: failed calling webhook "w": bad value`,
			`Internal error occurred: failed calling webhook "w": `, true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := redact(test.resource, test.template, errors.New(test.message)).Error()
			rest, found := strings.CutPrefix(got, test.wantPrefix)
			if !found {
				t.Errorf("got %q, want prefix %q", got, test.wantPrefix)
			}
			if !test.wantRedacted && rest != "" {
				t.Errorf("got %q, want %q", got, test.wantPrefix)
			}
			if test.wantRedacted && (strings.Contains(rest, "bad value") || !strings.Contains(rest, "withheld")) {
				t.Errorf("got %q, want it redacted", got)
			}
		})
	}
}
