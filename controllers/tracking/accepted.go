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
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/controllers/planner"
)

// acceptedDigests holds what the API server stored for our writes of copies that are listed, not watched, where it is not what
// was written. Otherwise each list would find drift. It has at most one entry for each copy of the last list.
type acceptedDigests struct {
	mu        sync.Mutex
	byReplika map[types.NamespacedName]map[acceptedKey]*planner.Observed
}

type acceptedKey struct {
	resource schema.GroupResource
	copied   Key
}

// record keeps the response to a write.
func (a *acceptedDigests) record(replika types.NamespacedName, resource schema.GroupResource, response *planner.Observed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := acceptedKey{resource, response.Key()}
	if response.AcceptedDigests == "" {
		delete(a.byReplika[replika], key)
		return
	}
	if a.byReplika == nil {
		a.byReplika = map[types.NamespacedName]map[acceptedKey]*planner.Observed{}
	}
	if a.byReplika[replika] == nil {
		a.byReplika[replika] = map[acceptedKey]*planner.Observed{}
	}
	a.byReplika[replika][key] = response
}

// apply adds the accepted digests to the copies of a list, and drops those of copies that are not in it.
func (a *acceptedDigests) apply(replika types.NamespacedName, resource schema.GroupResource, copies []*planner.Observed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	recorded := a.byReplika[replika]
	if len(recorded) == 0 {
		return
	}
	listed := make(map[acceptedKey]bool, len(copies))
	for _, copied := range copies {
		key := acceptedKey{resource, copied.Key()}
		listed[key] = true
		keepAccepted(copied, recorded[key])
	}
	maps.DeleteFunc(recorded, func(key acceptedKey, _ *planner.Observed) bool { return key.resource == resource && !listed[key] })
}

func (a *acceptedDigests) forget(replika types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byReplika, replika)
}

// keepAccepted keeps the accepted digests of an object whose content is still what the API server had stored.
func keepAccepted(object, before *planner.Observed) {
	if before != nil && before.UID == object.UID && before.Digests == object.Digests {
		object.AcceptedDigests = before.AcceptedDigests
	}
}
