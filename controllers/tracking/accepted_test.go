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

package tracking

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestAcceptedDigests_Apply(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	written := copyAt(shop, "a", 10, digests("stored"), accepted("template"))
	tests := map[string]struct {
		listed *planner.Observed
		want   planner.Digests
	}{
		"same content":       {copyAt(shop, "a", 12, digests("stored")), "template"},
		"edited":             {copyAt(shop, "a", 12, digests("edited")), ""},
		"another object":     {copyAt(shop, "b", 12, digests("stored")), ""},
		"of another Replika": {copyAt(web, "a", 12, digests("stored")), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			kept := &acceptedDigests{}
			kept.record(replika, resource, written)
			kept.apply(replika, resource, []*planner.Observed{test.listed})
			if diff := cmp.Diff(test.want, test.listed.AcceptedDigests); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAcceptedDigests_Bounded(t *testing.T) {
	configMapResource, secretResource := configMaps.GroupResource(), secrets.GroupResource()
	kept := &acceptedDigests{}
	for _, copied := range []*planner.Observed{copyAt(shop, "a", 10, accepted("t")), copyAt(web, "b", 11, accepted("t"))} {
		kept.record(replika, configMapResource, copied)
		kept.record(replika, secretResource, copied)
		kept.record(rival, configMapResource, copied)
	}
	expect := func(after string, want int) {
		t.Helper()
		if got := len(kept.byReplika[replika]); got != want {
			t.Errorf("after %s, %d entries, want %d", after, got, want)
		}
	}
	expect("writes", 4)
	kept.apply(replika, configMapResource, []*planner.Observed{copyAt(shop, "a", 10)})
	expect("a list without a copy", 3)
	kept.record(replika, configMapResource, copyAt(shop, "a", 12))
	expect("a write that was stored as it is", 2)
	kept.forget(replika)
	expect("the end of the Replika", 0)
	if len(kept.byReplika[rival]) != 2 {
		t.Error("the entries of another Replika were dropped")
	}
}

// Copies that a watch had delivered before it failed are not written again when they are listed.
func TestCopyStore_KeepAccepted(t *testing.T) {
	e := newEnv(t)
	e.store().BeginWrite(replika, shop)(copyAt(shop, "a", 10, digests("stored"), accepted("template")), true)
	listed := []*planner.Observed{copyAt(shop, "a", 10, digests("stored")), copyAt(web, "b", 11)}
	e.store().keepAccepted(listed)
	if got := listed[0].AcceptedDigests; got != "template" {
		t.Errorf("accepted digests %q", got)
	}
}
