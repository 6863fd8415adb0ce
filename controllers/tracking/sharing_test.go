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
	"fmt"
	"maps"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// numberedSource is one of many sources in a namespace, each with a Replika of its own.
func numberedSource(i int) (User, WatchKey) {
	name := fmt.Sprintf("source-%02d", i)
	return User{Replika: types.NamespacedName{Namespace: "ops", Name: name}, Purpose: "copies"},
		SourceAt(configMaps, Key{Namespace: "shop", Name: name})
}

// setSources has the Replikas of these sources use them.
func setSources(watches *Watches, from, to int) {
	for i := from; i < to; i++ {
		user, key := numberedSource(i)
		watches.Set(user, key)
	}
}

// releaseSources has the Replikas of these sources use nothing.
func releaseSources(watches *Watches, from, to int) {
	for i := from; i < to; i++ {
		user, _ := numberedSource(i)
		watches.Set(user)
	}
}

// singleStreams are the open streams if each of these sources has its own.
func singleStreams(from, to int) map[string]int {
	streams := map[string]int{}
	for i := from; i < to; i++ {
		_, key := numberedSource(i)
		streams["namespaces/shop/configmaps metadata.name="+key.Name] = 1
	}
	return streams
}

// sharedStream are the open streams if all sources share one.
var sharedStream = map[string]int{"namespaces/shop/configmaps ": 1}

// expectSynced waits for these sources.
func expectSynced(t *testing.T, watches *Watches, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		_, key := numberedSource(i)
		watches.WaitForSync(withTimeout(t, testTimeout), key)
		eventually(t, func() string { return cmp.Diff(Synced, watches.State(key)) })
	}
	if unavailable := watches.Unavailable(); len(unavailable) != 0 {
		t.Errorf("unavailable: %v", unavailable)
	}
}

func TestWatches_ManySourcesShareOneWatch(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, recorder := newStartedWatches(t, server)

	setSources(watches, 0, 16)
	server.expectWatches(t, singleStreams(0, 16))
	setSources(watches, 16, 17)
	server.expectWatches(t, sharedStream)
	setSources(watches, 17, 40)
	expectSynced(t, watches, 0, 40)
	if diff := cmp.Diff(map[schema.GroupResource]int{{Resource: "configmaps"}: 1}, watches.ActiveWatches()); diff != "" {
		t.Errorf("active watches (-want +got):\n%s", diff)
	}
	watches.Set(rivalUser, SourceAt(configMaps, web), SourceAt(secrets, shop))
	server.expectWatches(t, map[string]int{
		"namespaces/shop/configmaps ": 1, "namespaces/web/configmaps metadata.name=settings": 1,
		"namespaces/shop/secrets metadata.name=settings": 1,
	})
	watches.Set(rivalUser)

	releaseSources(watches, 8, 40)
	server.expectWatches(t, sharedStream)
	releaseSources(watches, 7, 8)
	server.expectWatches(t, singleStreams(0, 7))
	expectSynced(t, watches, 0, 7)
	setSources(watches, 7, 16)
	server.expectWatches(t, singleStreams(0, 16))

	releaseSources(watches, 0, 16)
	server.expectWatches(t, map[string]int{})
	if len(watches.sources)+len(watches.active)+len(watches.needed) != 0 {
		t.Errorf("left in the set: %v, %v, %v", watches.sources, watches.active, watches.needed)
	}
	// A source that does not exist has an event for each switch; see handOver.
	for i := range 40 {
		_, key := numberedSource(i)
		if events := len(recorder.usersOf(key)); events > 2 {
			t.Errorf("%d events of %s", events, key)
		}
	}
}

func TestWatches_SourcesHaveTheirOwnWatchesIfTheSharedOneIsUnavailable(t *testing.T) {
	for name, mode := range map[string]serverMode{"refused": namedOnly, "no response": namedOnlyHanging} {
		t.Run(name+" at start", func(t *testing.T) {
			server := newAPIServer(t, mode)
			watches, _ := newStartedWatches(t, server)
			setSources(watches, 0, 20)
			// If the API server does not respond, one wait times out, and then no other has to.
			_, last := numberedSource(19)
			watches.WaitForSync(withTimeout(t, 100*time.Millisecond), last)
			expectSynced(t, watches, 0, 20)
			server.expectWatches(t, singleStreams(0, 20))
			setSources(watches, 20, 21)
			expectSynced(t, watches, 20, 21)
			server.expectWatches(t, singleStreams(0, 21))

			server.setMode(normal)
			server.CloseClientConnections()
			server.expectWatches(t, sharedStream)
			expectSynced(t, watches, 0, 21)
		})
		t.Run(name+" later", func(t *testing.T) {
			server := newAPIServer(t, normal)
			watches, recorder := newWatches(t, server)
			watches.staleAfter = 300 * time.Millisecond
			watches.trustAfter = testTimeout // longer than a stream that the server ends can stay open on a busy machine
			start(t, watches)
			setSources(watches, 0, 20)
			server.expectWatches(t, sharedStream)
			expectSynced(t, watches, 0, 20)

			server.setMode(mode)
			server.CloseClientConnections()
			server.expectWatches(t, singleStreams(0, 20))
			expectSynced(t, watches, 0, 20)
			for i := range 20 {
				user, key := numberedSource(i)
				users := recorder.usersOf(key)
				if len(users) == 0 || users[len(users)-1][0] != user.Replika {
					t.Errorf("%s was unavailable, and its users got the events %v", key, users)
				}
			}
			releaseSources(watches, 0, 20)
			server.expectWatches(t, map[string]int{})
		})
	}
}

// newSharingEnv returns an env in which four sources share a watch, and three do not any more.
func newSharingEnv(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	e.shareAbove, e.shareAtLeast = 3, 4
	return e
}

// synced has the watch of the key list the objects, by their names and resourceVersions, and returns it.
func (e *env) synced(t *testing.T, key WatchKey, objects map[string]int) *watch {
	t.Helper()
	watch := e.active[key]
	if watch == nil {
		t.Fatalf("no watch of %s", key)
	}
	var list []any
	for name, version := range objects {
		list = append(list, labelled(name, version, nil))
	}
	watch.streamOpened()
	if err := watch.Replace(list, "100"); err != nil {
		t.Fatal(err)
	}
	return watch
}

// labelled is the metadata of an object in the namespace of the sources.
func labelled(name string, version int, labels map[string]string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, ResourceVersion: strconv.Itoa(version), Labels: labels,
	}}
}

// expectSourceEvents checks which events were sent since the last check.
func (e *env) expectSourceEvents(t *testing.T, after string, want ...Event) {
	t.Helper()
	if diff := cmp.Diff(want, e.events); diff != "" {
		t.Errorf("events after %s (-want +got):\n%s", after, diff)
	}
	e.events = nil
}

func changeOf(key WatchKey) Event { return Event{Watch: key, Key: key.object()} }

func TestWatches_SwitchLosesNoEventAndSendsNoOther(t *testing.T) {
	e := newSharingEnv(t)
	_, first := numberedSource(0)
	_, second := numberedSource(1)
	_, third := numberedSource(2)
	_, fourth := numberedSource(3)
	objects := map[string]int{first.Name: 10, second.Name: 11, third.Name: 12, fourth.Name: 13, "unused": 14}
	setSources(e.Watches, 0, 3)
	singles := map[WatchKey]*watch{}
	for _, key := range []WatchKey{first, second, third} {
		singles[key] = e.synced(t, key, map[string]int{key.Name: objects[key.Name]})
	}
	setSources(e.Watches, 3, 4)

	// The single watches go on until the shared one has synced.
	receive(t, singles[first].Update, labelled(first.Name, 20, nil))
	e.expectSourceEvents(t, "a change before the switch", changeOf(first))
	objects[first.Name], objects[second.Name] = 20, 21
	shared := e.synced(t, SourcesIn(configMaps, "shop"), objects)
	e.expectSourceEvents(t, "the switch", changeOf(second))
	receive(t, singles[second].Update, labelled(second.Name, 21, nil))
	singles[third].failed(apierrors.NewForbidden(schema.GroupResource{}, "", nil))
	e.expectSourceEvents(t, "late reports of watches that were stopped")
	receive(t, shared.Update, labelled(third.Name, 30, nil))
	receive(t, shared.Update, labelled("unused", 31, nil))
	receive(t, shared.Delete, labelled(fourth.Name, 32, nil))
	e.expectSourceEvents(t, "changes", changeOf(third), changeOf(fourth))

	// And back: the shared watch goes on until each single one has synced.
	releaseSources(e.Watches, 3, 4)
	e.synced(t, first, map[string]int{first.Name: 20})
	e.expectSourceEvents(t, "the switch back without a change")
	receive(t, shared.Update, labelled(first.Name, 40, nil))
	receive(t, shared.Update, labelled(second.Name, 41, nil))
	e.expectSourceEvents(t, "changes meanwhile", changeOf(second))
	e.synced(t, second, map[string]int{second.Name: 42})
	e.synced(t, third, map[string]int{third.Name: 30})
	e.expectSourceEvents(t, "the switch back", changeOf(second))
	if e.active[shared.key] != nil {
		t.Error("the shared watch goes on")
	}
}

func receive(t *testing.T, report func(any) error, object any) {
	t.Helper()
	if err := report(object); err != nil {
		t.Fatal(err)
	}
}

// Users may have read the object after the single watch had reported that it does not exist, and before the shared one listed.
func TestWatches_SwitchReportsASourceThatNeitherWatchSees(t *testing.T) {
	e := newSharingEnv(t)
	setSources(e.Watches, 0, 4)
	_, absent := numberedSource(0)
	e.synced(t, absent, nil)
	e.synced(t, SourcesIn(configMaps, "shop"), nil)
	e.expectSourceEvents(t, "the switch", changeOf(absent))
}

// Users who wait for a shared watch must not learn that it was refused: their source gets a watch of its own.
func TestWatches_WaitForSync_SharedWatchRefused(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	for name, refuse := range map[string]func(shared *watch){
		"before the waiter resumes": func(shared *watch) { shared.failed(forbidden) },
		"after the waiter resumes": func(shared *watch) { // what failed does first
			shared.mu.Lock()
			defer shared.mu.Unlock()
			shared.problem = NotAllowed
			shared.down()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newSharingEnv(t)
				setSources(e.Watches, 0, 4)
				_, waiting := numberedSource(3)
				result := make(chan bool)
				go func() { result <- e.WaitForSync(t.Context(), waiting) }()
				synctest.Wait()
				refuse(e.active[SourcesIn(configMaps, "shop")])
				synctest.Wait()
				if state := e.State(waiting); state != Syncing {
					t.Errorf("the state is %s", state)
				}
				e.synced(t, waiting, map[string]int{waiting.Name: 10})
				if !<-result {
					t.Error("the wait ended without a sync")
				}
				e.expectSourceEvents(t, "the wait")
			})
		})
	}
}

func TestWatches_UsersOfAllSources(t *testing.T) {
	e := newEnv(t)
	all := SourcesIn(configMaps, "shop")
	_, source := numberedSource(0)
	setSources(e.Watches, 0, 1)
	single := e.synced(t, source, map[string]int{source.Name: 10})
	e.Set(replikaUser, all)
	shared := e.active[all]
	shared.streamOpened()
	if err := shared.Replace([]any{labelled(source.Name, 10, nil), labelled("other", 11, map[string]string{"team": "a"})}, "12"); err != nil {
		t.Fatal(err)
	}
	e.expectSourceEvents(t, "the switch")
	if e.active[source] != nil || single.servesAny() {
		t.Error("the single watch goes on")
	}

	event := func(name string, sets ...labels.Set) Event {
		return Event{Watch: all, Key: Key{Namespace: "shop", Name: name}, Labels: sets}
	}
	teamA, teamB := map[string]string{"team": "a"}, map[string]string{"team": "b", "empty": ""}
	receive(t, shared.Update, labelled(source.Name, 20, nil))
	e.expectSourceEvents(t, "a change of the source", event(source.Name, labels.Set{}), changeOf(source))
	receive(t, shared.Update, labelled("other", 21, teamB))
	e.expectSourceEvents(t, "a change of labels", event("other", teamA, teamB))
	receive(t, shared.Update, labelled("new", 22, teamA))
	e.expectSourceEvents(t, "a creation", event("new", teamA))
	receive(t, shared.Delete, labelled("other", 23, teamB))
	e.expectSourceEvents(t, "a deletion", event("other", teamB))
	receive(t, func(object any) error { return shared.Replace([]any{object}, "30") }, labelled(source.Name, 20, nil))
	e.expectSourceEvents(t, "a list without an object", event("new", teamA))

	// The shared watch serves as long as it is used for all sources, and after that until the single one has synced.
	e.Set(replikaUser)
	receive(t, shared.Update, labelled(source.Name, 40, nil))
	receive(t, shared.Update, labelled("new", 41, nil))
	e.expectSourceEvents(t, "the release", changeOf(source))
	e.synced(t, source, map[string]int{source.Name: 40})
	e.expectSourceEvents(t, "the switch back")
	if e.active[all] != nil {
		t.Error("the shared watch goes on")
	}
}

func TestWatches_UsersOfAllSources_OneStream(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, _ := newStartedWatches(t, server)
	all := SourcesIn(configMaps, "shop")
	if watches.WaitForSync(t.Context(), all) {
		t.Error("a watch without a user is synced")
	}
	watches.Set(replikaUser, all)
	setSources(watches, 0, 2)
	server.expectWatches(t, sharedStream)
	if !watches.WaitForSync(withTimeout(t, testTimeout), all) {
		t.Error("the watch is not synced")
	}
	expectSynced(t, watches, 0, 2)
	setSources(watches, 2, 20)
	watches.Set(replikaUser)
	server.expectWatches(t, sharedStream)
	if watches.WaitForSync(t.Context(), all) {
		t.Error("a watch without a user of its key is synced")
	}
	watches.Set(replikaUser, all)
	releaseSources(watches, 0, 20)
	server.expectWatches(t, maps.Clone(sharedStream))

	server.setMode(namedOnly)
	server.CloseClientConnections()
	eventually(t, func() string { return cmp.Diff(NotAllowed, watches.State(all)) })
	want := map[schema.GroupResource]map[State]int{{Resource: "configmaps"}: {NotAllowed: 1}}
	if diff := cmp.Diff(want, watches.Unavailable()); diff != "" {
		t.Errorf("unavailable (-want +got):\n%s", diff)
	}
}
