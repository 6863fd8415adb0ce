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
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestCopyStore_OwnWrite(t *testing.T) {
	created := copyAt(shop, "a", 10)
	updated := copyAt(shop, "a", 11, digests("two"))

	t.Run("event after the response", func(t *testing.T) {
		e := newEnv(t)
		end := e.store().BeginWrite(replika, shop)
		end(created, true)
		e.expectStored(t, created)
		e.report(created)
		e.expectStored(t, created)
		e.expectEvents(t)
	})
	t.Run("event before the response", func(t *testing.T) {
		e := newEnv(t)
		end := e.store().BeginWrite(replika, shop)
		e.report(created)
		e.expectStored(t)
		end(created, true)
		e.expectStored(t, created)
		e.expectEvents(t)
	})
	t.Run("event of a write before a newer own write", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(created, true)
		e.store().BeginWrite(replika, shop)(updated, true)
		e.report(created)
		e.expectStored(t, updated)
		e.report(updated)
		e.expectStored(t, updated)
		e.expectEvents(t)
	})
	t.Run("change by others before the write, reported after it", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(updated, true)
		e.report(copyAt(shop, "a", 10, digests("edited")))
		e.expectStored(t, updated)
		e.expectEvents(t)
	})
	t.Run("change by others after the write, reported before its response", func(t *testing.T) {
		e := newEnv(t)
		edited := copyAt(shop, "a", 12, digests("edited"))
		end := e.store().BeginWrite(replika, shop)
		e.report(updated, edited)
		e.expectEvents(t)
		end(updated, true)
		e.expectStored(t, edited)
		e.expectEvents(t, shop)
	})
	t.Run("unknown result leaves it to the watch", func(t *testing.T) {
		e := newEnv(t)
		end := e.store().BeginWrite(replika, shop)
		e.report(created)
		end(nil, false)
		e.expectStored(t, created)
		e.expectEvents(t, shop)
	})
	t.Run("write that changes nothing", func(t *testing.T) {
		e := newEnv(t)
		e.report(created)
		e.expectEvents(t, shop)
		e.store().BeginWrite(replika, shop)(created, true)
		e.expectStored(t, created)
		e.expectEvents(t)
	})
}

func TestCopyStore_ConcurrentWritesOfOneObject(t *testing.T) {
	first, second := copyAt(shop, "a", 10), copyAt(shop, "a", 11, ownedBy(rival))

	t.Run("newer response wins in any order", func(t *testing.T) {
		e := newEnv(t)
		endFirst, endSecond := e.store().BeginWrite(replika, shop), e.store().BeginWrite(rival, shop)
		endSecond(second, true)
		endFirst(first, true)
		e.expectStored(t, second)
		e.expectEvents(t, shop) // the first writer does not know that the rival took the copy over
		e.report(first, second)
		e.expectStored(t, second)
		e.expectEvents(t)
	})
	t.Run("watch events are deferred until the last write ends", func(t *testing.T) {
		e := newEnv(t)
		endFirst, endSecond := e.store().BeginWrite(replika, shop), e.store().BeginWrite(rival, shop)
		e.report(first)
		endFirst(first, true)
		e.report(second)
		e.expectStored(t, first)
		e.expectEvents(t)
		endSecond(second, true)
		e.expectStored(t, second)
		e.expectEvents(t, shop) // the former owner does not know
	})
	t.Run("an object that another Replika reads before the watch reports it", func(t *testing.T) {
		e := newEnv(t)
		edited := copyAt(shop, "a", 11, digests("edited"))
		e.store().BeginWrite(replika, shop)(first, true)
		e.store().BeginWrite(rival, shop)(edited, true) // a create that found it
		e.expectStored(t, edited)
		e.expectEvents(t, shop)
		e.report(edited)
		e.expectEvents(t)
	})
	t.Run("response from before a delete, received after it", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(first, true)
		endRead, endDelete := e.store().BeginWrite(replika, shop), e.store().BeginWrite(replika, shop)
		endDelete(nil, true)
		endRead(first, true)
		e.expectStored(t)
		e.expectEvents(t, shop) // the reader does not know of the delete
		e.report(first)
		reportDeleted(e.copies, first, 12)
		e.expectStored(t)
		e.expectEvents(t)
	})
	t.Run("response to a delete, received after a later create", func(t *testing.T) {
		e := newEnv(t)
		e.report(first)
		e.expectEvents(t, shop)
		recreated := copyAt(shop, "b", 13, ownedBy(rival))
		endDelete, endCreate := e.store().BeginWrite(replika, shop), e.store().BeginWrite(rival, shop)
		endCreate(recreated, true)
		endDelete(nil, true)
		e.expectStored(t, recreated)
		e.expectEvents(t, shop) // the former owner does not know of the new object
		reportDeleted(e.copies, first, 12)
		e.report(recreated)
		e.expectStored(t, recreated)
		e.expectEvents(t)
		edited := copyAt(shop, "b", 14, ownedBy(rival), digests("edited"))
		e.report(edited)
		e.expectStored(t, edited)
		e.expectEvents(t, shop)
	})
}

func TestCopyStore_OwnDelete(t *testing.T) {
	existing, edited := copyAt(shop, "a", 10), copyAt(shop, "a", 11, digests("edited"))
	recreated := copyAt(shop, "b", 13)

	t.Run("removes at once and sends no event", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.events = nil
		e.store().BeginWrite(replika, shop)(nil, true)
		e.expectStored(t)
		reportDeleted(e.copies, existing, 12)
		e.expectStored(t)
		e.expectEvents(t)
		if removed := e.store().PopRemovedByOthers(replika); len(removed) != 0 {
			t.Errorf("recorded as removed by others: %v", removed)
		}
	})
	t.Run("ignores events from before it", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.store().BeginWrite(replika, shop)(edited, true)
		e.events = nil
		e.store().BeginWrite(replika, shop)(nil, true)
		e.report(edited)
		e.expectStored(t)
		reportDeleted(e.copies, edited, 12)
		e.expectEvents(t)
	})
	t.Run("then own create, reported late", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.events = nil
		e.store().BeginWrite(replika, shop)(nil, true)
		e.store().BeginWrite(replika, shop)(recreated, true)
		reportDeleted(e.copies, existing, 12)
		e.expectStored(t, recreated)
		e.report(recreated)
		e.expectStored(t, recreated)
		e.expectEvents(t)
	})
	t.Run("after own create, reported late", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.events = nil
		e.store().BeginWrite(replika, shop)(edited, true)
		e.store().BeginWrite(replika, shop)(nil, true)
		e.store().BeginWrite(replika, shop)(recreated, true)
		e.store().BeginWrite(replika, shop)(nil, true)
		e.report(edited)
		reportDeleted(e.copies, edited, 12)
		e.report(recreated)
		e.expectStored(t)
		reportDeleted(e.copies, recreated, 14)
		e.expectStored(t)
		e.expectEvents(t)
		if removed := e.store().PopRemovedByOthers(replika); len(removed) != 0 {
			t.Errorf("recorded as removed by others: %v", removed)
		}
	})
	t.Run("then create by others", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.events = nil
		e.store().BeginWrite(replika, shop)(nil, true)
		reportDeleted(e.copies, existing, 12)
		e.report(recreated)
		e.expectStored(t, recreated)
		e.expectEvents(t, shop)
	})
	t.Run("of an object with a finalizer", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.events = nil
		terminating := copyAt(shop, "a", 12, func(object *planner.Observed) { object.Terminating = true })
		e.store().BeginWrite(replika, shop)(terminating, true)
		e.report(terminating)
		e.expectStored(t, terminating)
		e.expectEvents(t)
		reportDeleted(e.copies, terminating, 13)
		e.expectStored(t)
		e.expectEvents(t, shop)
	})
	t.Run("tombstone is pruned by a newer list", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, existing)
		e.store().BeginWrite(replika, shop)(nil, true)
		reportList(e.copies, 20)
		if len(e.store().tombstones) != 0 {
			t.Errorf("tombstones left: %v", e.store().tombstones)
		}
	})
	t.Run("tombstone is kept for an older list", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(edited, true)
		e.events = nil
		e.store().BeginWrite(replika, shop)(nil, true)
		reportList(e.copies, 9)
		e.report(existing, edited)
		e.expectStored(t)
		reportDeleted(e.copies, edited, 12)
		e.expectEvents(t)
	})
}

func TestCopyStore_ReleasedCopyIsRemoved(t *testing.T) {
	e := newEnv(t)
	existing := copyAt(shop, "a", 10)
	reportList(e.copies, 10, existing)
	e.events = nil
	e.store().BeginWrite(replika, shop)(nil, true)
	e.expectStored(t)
	reportDeleted(e.copies, foreignAt(shop, "a", 11), 11)
	e.expectStored(t)
	e.expectEvents(t)

	// The same object can become a copy again.
	adopted := copyAt(shop, "a", 12)
	e.report(adopted)
	e.expectStored(t, adopted)
	e.expectEvents(t, shop)
}

func TestCopyStore_ChangesByOthers(t *testing.T) {
	existing := copyAt(shop, "a", 10)
	cases := map[string]struct {
		reported      *planner.Observed
		deletedAt     int
		wantRemoved   bool
		wantNotStored bool
	}{
		"edited":        {reported: copyAt(shop, "a", 11, digests("edited"))},
		"owner changed": {reported: copyAt(shop, "a", 11, ownedBy(rival)), wantRemoved: true},
		"marks removed": {reported: copyAt(shop, "a", 11, withoutMarks), wantRemoved: true},
		"recreated":     {reported: copyAt(shop, "b", 11, withoutMarks), wantRemoved: true},
		"deletion started": {reported: copyAt(shop, "a", 11, func(object *planner.Observed) {
			object.Terminating = true
		})},
		"deleted":       {reported: existing, deletedAt: 11, wantRemoved: true, wantNotStored: true},
		"label removed": {reported: copyAt(shop, "a", 11, withoutLabel), deletedAt: 11, wantRemoved: true, wantNotStored: true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			reportList(e.copies, 10, existing)
			e.store().PopRemovedByOthers(replika)
			e.events = nil
			if test.deletedAt > 0 {
				reportDeleted(e.copies, test.reported, test.deletedAt)
			} else {
				e.report(test.reported)
			}
			e.expectEvents(t, shop)
			if test.wantNotStored {
				e.expectStored(t)
			} else {
				e.expectStored(t, test.reported)
			}
			want := map[types.NamespacedName]bool{}
			if test.wantRemoved {
				want[shop] = true
			}
			if diff := cmp.Diff(want, e.store().PopRemovedByOthers(replika)); diff != "" {
				t.Errorf("removed by others (-want +got):\n%s", diff)
			}
			if removed := e.store().PopRemovedByOthers(replika); len(removed) != 0 {
				t.Errorf("returned twice: %v", removed)
			}
		})
	}
}

// PopRemovedByOthers is never called on a standby, nor for a Replika that was deleted. The store must not grow for either.
func TestCopyStore_PopRemovedByOthers_RecordsOnlyForCallers(t *testing.T) {
	createAndDelete := func(e *env) {
		e.report(copyAt(shop, "a", 10))
		reportDeleted(e.copies, copyAt(shop, "a", 10), 11)
	}
	e := newEnv(t)
	createAndDelete(e)
	if len(e.store().removed) != 0 {
		t.Errorf("recorded without a caller: %v", e.store().removed)
	}
	user := User{Replika: replika, Purpose: "copy"}
	e.Set(user, e.copies.key)
	e.store().PopRemovedByOthers(replika)
	createAndDelete(e)
	if len(e.store().removed) != 1 {
		t.Errorf("recorded for the caller: %v", e.store().removed)
	}
	e.Set(user)
	createAndDelete(e)
	if len(e.store().removed) != 0 {
		t.Errorf("recorded after the last watch of the Replika: %v", e.store().removed)
	}
}

func TestCopyStore_IrrelevantChangeSendsNoEvent(t *testing.T) {
	e := newEnv(t)
	reportList(e.copies, 10, copyAt(shop, "a", 10))
	e.events = nil
	touched := copyAt(shop, "a", 11)
	e.report(touched)
	e.expectStored(t, touched)
	e.expectEvents(t)
}

func TestCopyStore_KeepsAcceptedDigests(t *testing.T) {
	response := copyAt(shop, "a", 10, digests("defaulted"), accepted("sent"))

	t.Run("after a change of other fields", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(response, true)
		e.report(copyAt(shop, "a", 11, digests("defaulted")))
		e.expectStored(t, copyAt(shop, "a", 11, digests("defaulted"), accepted("sent")))
		e.expectEvents(t)
	})
	t.Run("after a list", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(response, true)
		reportList(e.copies, 12, copyAt(shop, "a", 11, digests("defaulted")))
		e.expectStored(t, copyAt(shop, "a", 11, digests("defaulted"), accepted("sent")))
		e.expectEvents(t)
	})
	t.Run("of a write that changed nothing", func(t *testing.T) {
		e := newEnv(t)
		e.report(copyAt(shop, "a", 10, digests("defaulted")))
		e.expectEvents(t, shop)
		e.store().BeginWrite(replika, shop)(response, true)
		e.expectStored(t, response)
	})
	t.Run("not those of a read", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(response, true)
		e.store().BeginWrite(replika, shop)(copyAt(shop, "a", 10, digests("defaulted")), true)
		e.expectStored(t, response)
	})
	t.Run("not for other content", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(response, true)
		e.report(copyAt(shop, "a", 11, digests("edited")))
		e.expectStored(t, copyAt(shop, "a", 11, digests("edited")))
		e.expectEvents(t, shop)
	})
	t.Run("not for another object", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(response, true)
		e.report(copyAt(shop, "b", 11, digests("defaulted")))
		e.expectStored(t, copyAt(shop, "b", 11, digests("defaulted")))
		e.expectEvents(t, shop)
	})
}

func TestCopyStore_Replace(t *testing.T) {
	a, b := copyAt(shop, "a", 10), copyAt(web, "b", 10)

	t.Run("same objects send no event", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, a, b)
		e.events = nil
		reportList(e.copies, 30, a, b)
		e.expectStored(t, a, b)
		e.expectEvents(t)
	})
	t.Run("object that is not listed is removed", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, a, b)
		e.store().PopRemovedByOthers(replika)
		e.events = nil
		reportList(e.copies, 30, a)
		e.expectStored(t, a)
		e.expectEvents(t, web)
		if diff := cmp.Diff(map[types.NamespacedName]bool{web: true}, e.store().PopRemovedByOthers(replika)); diff != "" {
			t.Errorf("removed by others (-want +got):\n%s", diff)
		}
	})
	t.Run("object that is newer than the list is kept", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, web)(copyAt(web, "b", 31), true)
		reportList(e.copies, 30, a)
		e.expectStored(t, a, copyAt(web, "b", 31))
		e.expectEvents(t, shop)
	})
	t.Run("object with a write in flight is kept", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, a, b)
		e.events = nil
		end := e.store().BeginWrite(replika, web)
		reportList(e.copies, 30, a)
		e.expectStored(t, a, b)
		end(copyAt(web, "b", 31), true)
		e.expectStored(t, a, copyAt(web, "b", 31))
		e.expectEvents(t)
	})
	t.Run("older state than the response is ignored", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(copyAt(shop, "a", 12, digests("two")), true)
		reportList(e.copies, 11, a)
		e.expectStored(t, copyAt(shop, "a", 12, digests("two")))
		e.expectEvents(t)
	})
	t.Run("newer state is stored", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.copies, 10, a)
		e.events = nil
		edited := copyAt(shop, "a", 20, digests("edited"))
		reportList(e.copies, 30, edited)
		e.expectStored(t, edited)
		e.expectEvents(t, shop)
	})
	t.Run("foreign object is kept", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, web)(foreignAt(web, "f", 5), true)
		reportList(e.copies, 30, a)
		e.expectStored(t, a, foreignAt(web, "f", 5))
		e.expectEvents(t, shop)
	})
}

func TestWatch_Delete_FinalStateUnknown(t *testing.T) {
	e := newEnv(t)
	existing := copyAt(shop, "a", 10)
	reportList(e.copies, 10, existing)
	e.events = nil
	missed := cache.DeletedFinalStateUnknown{Key: shop.String(), Obj: newReducedObject(clone(existing))}
	if err := e.copies.Delete(missed); err != nil {
		t.Fatal(err)
	}
	e.expectStored(t)
	e.expectEvents(t, shop)
	if err := e.copies.Delete(cache.DeletedFinalStateUnknown{Key: shop.String()}); err == nil {
		t.Error("no error for a tombstone without an object")
	}
}

func TestCopyStore_ForeignObjects(t *testing.T) {
	existing := foreignAt(shop, "f", 10)
	envWithForeign := func(t *testing.T) *env {
		e := newEnv(t)
		reportList(e.copies, 9)
		e.store().BeginWrite(replika, shop)(existing, true)
		reportList(e.conflicting, 11, existing)
		e.expectStored(t, existing)
		e.expectEvents(t)
		if !hasForeign(e, shop.Name) {
			t.Fatal("the foreign object is not stored")
		}
		return e
	}
	t.Run("unknown object is not stored", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.conflicting, 11, foreignAt(web, "g", 8))
		report(e.conflicting, existing)
		e.expectStored(t)
		e.expectEvents(t)
	})
	t.Run("deleted", func(t *testing.T) {
		e := envWithForeign(t)
		reportDeleted(e.conflicting, existing, 12)
		e.expectStored(t)
		e.expectEvents(t, shop)
		if removed := e.store().PopRemovedByOthers(replika); len(removed) != 0 {
			t.Errorf("recorded as a removed copy: %v", removed)
		}
	})
	t.Run("deleted before the watch started", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(existing, true)
		reportList(e.conflicting, 11)
		e.expectStored(t)
		e.expectEvents(t, shop)
	})
	t.Run("deleted while a write is in flight", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.conflicting, 9)
		end := e.store().BeginWrite(replika, shop)
		report(e.conflicting, existing)
		reportDeleted(e.conflicting, existing, 11)
		end(existing, true)
		e.expectStored(t)
		e.expectEvents(t, shop)
	})
	t.Run("changed while a write is in flight", func(t *testing.T) {
		e := newEnv(t)
		reportList(e.conflicting, 9)
		end := e.store().BeginWrite(replika, shop)
		withoutController := foreignAt(shop, "f", 11)
		withController := foreignAt(shop, "f", 10, func(object *planner.Observed) { object.HasController = true })
		report(e.conflicting, withoutController)
		end(withController, true)
		e.expectStored(t, withoutController)
		e.expectEvents(t, shop)
	})
	t.Run("recreated", func(t *testing.T) {
		e := envWithForeign(t)
		reportDeleted(e.conflicting, existing, 12)
		report(e.conflicting, foreignAt(shop, "g", 13))
		e.expectStored(t)
		e.expectEvents(t, shop)
	})
	t.Run("with our label, left to the watch of the copies", func(t *testing.T) {
		e := envWithForeign(t)
		labelled := copyAt(shop, "f", 12, withoutMarks)
		report(e.conflicting, labelled)
		e.expectStored(t, existing)
		e.report(labelled)
		e.expectStored(t, labelled)
		e.expectEvents(t, shop)
	})
	t.Run("label removed before the write", func(t *testing.T) {
		e := newEnv(t)
		e.store().BeginWrite(replika, shop)(existing, true)
		reportDeleted(e.copies, existing, 10)
		e.expectStored(t, existing)
		e.expectEvents(t)
		reportDeleted(e.conflicting, existing, 11)
		e.expectStored(t)
		e.expectEvents(t, shop)
	})
	t.Run("adopted", func(t *testing.T) {
		e := envWithForeign(t)
		adopted := copyAt(shop, "f", 12)
		e.store().BeginWrite(replika, shop)(adopted, true)
		report(e.conflicting, adopted)
		e.report(adopted)
		e.expectStored(t, adopted)
		e.expectEvents(t)
		if hasForeign(e, shop.Name) {
			t.Error("the store still has a foreign object")
		}
	})
	t.Run("of another name is kept", func(t *testing.T) {
		e := newEnv(t)
		other := types.NamespacedName{Namespace: "shop", Name: "other"}
		e.store().BeginWrite(replika, other)(foreignAt(other, "o", 5), true)
		reportList(e.conflicting, 11)
		if !hasForeign(e, other.Name) {
			t.Error("the object was removed")
		}
		e.expectEvents(t)
	})
}

// hasForeign reports whether a foreign object of the name is stored.
func hasForeign(e *env, name string) bool {
	return slices.ContainsFunc(e.store().ListFor(replika, name), isNotWatched)
}

func TestWatches_Set_ForgetsForeignObjectsThatNobodyWatches(t *testing.T) {
	e := newEnv(t)
	own, other := copyAt(web, "b", 8), types.NamespacedName{Namespace: "shop", Name: "other"}
	reportList(e.copies, 9, own)
	for key, uid := range map[types.NamespacedName]types.UID{shop: "f", other: "o"} {
		e.store().BeginWrite(replika, key)(foreignAt(key, uid, 10), true)
	}
	for _, user := range []User{replikaUser, rivalUser} {
		e.Set(user, e.conflicting.key)
	}
	e.Set(replikaUser)
	e.Set(userOf(e.conflicting.key))
	e.expectStored(t, foreignAt(shop, "f", 10), own)
	e.events = nil
	e.Set(rivalUser)
	e.expectStored(t, own)
	e.expectEvents(t)
	if !hasForeign(e, other.Name) {
		t.Error("an object of another name was dropped")
	}
}

func TestCopyStore_ListFor(t *testing.T) {
	e := newEnv(t)
	former := types.NamespacedName{Namespace: "web", Name: "former-name"}
	e.report(copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(rival)), copyAt(former, "c", 12),
		copyAt(types.NamespacedName{Namespace: "shop", Name: "former-name"}, "d", 13, ownedBy(rival)),
		copyAt(types.NamespacedName{Namespace: "shop", Name: "unrelated"}, "e", 14, ownedBy(rival)))
	e.expectStored(t, copyAt(former, "c", 12), copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(rival)))

	reportDeleted(e.copies, copyAt(former, "c", 12), 20)
	e.expectStored(t, copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(rival)))
	for _, name := range []types.NamespacedName{shop, web, {Namespace: "shop", Name: "former-name"}, {Namespace: "shop", Name: "unrelated"}} {
		reportDeleted(e.copies, e.store().get(name), 30)
	}
	if len(e.store().objects) != 0 || len(e.store().names) != 0 {
		t.Errorf("left in the store: %v, %v", e.store().objects, e.store().names)
	}
}

// The lists for many sources: the objects of one name, whoever owns them, and the copies of a Replika under other names.
func TestCopyStore_ListNamedAndUnder(t *testing.T) {
	e := newEnv(t)
	former := types.NamespacedName{Namespace: "web", Name: "former-name"}
	e.report(copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(rival)), copyAt(former, "c", 12),
		copyAt(types.NamespacedName{Namespace: "shop", Name: "former-name"}, "d", 13, ownedBy(rival)))
	formerName := func(name string) bool { return name == former.Name }
	for name, test := range map[string]struct {
		got  []*planner.Observed
		want []types.NamespacedName
	}{
		"named":          {e.store().ListNamed(shop.Name), []types.NamespacedName{shop, web}},
		"named in":       {e.store().ListNamedIn(shop.Name, []string{"web", "none"}), []types.NamespacedName{web}},
		"under":          {e.store().ListUnder(replika, formerName), []types.NamespacedName{former}},
		"under no name":  {e.store().ListUnder(replika, func(string) bool { return false }), nil},
		"of nobody":      {e.store().ListUnder(types.NamespacedName{Namespace: "no", Name: "body"}, formerName), nil},
		"unknown name":   {e.store().ListNamed("unknown"), nil},
		"under any name": {e.store().ListUnder(replika, func(string) bool { return true }), []types.NamespacedName{shop, former}},
	} {
		var got []types.NamespacedName
		for _, object := range test.got {
			got = append(got, object.Key())
		}
		slices.SortFunc(got, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
		slices.SortFunc(test.want, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
