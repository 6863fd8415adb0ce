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
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// What a former kind's copies went through must say nothing about the copies of the same name of the new kind: a failed
// delete of the former one would hide the next drift correction of the new one.
func TestReplikaState_UseResource(t *testing.T) {
	configMaps, secrets := schema.GroupResource{Resource: "configmaps"}, schema.GroupResource{Resource: "secrets"}
	copied, now := types.NamespacedName{Namespace: "a", Name: "settings"}, time.Now()
	cases := map[string]struct {
		next schema.GroupResource
		want bool
	}{
		"same resource keeps the state":     {configMaps, true},
		"another resource starts from none": {secrets, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			state := &replikaState{}
			state.useResource(configMaps)
			state.setOutOfSync(map[types.NamespacedName]bool{copied: true}, nil)
			state.recordRepair(copied, now)
			state.setBackoff(map[types.NamespacedName]time.Time{copied: now.Add(time.Minute)})
			state.recordTemplate("digests", "1")

			state.useResource(tc.next)
			if got := state.currentOutOfSync()[copied]; got != tc.want {
				t.Errorf("out of sync: %t, want %t", got, tc.want)
			}
			if _, got := state.currentContests(now, time.Minute)[copied]; got != tc.want {
				t.Errorf("has a contest: %t, want %t", got, tc.want)
			}
			if got := state.inBackoff(tc.next, copied, now); got != tc.want {
				t.Errorf("inBackoff() = %t, want %t", got, tc.want)
			}
			if got, _ := state.recordTemplate("digests", "2"); got != tc.want {
				t.Errorf("template unchanged: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestReplikaState_InBackoffOfAnotherResource(t *testing.T) {
	configMaps, secrets := schema.GroupResource{Resource: "configmaps"}, schema.GroupResource{Resource: "secrets"}
	copied, now := types.NamespacedName{Namespace: "a", Name: "settings"}, time.Now()
	state := &replikaState{}
	state.useResource(configMaps)
	state.setBackoff(map[types.NamespacedName]time.Time{copied: now.Add(time.Minute)})
	if !state.inBackoff(configMaps, copied, now) || state.inBackoff(secrets, copied, now) {
		t.Error("a backoff is about one resource")
	}
}

func TestReplikaState_Latest(t *testing.T) {
	replika := func(uid types.UID, resourceVersion string) *v1alpha1.Replika {
		return &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: resourceVersion}}
	}
	cases := map[string]struct {
		written, cached *v1alpha1.Replika
		wantVersion     string
	}{
		"nothing written":   {nil, replika("1", "5"), "5"},
		"cache is stale":    {replika("1", "7"), replika("1", "5"), "7"},
		"cache caught up":   {replika("1", "7"), replika("1", "9"), "9"},
		"created once more": {replika("1", "7"), replika("2", "5"), "5"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			state := &replikaState{}
			if tc.written != nil {
				state.recordWrite(tc.written)
			}
			if got := state.latest(tc.cached); got.ResourceVersion != tc.wantVersion {
				t.Errorf("got resourceVersion %s, want %s", got.ResourceVersion, tc.wantVersion)
			}
		})
	}
}

// A write that no reconcile waits for can end before or after that reconcile.
func TestReplikaState_EndInFlight(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	copied, now := types.NamespacedName{Namespace: "a", Name: "settings"}, time.Now()
	for name, synced := range map[string]bool{"synced": true, "failed": false} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, before the reconcile: %t", name, early), func(t *testing.T) {
				state := &replikaState{}
				state.useResource(resource)
				state.addInFlight(resource, []types.NamespacedName{copied})
				end := func() {
					state.endInFlight(resource, &lateResult{copied: copied, endedAt: now, synced: synced, repaired: synced})
				}
				if early {
					end()
				}
				state.setOutOfSync(map[types.NamespacedName]bool{}, []types.NamespacedName{copied})
				if !early {
					if !state.currentOutOfSync()[copied] {
						t.Error("in sync although the write is in flight")
					}
					end()
				}
				if got := state.currentOutOfSync()[copied]; got == synced {
					t.Errorf("out of sync: %t", got)
				}
				if got := state.currentContests(now, time.Minute)[copied].Repairs; (got == 1) != synced {
					t.Errorf("%d repairs", got)
				}
			})
		}
	}
}

// What was in flight for another kind says nothing about the copies of this one.
func TestReplikaState_EndInFlight_FormerResource(t *testing.T) {
	former, copied := schema.GroupResource{Resource: "secrets"}, types.NamespacedName{Namespace: "a", Name: "settings"}
	state := &replikaState{}
	state.useResource(former)
	state.addInFlight(former, []types.NamespacedName{copied})
	state.useResource(schema.GroupResource{Resource: "configmaps"})
	state.endInFlight(former, &lateResult{copied: copied, endedAt: time.Now(), repaired: true})
	if state.currentOutOfSync()[copied] || len(state.currentContests(time.Now(), time.Minute)) > 0 || state.hasInFlight() {
		t.Error("the copy of the new kind has the history of the former one")
	}
}
