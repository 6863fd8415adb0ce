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

package controllers

import (
	"strings"
	"testing"

	"github.com/prosimcorp/replika/controllers/tracking"
)

// Only a response of the API server about permissions is reported as a missing permission.
func TestScope_PollingReason(t *testing.T) {
	cases := map[tracking.State]struct{ want string }{
		"":                    {""},
		tracking.Synced:       {""},
		tracking.Syncing:      {"has not completed yet"},
		tracking.NotAllowed:   {"not allowed to watch"},
		tracking.NotSupported: {"does not support watches"},
		tracking.Failing:      {"fail or get no response"},
	}
	for state, tc := range cases {
		t.Run(string(state), func(t *testing.T) {
			got := (&scope{watchState: state}).pollingReason()
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("pollingReason() = %q, want %q", got, tc.want)
			}
		})
	}
}
