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

import "testing"

func TestEscape(t *testing.T) {
	// The keys in RFC 6901, section 5, and a label key.
	for key, want := range map[string]string{
		"": "", "foo": "foo", "a/b": "a~1b", "c%d": "c%d", "m~n": "m~0n", " ": " ", "~1": "~01", "~/~": "~0~1~0",
		"example.com/tier": "example.com~1tier",
	} {
		if got := escape(key); got != want {
			t.Errorf("escape(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestSetKeys(t *testing.T) {
	tests := map[string]struct {
		exists bool
		keys   map[string]string
		stale  []string
		want   string
	}{
		"no keys":     {exists: true, want: `[]`},
		"empty value": {exists: true, keys: map[string]string{"a": ""}, want: `[{"op":"add","path":"/m/a","value":""}]`},
		"sorted": {
			exists: true, keys: map[string]string{"b": "2", "a": "1", "c/d": "<"},
			want: `[{"op":"add","path":"/m/a","value":"1"},{"op":"add","path":"/m/b","value":"2"},{"op":"add","path":"/m/c~1d","value":"\u003c"}]`,
		},
		"missing map": {
			keys: map[string]string{"a": "1"},
			want: `[{"op":"test","path":"/m","value":null},{"op":"add","path":"/m","value":{}},{"op":"add","path":"/m/a","value":"1"}]`,
		},
		"stale key, set before it is removed": {
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
