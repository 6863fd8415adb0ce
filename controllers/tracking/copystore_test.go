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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/prosimcorp/replika/controllers/planner"
)

func TestOwnWriteIsSeenAtOnceAndItsEchoIsNoNews(t *testing.T) {
	created := copyAt(shop, "a", 10)
	updated := copyAt(shop, "a", 11, digests("two"))

	t.Run("echo after the answer", func(t *testing.T) {
		s := newStage(t)
		end := s.view().BeginWrite(shop)
		end(created, true)
		s.wants(t, created)
		s.tells(created)
		s.wants(t, created)
		s.wantsNews(t)
	})
	t.Run("echo before the answer", func(t *testing.T) {
		s := newStage(t)
		end := s.view().BeginWrite(shop)
		s.tells(created)
		s.wants(t)
		end(created, true)
		s.wants(t, created)
		s.wantsNews(t)
	})
	t.Run("echo of a write that a newer one of ours has overtaken", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(created, true)
		s.view().BeginWrite(shop)(updated, true)
		s.tells(created)
		s.wants(t, updated)
		s.tells(updated)
		s.wants(t, updated)
		s.wantsNews(t)
	})
	t.Run("a change from before our write, told after it", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(updated, true)
		s.tells(copyAt(shop, "a", 10, digests("edited")))
		s.wants(t, updated)
		s.wantsNews(t)
	})
	t.Run("a change from after our write, told before its answer", func(t *testing.T) {
		s := newStage(t)
		edited := copyAt(shop, "a", 12, digests("edited"))
		end := s.view().BeginWrite(shop)
		s.tells(updated, edited)
		s.wantsNews(t)
		end(updated, true)
		s.wants(t, edited)
		s.wantsNews(t, shop)
	})
	t.Run("an answer that says nothing leaves the word to the watch", func(t *testing.T) {
		s := newStage(t)
		end := s.view().BeginWrite(shop)
		s.tells(created)
		end(nil, false)
		s.wants(t, created)
		s.wantsNews(t, shop)
	})
	t.Run("a write that changed nothing", func(t *testing.T) {
		s := newStage(t)
		s.tells(created)
		s.wantsNews(t, shop)
		s.view().BeginWrite(shop)(created, true)
		s.wants(t, created)
		s.wantsNews(t)
	})
}

func TestTwoWritersAtOnePlace(t *testing.T) {
	first, second := copyAt(shop, "a", 10), copyAt(shop, "a", 11, ownedBy(theirs))

	t.Run("the newer answer counts, whichever comes first", func(t *testing.T) {
		s := newStage(t)
		endFirst, endSecond := s.view().BeginWrite(shop), s.view().BeginWrite(shop)
		endSecond(second, true)
		endFirst(first, true)
		s.wants(t, second)
		s.tells(first, second)
		s.wants(t, second)
		s.wantsNews(t)
	})
	t.Run("the watch is heard when the last of them is done", func(t *testing.T) {
		s := newStage(t)
		endFirst, endSecond := s.view().BeginWrite(shop), s.view().BeginWrite(shop)
		s.tells(first)
		endFirst(first, true)
		s.tells(second)
		s.wants(t, first)
		s.wantsNews(t)
		endSecond(second, true)
		s.wants(t, second)
		s.wantsNews(t)
	})
	t.Run("an answer from before the other's delete, that comes last", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(first, true)
		endLook, endDelete := s.view().BeginWrite(shop), s.view().BeginWrite(shop)
		endDelete(nil, true)
		endLook(first, true)
		s.wants(t)
		s.tells(first)
		tellGone(s.copies, first, 12)
		s.wants(t)
		s.wantsNews(t)
	})
	t.Run("a delete, answered after another's creation that followed it", func(t *testing.T) {
		s := newStage(t)
		s.tells(first)
		s.wantsNews(t, shop)
		anew := copyAt(shop, "b", 13, ownedBy(theirs))
		endDelete, endCreate := s.view().BeginWrite(shop), s.view().BeginWrite(shop)
		endCreate(anew, true)
		endDelete(nil, true)
		s.wants(t, anew)
		tellGone(s.copies, first, 12)
		s.tells(anew)
		s.wants(t, anew)
		s.wantsNews(t)
		edited := copyAt(shop, "b", 14, ownedBy(theirs), digests("edited"))
		s.tells(edited)
		s.wants(t, edited)
		s.wantsNews(t, shop)
	})
}

func TestOwnDelete(t *testing.T) {
	old, edited := copyAt(shop, "a", 10), copyAt(shop, "a", 11, digests("edited"))
	anew := copyAt(shop, "b", 13)

	t.Run("is seen at once, and its echo is no news", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.news = nil
		s.view().BeginWrite(shop)(nil, true)
		s.wants(t)
		tellGone(s.copies, old, 12)
		s.wants(t)
		s.wantsNews(t)
		if lost := s.view().PopRemovedByOthers(ours); len(lost) != 0 {
			t.Errorf("lost %v, which we deleted", lost)
		}
	})
	t.Run("is not undone by what was told before it", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.view().BeginWrite(shop)(edited, true)
		s.news = nil
		s.view().BeginWrite(shop)(nil, true)
		s.tells(edited)
		s.wants(t)
		tellGone(s.copies, edited, 12)
		s.wantsNews(t)
	})
	t.Run("followed by a creation of ours, told late", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.news = nil
		s.view().BeginWrite(shop)(nil, true)
		s.view().BeginWrite(shop)(anew, true)
		tellGone(s.copies, old, 12)
		s.wants(t, anew)
		s.tells(anew)
		s.wants(t, anew)
		s.wantsNews(t)
	})
	t.Run("of what we had just created, told late", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.news = nil
		s.view().BeginWrite(shop)(edited, true)
		s.view().BeginWrite(shop)(nil, true)
		s.view().BeginWrite(shop)(anew, true)
		s.view().BeginWrite(shop)(nil, true)
		s.tells(edited)
		tellGone(s.copies, edited, 12)
		s.tells(anew)
		s.wants(t)
		tellGone(s.copies, anew, 14)
		s.wants(t)
		s.wantsNews(t)
		if lost := s.view().PopRemovedByOthers(ours); len(lost) != 0 {
			t.Errorf("lost %v, which we deleted", lost)
		}
	})
	t.Run("followed by another's creation", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.news = nil
		s.view().BeginWrite(shop)(nil, true)
		tellGone(s.copies, old, 12)
		s.tells(anew)
		s.wants(t, anew)
		s.wantsNews(t, shop)
	})
	t.Run("of an object that a finalizer holds", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.news = nil
		dying := copyAt(shop, "a", 12, func(object *planner.Observed) { object.Terminating = true })
		s.view().BeginWrite(shop)(dying, true)
		s.tells(dying)
		s.wants(t, dying)
		s.wantsNews(t)
		tellGone(s.copies, dying, 13)
		s.wants(t)
		s.wantsNews(t, shop)
	})
	t.Run("leaves nothing behind when its echo was missed", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, old)
		s.view().BeginWrite(shop)(nil, true)
		list(s.copies, 20)
		if len(s.view().tombstones) != 0 {
			t.Errorf("remembers %v", s.view().tombstones)
		}
	})
	t.Run("is not forgotten for a list from before it", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(edited, true)
		s.news = nil
		s.view().BeginWrite(shop)(nil, true)
		list(s.copies, 9)
		s.tells(old, edited)
		s.wants(t)
		tellGone(s.copies, edited, 12)
		s.wantsNews(t)
	})
}

func TestReleasedCopyIsNoLongerKnown(t *testing.T) {
	s := newStage(t)
	old := copyAt(shop, "a", 10)
	list(s.copies, 10, old)
	s.news = nil
	s.view().BeginWrite(shop)(nil, true)
	s.wants(t)
	tellGone(s.copies, foreignAt(shop, "a", 11), 11)
	s.wants(t)
	s.wantsNews(t)

	// The same object may become a copy again.
	adopted := copyAt(shop, "a", 12)
	s.tells(adopted)
	s.wants(t, adopted)
	s.wantsNews(t, shop)
}

func TestWhatOthersDo(t *testing.T) {
	old := copyAt(shop, "a", 10)
	cases := map[string]struct {
		told     *planner.Observed
		gone     int
		wantLost bool
		wantNone bool
	}{
		"an edit":           {told: copyAt(shop, "a", 11, digests("edited"))},
		"a change of owner": {told: copyAt(shop, "a", 11, ownedBy(theirs)), wantLost: true},
		"marks taken off":   {told: copyAt(shop, "a", 11, withoutMarks), wantLost: true},
		"made anew":         {told: copyAt(shop, "b", 11, withoutMarks), wantLost: true},
		"the begin of its end": {told: copyAt(shop, "a", 11, func(object *planner.Observed) {
			object.Terminating = true
		})},
		"deleted":         {told: old, gone: 11, wantLost: true, wantNone: true},
		"label taken off": {told: copyAt(shop, "a", 11, withoutLabel), gone: 11, wantLost: true, wantNone: true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			list(s.copies, 10, old)
			s.view().PopRemovedByOthers(ours)
			s.news = nil
			if test.gone > 0 {
				tellGone(s.copies, test.told, test.gone)
			} else {
				s.tells(test.told)
			}
			s.wantsNews(t, shop)
			if test.wantNone {
				s.wants(t)
			} else {
				s.wants(t, test.told)
			}
			wanted := map[types.NamespacedName]bool{}
			if test.wantLost {
				wanted[shop] = true
			}
			if diff := cmp.Diff(wanted, s.view().PopRemovedByOthers(ours)); diff != "" {
				t.Errorf("lost (-want +got):\n%s", diff)
			}
			if lost := s.view().PopRemovedByOthers(ours); len(lost) != 0 {
				t.Errorf("lost twice: %v", lost)
			}
		})
	}
}

// An instance that does not lead asks nothing, and a Replika that is gone asks no more: for neither must anything pile up.
func TestNothingIsNotedForThoseWhoDoNotAsk(t *testing.T) {
	comeAndGo := func(s *stage) {
		s.tells(copyAt(shop, "a", 10))
		tellGone(s.copies, copyAt(shop, "a", 10), 11)
	}
	s := newStage(t)
	comeAndGo(s)
	if len(s.view().removed) != 0 {
		t.Errorf("noted %v although nobody asked", s.view().removed)
	}
	user := User{Replika: ours, Purpose: "copy"}
	s.Set(user, s.copies.key)
	s.view().PopRemovedByOthers(ours)
	comeAndGo(s)
	if len(s.view().removed) != 1 {
		t.Errorf("noted %v", s.view().removed)
	}
	s.Set(user)
	comeAndGo(s)
	if len(s.view().removed) != 0 {
		t.Errorf("noted %v for one that is gone", s.view().removed)
	}
}

func TestWhatOthersChangeOnACopyIsNoNews(t *testing.T) {
	s := newStage(t)
	list(s.copies, 10, copyAt(shop, "a", 10))
	s.news = nil
	touched := copyAt(shop, "a", 11)
	s.tells(touched)
	s.wants(t, touched)
	s.wantsNews(t)
}

func TestAnswersAreCarriedOver(t *testing.T) {
	answer := copyAt(shop, "a", 10, digests("defaulted"), answering("sent"))

	t.Run("to a change that leaves the content alone", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(answer, true)
		s.tells(copyAt(shop, "a", 11, digests("defaulted")))
		s.wants(t, copyAt(shop, "a", 11, digests("defaulted"), answering("sent")))
		s.wantsNews(t)
	})
	t.Run("to a list", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(answer, true)
		list(s.copies, 12, copyAt(shop, "a", 11, digests("defaulted")))
		s.wants(t, copyAt(shop, "a", 11, digests("defaulted"), answering("sent")))
		s.wantsNews(t)
	})
	t.Run("not to other content", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(answer, true)
		s.tells(copyAt(shop, "a", 11, digests("edited")))
		s.wants(t, copyAt(shop, "a", 11, digests("edited")))
		s.wantsNews(t, shop)
	})
	t.Run("not to another object", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(answer, true)
		s.tells(copyAt(shop, "b", 11, digests("defaulted")))
		s.wants(t, copyAt(shop, "b", 11, digests("defaulted")))
		s.wantsNews(t, shop)
	})
}

func TestRelist(t *testing.T) {
	a, b := copyAt(shop, "a", 10), copyAt(web, "b", 10)

	t.Run("that says nothing new is no news", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, a, b)
		s.news = nil
		list(s.copies, 30, a, b)
		s.wants(t, a, b)
		s.wantsNews(t)
	})
	t.Run("what it does not name is gone", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, a, b)
		s.view().PopRemovedByOthers(ours)
		s.news = nil
		list(s.copies, 30, a)
		s.wants(t, a)
		s.wantsNews(t, web)
		if diff := cmp.Diff(map[types.NamespacedName]bool{web: true}, s.view().PopRemovedByOthers(ours)); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
	})
	t.Run("unless it is newer than the list", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(web)(copyAt(web, "b", 31), true)
		list(s.copies, 30, a)
		s.wants(t, a, copyAt(web, "b", 31))
		s.wantsNews(t, shop)
	})
	t.Run("or being written", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, a, b)
		s.news = nil
		end := s.view().BeginWrite(web)
		list(s.copies, 30, a)
		s.wants(t, a, b)
		end(copyAt(web, "b", 31), true)
		s.wants(t, a, copyAt(web, "b", 31))
		s.wantsNews(t)
	})
	t.Run("with an older state than our answer", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(copyAt(shop, "a", 12, digests("two")), true)
		list(s.copies, 11, a)
		s.wants(t, copyAt(shop, "a", 12, digests("two")))
		s.wantsNews(t)
	})
	t.Run("with a newer state", func(t *testing.T) {
		s := newStage(t)
		list(s.copies, 10, a)
		s.news = nil
		edited := copyAt(shop, "a", 20, digests("edited"))
		list(s.copies, 30, edited)
		s.wants(t, edited)
		s.wantsNews(t, shop)
	})
	t.Run("leaves foreign objects to the other watch", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(web)(foreignAt(web, "f", 5), true)
		list(s.copies, 30, a)
		s.wants(t, a, foreignAt(web, "f", 5))
		s.wantsNews(t, shop)
	})
}

func TestTombstone(t *testing.T) {
	s := newStage(t)
	old := copyAt(shop, "a", 10)
	list(s.copies, 10, old)
	s.news = nil
	missed := cache.DeletedFinalStateUnknown{Key: shop.String(), Obj: newReducedObject(clone(old))}
	if err := s.copies.Delete(missed); err != nil {
		t.Fatal(err)
	}
	s.wants(t)
	s.wantsNews(t, shop)
	if err := s.copies.Delete(cache.DeletedFinalStateUnknown{Key: shop.String()}); err == nil {
		t.Error("a tombstone without an object is an error")
	}
}

func TestForeignObjects(t *testing.T) {
	met := foreignAt(shop, "f", 10)
	meet := func(t *testing.T) *stage {
		s := newStage(t)
		list(s.copies, 9)
		s.view().BeginWrite(shop)(met, true)
		list(s.obstacles, 11, met)
		s.wants(t, met)
		s.wantsNews(t)
		if !s.view().HasForeign(shop.Name) {
			t.Fatal("the foreign object is not known")
		}
		return s
	}
	t.Run("that nobody met are not kept", func(t *testing.T) {
		s := newStage(t)
		list(s.obstacles, 11, foreignAt(web, "g", 8))
		tell(s.obstacles, met)
		s.wants(t)
		s.wantsNews(t)
	})
	t.Run("that go are news", func(t *testing.T) {
		s := meet(t)
		tellGone(s.obstacles, met, 12)
		s.wants(t)
		s.wantsNews(t, shop)
		if lost := s.view().PopRemovedByOthers(ours); len(lost) != 0 {
			t.Errorf("lost %v, which was never ours", lost)
		}
	})
	t.Run("that went before the watch was there are news", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(met, true)
		list(s.obstacles, 11)
		s.wants(t)
		s.wantsNews(t, shop)
	})
	t.Run("that go while they are met are news", func(t *testing.T) {
		s := newStage(t)
		list(s.obstacles, 9)
		end := s.view().BeginWrite(shop)
		tell(s.obstacles, met)
		tellGone(s.obstacles, met, 11)
		end(met, true)
		s.wants(t)
		s.wantsNews(t, shop)
	})
	t.Run("that change while they are met are known as they are", func(t *testing.T) {
		s := newStage(t)
		list(s.obstacles, 9)
		end := s.view().BeginWrite(shop)
		freed := foreignAt(shop, "f", 11)
		controlled := foreignAt(shop, "f", 10, func(object *planner.Observed) { object.HasController = true })
		tell(s.obstacles, freed)
		end(controlled, true)
		s.wants(t, freed)
		s.wantsNews(t, shop)
	})
	t.Run("that are made anew are known as they are", func(t *testing.T) {
		s := meet(t)
		tellGone(s.obstacles, met, 12)
		tell(s.obstacles, foreignAt(shop, "g", 13))
		s.wants(t)
		s.wantsNews(t, shop)
	})
	t.Run("that get our label are the other watch's", func(t *testing.T) {
		s := meet(t)
		labelled := copyAt(shop, "f", 12, withoutMarks)
		tell(s.obstacles, labelled)
		s.wants(t, met)
		s.tells(labelled)
		s.wants(t, labelled)
		s.wantsNews(t, shop)
	})
	t.Run("that lost our label before they were met stay known", func(t *testing.T) {
		s := newStage(t)
		s.view().BeginWrite(shop)(met, true)
		tellGone(s.copies, met, 10)
		s.wants(t, met)
		s.wantsNews(t)
		tellGone(s.obstacles, met, 11)
		s.wants(t)
		s.wantsNews(t, shop)
	})
	t.Run("that we adopt are copies", func(t *testing.T) {
		s := meet(t)
		adopted := copyAt(shop, "f", 12)
		s.view().BeginWrite(shop)(adopted, true)
		tell(s.obstacles, adopted)
		s.tells(adopted)
		s.wants(t, adopted)
		s.wantsNews(t)
		if s.view().HasForeign(shop.Name) {
			t.Error("it still counts as foreign")
		}
	})
	t.Run("of another name are none of this watch's business", func(t *testing.T) {
		s := newStage(t)
		other := types.NamespacedName{Namespace: "shop", Name: "other"}
		s.view().BeginWrite(other)(foreignAt(other, "o", 5), true)
		list(s.obstacles, 11)
		if !s.view().HasForeign(other.Name) {
			t.Error("it was dropped")
		}
		s.wantsNews(t)
	})
}

func TestKnown(t *testing.T) {
	s := newStage(t)
	former := types.NamespacedName{Namespace: "web", Name: "former-name"}
	s.tells(copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(theirs)), copyAt(former, "c", 12),
		copyAt(types.NamespacedName{Namespace: "shop", Name: "former-name"}, "d", 13, ownedBy(theirs)),
		copyAt(types.NamespacedName{Namespace: "shop", Name: "unrelated"}, "e", 14, ownedBy(theirs)))
	s.wants(t, copyAt(former, "c", 12), copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(theirs)))

	tellGone(s.copies, copyAt(former, "c", 12), 20)
	s.wants(t, copyAt(shop, "a", 10), copyAt(web, "b", 11, ownedBy(theirs)))
	for _, name := range []types.NamespacedName{shop, web, {Namespace: "shop", Name: "former-name"}, {Namespace: "shop", Name: "unrelated"}} {
		tellGone(s.copies, s.view().get(name), 30)
	}
	if len(s.view().objects) != 0 || len(s.view().names) != 0 {
		t.Errorf("left behind: %v, %v", s.view().objects, s.view().names)
	}
}
