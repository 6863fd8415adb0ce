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
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

func TestPlan_InFlight(t *testing.T) {
	copied := types.NamespacedName{Namespace: "shop", Name: "settings"}
	selected := func(in *Input) { in.Namespaces = []Namespace{{Name: "shop"}, {Name: "web"}} }
	theirs := func(t *testing.T) *Observed {
		return mustObserve(t, newObject("shop", "settings"))
	}
	cases := map[string]struct {
		change      []func(*Input)
		wantMessage string
		wantRefused bool
	}{
		"first write": {wantMessage: noResponseMessage},
		"failed before": {
			change: []func(*Input){func(in *Input) {
				in.Refusals = map[types.NamespacedName]Refusal{copied: {Reason: v1alpha1.FailureUnavailable, Message: "it failed"}}
			}},
			wantMessage: "it failed", wantRefused: true,
		},
		"an object that the account has to find itself": {
			change:      []func(*Input){withImpersonation, func(in *Input) { in.Observed = []*Observed{theirs(t)} }},
			wantMessage: noResponseMessage,
		},
		"a copy to prune": {
			change: []func(*Input){func(in *Input) {
				in.Selection = nil
				in.Observed = []*Observed{mustObserve(t, newCopy(t, in.Template, "shop"))}
			}},
			wantMessage: noResponseMessage,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := newInput(t, append([]func(*Input){selected}, tc.change...)...)
			in.Now, in.Synchronization = testTime, time.Minute
			in.InFlight = map[types.NamespacedName]bool{copied: true}
			for _, action := range Plan(in) {
				if action.Key() != copied {
					if action.Type == Wait {
						t.Errorf("%s waits, too: %+v", action.Key(), action)
					}
					continue
				}
				if action.Type != Wait || !action.InFlight || action.Refused != tc.wantRefused || action.Message != tc.wantMessage {
					t.Errorf("got %+v", action)
				}
				return
			}
			t.Error("no action for the copy in flight")
		})
	}
}
