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
	"fmt"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestEscape(t *testing.T) {
	// The pointers of RFC 6901, section 5, and a label key.
	for key, want := range map[string]string{
		"": "", "foo": "foo", "a/b": "a~1b", "c%d": "c%d", "m~n": "m~0n", " ": " ", "~1": "~01", "~/~": "~0~1~0",
		"example.com/tier": "example.com~1tier",
	} {
		if got := escape(key); got != want {
			t.Errorf("escape(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestKeysOfAMap(t *testing.T) {
	tests := map[string]struct {
		exists bool
		keys   map[string]string
		stale  []string
		want   string
	}{
		"nothing to do":  {exists: true, want: `[]`},
		"an empty value": {exists: true, keys: map[string]string{"a": ""}, want: `[{"op":"add","path":"/m/a","value":""}]`},
		"in a fixed order": {
			exists: true, keys: map[string]string{"b": "2", "a": "1", "c/d": "<"},
			want: `[{"op":"add","path":"/m/a","value":"1"},{"op":"add","path":"/m/b","value":"2"},{"op":"add","path":"/m/c~1d","value":"\u003c"}]`,
		},
		"a map that is missing is made, if it is missing still": {
			keys: map[string]string{"a": "1"},
			want: `[{"op":"test","path":"/m","value":null},{"op":"add","path":"/m","value":{}},{"op":"add","path":"/m/a","value":"1"}]`,
		},
		"what may be absent is set before it is removed": {
			exists: true, stale: []string{"a/b"},
			want: `[{"op":"add","path":"/m/a~1b","value":null},{"op":"remove","path":"/m/a~1b"}]`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := setKeys("/m", test.exists, test.keys, test.stale).encode()
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// answers that no real API server gives at will. All others are met in the suite.
func TestClassify(t *testing.T) {
	configMaps := schema.GroupResource{Resource: "configmaps"}
	forbidden := func(sentence string) error {
		return apierrors.NewForbidden(configMaps, "settings", errors.New(sentence))
	}
	status := func(code int32) error { return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code}} }
	tests := map[string]struct {
		err  error
		want planner.Outcome
	}{
		"no answer":                   {errors.New("broken pipe"), planner.Unavailable},
		"wrapped":                     {fmt.Errorf("while: %w", apierrors.NewAlreadyExists(configMaps, "settings")), planner.Stale},
		"quota without scope":         {forbidden("insufficient quota to consume: pods"), planner.QuotaExceeded},
		"quota of the wrong kind":     {forbidden("failed quota: q: must specify limits.cpu"), planner.QuotaExceeded},
		"quota below nothing":         {forbidden("quota usage is negative for resource(s): pods"), planner.QuotaExceeded},
		"unknown plugin":              {forbidden("User data is missing"), planner.Rejected},
		"no details":                  {status(http.StatusUnprocessableEntity), planner.Stale},
		"an empty page":               {status(http.StatusNotFound), planner.KindGone},
		"gone":                        {status(http.StatusGone), planner.Unavailable},
		"too many requests":           {status(http.StatusTooManyRequests), planner.Unavailable},
		"a method that is not served": {status(http.StatusMethodNotAllowed), planner.Rejected},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Classify(test.err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWithhold(t *testing.T) {
	secrets, configMaps := schema.GroupResource{Resource: "secrets"}, schema.GroupResource{Resource: "configmaps"}
	template := &planner.Template{Content: map[string]json.RawMessage{
		// "hunter22", "ab", binary, nothing.
		"data": json.RawMessage(`{"password":"aHVudGVyMjI=","short":"YWI=","blob":"AP8A/w==","empty":""}`),
	}}
	tests := map[string]struct {
		resource schema.GroupResource
		template *planner.Template
		message  string
		want     string
	}{
		"nothing quoted":        {secrets, template, "field is immutable", "field is immutable"},
		"content quoted":        {secrets, template, "bad value hunter22", ""},
		"encoded":               {secrets, template, "bad value aHVudGVyMjI=", ""},
		"binary, encoded":       {secrets, template, "bad value AP8A/w==", ""},
		"too common to tell":    {secrets, template, "about", "about"},
		"another kind":          {configMaps, template, "bad value hunter22", "bad value hunter22"},
		"another kind's policy": {configMaps, template, "p denied request: words", "p denied request: words"},
		"another group's kind":  {schema.GroupResource{Group: "x.io", Resource: "secrets"}, template, "hunter22", "hunter22"},
		"no template":           {secrets, nil, "cannot delete", "cannot delete"},
		"a policy":              {secrets, template, "p denied request: words", "p denied request: (details withheld because they may contain Secret data)"},
		"a policy, no template": {secrets, nil, "p denied request: words", "p denied request: (details withheld because they may contain Secret data)"},
		"a webhook": {
			secrets, nil, `admission webhook "w" denied the request: words`,
			`admission webhook "w" denied the request: (details withheld because they may contain Secret data)`,
		},
		"a broken webhook": {
			secrets, nil, `Internal error occurred: failed calling webhook "w": words`,
			`Internal error occurred: failed calling webhook "w": (details withheld because they may contain Secret data)`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := redact(test.resource, test.template, errors.New(test.message)).Error()
			if test.want != "" && got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.want == "" && (strings.Contains(got, "bad value") || !strings.Contains(got, "withheld")) {
				t.Errorf("%q is passed on", got)
			}
		})
	}
}
