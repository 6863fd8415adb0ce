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

package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestHandledRequest(t *testing.T) {
	tests := map[string]struct {
		requestedAt, want string
	}{
		"no request":      {"", ""},
		"time":            {"2030-01-02T03:04:05.678901234Z", "2030-01-02T03:04:05.678901234Z"},
		"of maximum size": {strings.Repeat("x", 64), strings.Repeat("x", 64)},
		"too long":        {strings.Repeat("x", 65), "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9"},
		"other too long":  {strings.Repeat("x", 66), "6eb879f1291c6ee7d5c619d27c7b5c9c3318f58a76cab873d5e30263e50c924f"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := v1alpha1.HandledRequest(test.requestedAt); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
