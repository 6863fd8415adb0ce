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
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/controllers/planner"
)

// testTimeout is how long a test waits for a condition.
const testTimeout = time.Minute

var (
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	replikaUser = User{Replika: replika, Purpose: "one"}
	rivalUser   = User{Replika: rival, Purpose: "two"}
)

// serverMode is how an API server responds.
type serverMode int

const (
	normal           serverMode = iota
	hanging                     // it never responds
	watchForbidden              // it serves lists, but no watches
	kindNotServed               // it does not serve the kind
	noWatchList                 // it serves lists and watches, but no watches that list
	failing                     // it fails with 500
	overloaded                  // it responds 429 to watches
	watchesEnded                // it opens watches, and ends them with 429
	namedOnly                   // it serves the objects of a namespace by name only
	namedOnlyHanging            // it responds to no other request for them
)

// apiServer is an API server without objects. It counts the open watches and the lists.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	mode    serverMode
	watches map[string]int // by path and field selector
	lists   int
}

func newAPIServer(t *testing.T, mode serverMode) *apiServer {
	t.Helper()
	s := &apiServer{mode: mode, watches: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *apiServer) setMode(mode serverMode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
}

func (s *apiServer) serve(response http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	isWatch := query.Get("watch") == "true"
	s.mu.Lock()
	mode := s.mode
	if !isWatch {
		s.lists++
	}
	s.mu.Unlock()
	response.Header().Set("Content-Type", "application/json")
	kind := "PartialObjectMetadata"
	version := "meta.k8s.io/v1"
	if strings.Contains(query.Get("labelSelector"), "created-by") {
		kind, version = "ConfigMap", "v1"
	}
	unnamed := strings.Contains(request.URL.Path, "/namespaces/") && query.Get("fieldSelector") == ""
	switch {
	case mode == namedOnly && unnamed:
		respondError(response, http.StatusForbidden, "Forbidden")
	case mode == hanging, mode == namedOnlyHanging && unnamed:
		<-request.Context().Done()
	case mode == failing:
		respondError(response, http.StatusInternalServerError, "InternalError")
	case mode == overloaded && isWatch:
		respondError(response, http.StatusTooManyRequests, "TooManyRequests")
	case mode == watchesEnded && isWatch:
		_, _ = fmt.Fprintln(response, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}}`)
	case mode == kindNotServed:
		respondError(response, http.StatusNotFound, "NotFound")
	case mode == watchForbidden && isWatch:
		respondError(response, http.StatusForbidden, "Forbidden")
	case mode == noWatchList && query.Get("sendInitialEvents") == "true":
		respondError(response, http.StatusUnprocessableEntity, "Invalid")
	case !isWatch:
		_, _ = fmt.Fprintf(response, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"5"},"items":[]}`, kind, version)
	default:
		selected := strings.TrimPrefix(request.URL.Path, "/api/v1/") + " " + query.Get("fieldSelector")
		s.count(selected, 1)
		defer s.count(selected, -1)
		_, _ = fmt.Fprintf(response, `{"type":"BOOKMARK","object":{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n",
			kind, version)
		_ = http.NewResponseController(response).Flush()
		<-request.Context().Done()
	}
}

func respondError(response http.ResponseWriter, code int, reason string) {
	response.WriteHeader(code)
	_, _ = fmt.Fprintf(response, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"no","code":%d}`, reason, code)
}

func (s *apiServer) count(selected string, delta int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[selected] += delta
	if s.watches[selected] == 0 {
		delete(s.watches, selected)
	}
}

// openWatches counts the open watches, by path and field selector.
func (s *apiServer) openWatches() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.watches)
}

func (s *apiServer) expectWatches(t *testing.T, want map[string]int) {
	t.Helper()
	eventually(t, func() string { return cmp.Diff(want, s.openWatches()) })
}

// eventually waits until the check finds no difference.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		diff := check()
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", testTimeout, diff)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// eventRecorder records the events that watches send.
type eventRecorder struct {
	mu       sync.Mutex
	contexts []context.Context
	events   []Event
	users    [][]types.NamespacedName
}

func (r *eventRecorder) notify(ctx context.Context, event Event, users []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contexts, r.events, r.users = append(r.contexts, ctx), append(r.events, event), append(r.users, users)
}

// usersOf lists the users of each event of the watch.
func (r *eventRecorder) usersOf(key WatchKey) [][]types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	var users [][]types.NamespacedName
	for i, event := range r.events {
		if event.Watch == key {
			users = append(users, r.users[i])
		}
	}
	return users
}

// newWatches returns watches of the API server that are not started, and their events.
func newWatches(t *testing.T, server *apiServer) (*Watches, *eventRecorder) {
	t.Helper()
	config := &rest.Config{Host: server.URL, QPS: -1}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	recorder := &eventRecorder{}
	watches := NewWatches(objects, newRESTClient(t, config), metadataClient, planner.NewCleaner(), recorder.notify)
	watches.backoff.Duration = 50 * time.Millisecond
	return watches, recorder
}

// start starts the watches. They stop when the test ends, or when it calls stop, which waits for Start to return.
func start(t *testing.T, watches *Watches) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- watches.Start(ctx)
		close(ended)
	}()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(testTimeout):
			t.Error("the watches do not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

// newStartedWatches returns watches of the API server that are started, and their events.
func newStartedWatches(t *testing.T, server *apiServer) (*Watches, *eventRecorder) {
	t.Helper()
	watches, recorder := newWatches(t, server)
	start(t, watches)
	return watches, recorder
}

func withTimeout(t *testing.T, timeout time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func TestWatches_Set_ReplacesAllWatchesOfUser(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, _ := newStartedWatches(t, server)
	source := SourceAt(configMaps, shop)

	watches.Set(replikaUser, CopiesOf(configMaps), source)
	server.expectWatches(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})
	if !watches.WaitForSync(withTimeout(t, testTimeout), source) {
		t.Error("the watch of the source is not synced")
	}
	watches.Set(replikaUser, CopiesOf(configMaps), CopiesOf(secrets), ConflictingObjectsNamed(secrets, "settings"))
	server.expectWatches(t, map[string]int{"configmaps ": 1, "secrets ": 1, "secrets metadata.name=settings": 1})
	if watches.WaitForSync(withTimeout(t, testTimeout), source) {
		t.Error("a watch without a user is synced")
	}
	eventually(t, func() string {
		return cmp.Diff(map[schema.GroupResource]int{{Resource: "configmaps"}: 1, {Resource: "secrets"}: 2}, watches.ActiveWatches())
	})
	watches.Set(replikaUser)
	server.expectWatches(t, map[string]int{})
	if len(watches.users) != 0 || len(watches.active) != 0 {
		t.Errorf("left in the set: %v, %v", watches.users, watches.active)
	}
}

func TestWatches_Set_LastUserStopsWatch(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, _ := newStartedWatches(t, server)
	other := User{Replika: replika, Purpose: "other"}

	for _, user := range []User{replikaUser, rivalUser, other} {
		watches.Set(user, CopiesOf(configMaps))
	}
	server.expectWatches(t, map[string]int{"configmaps ": 1})
	store, synced := watches.Copies(withTimeout(t, testTimeout), configMaps)
	if !synced {
		t.Fatal("the watch is not synced")
	}
	watches.Set(replikaUser)
	watches.Set(other)
	if again, synced := watches.Copies(withTimeout(t, testTimeout), configMaps); !synced || again != store {
		t.Error("the watch stopped although it has a user")
	}
	watches.Set(rivalUser)
	server.expectWatches(t, map[string]int{})

	watches.Set(replikaUser, CopiesOf(configMaps))
	if restarted, synced := watches.Copies(withTimeout(t, testTimeout), configMaps); !synced || restarted == store {
		t.Error("the watch was not started again")
	}
	server.expectWatches(t, map[string]int{"configmaps ": 1})
}

func TestWatches_Set_DoesNotWaitForHangingServer(t *testing.T) {
	server := newAPIServer(t, hanging)
	watches, _ := newStartedWatches(t, server)

	started := time.Now()
	for i := range 100 {
		user := User{Replika: types.NamespacedName{Namespace: "ops", Name: fmt.Sprint(i)}, Purpose: "one"}
		watches.Set(user, CopiesOf(configMaps), SourceAt(configMaps, shop), SourceAt(secrets, web))
		watches.Set(user, CopiesOf(secrets))
	}
	if took := time.Since(started); took > testTimeout { // less than a second for each
		t.Errorf("200 calls of Set took %s", took)
	}
	if _, synced := watches.Copies(withTimeout(t, 50*time.Millisecond), secrets); synced {
		t.Error("a watch that hangs is synced")
	}
	if watches.WaitForSync(withTimeout(t, 50*time.Millisecond), AllCRDs()) {
		t.Error("a watch without a user is synced")
	}
	if len(watches.ActiveWatches()) != 0 {
		t.Errorf("active watches: %v", watches.ActiveWatches())
	}
	// The cleanup checks that they stop, too.
}

func TestWatches_WaitForSync_TimesOutOnce(t *testing.T) {
	server := newAPIServer(t, hanging)
	watches, recorder := newStartedWatches(t, server)
	watches.Set(replikaUser, CopiesOf(configMaps))
	if watches.WaitForSync(withTimeout(t, 50*time.Millisecond), CopiesOf(configMaps)) {
		t.Error("a watch that hangs is synced")
	}
	started := time.Now()
	if _, synced := watches.Copies(withTimeout(t, testTimeout), configMaps); synced || time.Since(started) > testTimeout/2 {
		t.Errorf("synced is %t after %s", synced, time.Since(started))
	}
	server.setMode(normal)
	server.CloseClientConnections()
	eventually(t, func() string {
		return cmp.Diff([][]types.NamespacedName{{replika}}, recorder.usersOf(CopiesOf(configMaps)))
	})
	if !watches.WaitForSync(withTimeout(t, testTimeout), CopiesOf(configMaps)) {
		t.Error("the watch is not synced")
	}
}

func TestWatches_WaitForSync_RefusedWatch(t *testing.T) {
	for name, mode := range map[string]serverMode{"forbidden": watchForbidden, "kind not served": kindNotServed} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, mode)
			watches, recorder := newStartedWatches(t, server)
			keys := []WatchKey{CopiesOf(configMaps), SourceAt(configMaps, shop)}
			watches.Set(replikaUser, keys...)
			ctx := withTimeout(t, testTimeout)
			for _, key := range keys {
				if watches.WaitForSync(ctx, key) {
					t.Errorf("%s is synced", key)
				}
			}
			if _, synced := watches.Copies(ctx, configMaps); synced {
				t.Error("the copies are synced without a watch")
			}
			if ctx.Err() != nil {
				t.Error("waited until the context ended")
			}
			server.setMode(normal)
			server.expectWatches(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})
			for _, key := range keys {
				eventually(t, func() string {
					return cmp.Diff([][]types.NamespacedName{{replika}}, recorder.usersOf(key))
				})
				if !watches.WaitForSync(withTimeout(t, testTimeout), key) {
					t.Errorf("%s is not synced", key)
				}
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if server.lists != 0 {
				t.Errorf("%d lists, although the watch was refused", server.lists)
			}
		})
	}
}

func TestWatches_ServerWithoutWatchList(t *testing.T) {
	for name, before := range map[string]serverMode{"at start": noWatchList, "after a refusal": watchForbidden} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, before)
			watches, _ := newStartedWatches(t, server)
			watches.Set(replikaUser, CopiesOf(configMaps))
			if synced := watches.WaitForSync(withTimeout(t, testTimeout), CopiesOf(configMaps)); synced != (before == noWatchList) {
				t.Errorf("synced is %t", synced)
			}
			server.setMode(noWatchList)
			server.expectWatches(t, map[string]int{"configmaps ": 1})
			eventually(t, func() string {
				return cmp.Diff(true, watches.WaitForSync(withTimeout(t, testTimeout), CopiesOf(configMaps)))
			})
		})
	}
}

func TestWatches_Start_StartsWatchesSetBefore(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, _ := newWatches(t, server)
	source := SourceAt(configMaps, shop)

	watches.Set(replikaUser, CopiesOf(configMaps), source)
	watches.Set(replikaUser, CopiesOf(configMaps))
	watches.Set(rivalUser, source)
	time.Sleep(50 * time.Millisecond)
	if diff := cmp.Diff(map[string]int{}, server.openWatches()); diff != "" || len(watches.ActiveWatches()) != 0 {
		t.Errorf("watches before Start (-want +got):\n%s", diff)
	}

	start(t, watches)
	server.expectWatches(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})
	for _, key := range []WatchKey{CopiesOf(configMaps), source} {
		if !watches.WaitForSync(withTimeout(t, testTimeout), key) {
			t.Errorf("%s is not synced", key)
		}
	}
}

func TestWatches_WaitForSync_BeforeStart(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, recorder := newWatches(t, server)
	copies, source := CopiesOf(configMaps), SourceAt(configMaps, shop)
	watches.Set(replikaUser, copies, source)

	ctx := withTimeout(t, 50*time.Millisecond)
	if _, synced := watches.Copies(ctx, configMaps); synced || ctx.Err() == nil {
		t.Errorf("synced is %t before Start, the context's error is %v", synced, ctx.Err())
	}
	synced := make(chan bool)
	go func() { synced <- watches.WaitForSync(withTimeout(t, testTimeout), source) }()
	start(t, watches)
	if !<-synced {
		t.Error("the watch that a caller waited for is not synced")
	}
	// The caller whose wait timed out gets an event.
	eventually(t, func() string { return cmp.Diff([][]types.NamespacedName{{replika}}, recorder.usersOf(copies)) })
}

func TestWatches_Start_StopsAllWatchesWithContext(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, _ := newWatches(t, server)
	watches.Set(replikaUser, CopiesOf(configMaps))
	stop := start(t, watches)
	watches.Set(rivalUser, SourceAt(configMaps, shop))
	server.expectWatches(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})

	stop()
	watches.Set(rivalUser, CopiesOf(secrets))
	server.expectWatches(t, map[string]int{})
	if watches.active[CopiesOf(secrets)] != nil {
		t.Error("a watch was started after the end")
	}
}

func TestWatch_SyncedAfterListAndOpenStream(t *testing.T) {
	e := newEnvWithoutList(t)
	expectSynced := func(after string, want bool) {
		t.Helper()
		if synced := e.copies.isSynced(); synced != want {
			t.Errorf("after %s, synced is %t", after, synced)
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	e.copies.streamOpened()
	expectSynced("the stream opened", false)
	reportList(e.copies, 5)
	expectSynced("the list", true)
	e.copies.failed(apierrors.NewTimeoutError("timeout", 0))
	expectSynced("a timeout", true)
	e.copies.failed(forbidden)
	expectSynced("a refusal", false)
	reportList(e.copies, 6)
	expectSynced("a list without a stream", false)
	e.copies.failed(forbidden)
	e.copies.streamOpened()
	expectSynced("the stream opened with an old list", false)
	reportList(e.copies, 7)
	expectSynced("the new list", true)
	reportList(e.copies, 8)
	expectSynced("another list", true)
	want := []Event{{Watch: e.copies.key}, {Watch: e.copies.key}} // failed, and synced again
	if diff := cmp.Diff(want, e.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A start with 20,000 copies must not look up the Replikas of each.
func TestWatch_FirstListOfCopiesSendsNoEvents(t *testing.T) {
	e := newEnvWithoutList(t)
	reportList(e.copies, 12, copyAt(shop, "a", 10), copyAt(web, "b", 11))
	e.expectStored(t, copyAt(shop, "a", 10), copyAt(web, "b", 11))
	e.expectEvents(t)
	reportList(e.copies, 14, copyAt(shop, "a", 10), copyAt(web, "b", 13, digests("two")))
	e.expectEvents(t, web)
	report(e.copies, copyAt(shop, "a", 15, digests("two")))
	e.expectEvents(t, shop)

	// After a refusal, the event of the sync stands for all.
	e.copies.failed(apierrors.NewForbidden(schema.GroupResource{}, "", nil))
	e.copies.streamOpened()
	reportList(e.copies, 20, copyAt(shop, "a", 15, digests("two")), copyAt(web, "b", 19, digests("three")))
	if diff := cmp.Diff([]Event{{Watch: e.copies.key}}, e.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestWatch_EventsOfSourceAndCRDs(t *testing.T) {
	for name, key := range map[string]WatchKey{"source": SourceAt(configMaps, shop), "CRDs": AllCRDs()} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			watch := e.addWatch(key)
			object := func(version int) *planner.Observed { return foreignAt(shop, "a", version) }
			watch.streamOpened()
			reportList(watch, 10, object(9))
			e.expectEvents(t)
			report(watch, object(9))
			e.expectEvents(t)
			report(watch, object(11))
			e.expectEvents(t, shop)
			reportList(watch, 12, object(11))
			e.expectEvents(t)
			reportList(watch, 14, object(13))
			e.expectEvents(t, shop)
			reportList(watch, 16)
			e.expectEvents(t, shop)
			reportList(watch, 16)
			e.expectEvents(t)
			report(watch, object(17))
			e.expectEvents(t, shop)
			reportDeleted(watch, object(17), 18)
			e.expectEvents(t, shop)

			// A change while the watch is down is reported when it is synced again.
			report(watch, object(19))
			e.expectEvents(t, shop)
			watch.failed(apierrors.NewForbidden(schema.GroupResource{}, "", nil))
			e.expectEvents(t)
			watch.streamOpened()
			reportList(watch, 30, object(29))
			e.expectEvents(t, shop)
		})
	}
}

func TestWatches_NotifiesUsersExceptOfCopies(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, recorder := newStartedWatches(t, server)
	watches.Set(replikaUser, CopiesOf(configMaps), SourceAt(configMaps, shop))
	watches.Set(rivalUser, CopiesOf(configMaps))
	copies, source := syncedWatch(t, watches, CopiesOf(configMaps)), syncedWatch(t, watches, SourceAt(configMaps, shop))

	report(source, foreignAt(shop, "a", 6))
	if diff := cmp.Diff([][]types.NamespacedName{{replika}}, recorder.usersOf(source.key)); diff != "" {
		t.Errorf("users of the source (-want +got):\n%s", diff)
	}
	report(copies, copyAt(web, "b", 7), copyAt(web, "b", 8, ownedBy(rival)))
	var owners [][]types.NamespacedName
	for _, event := range recorder.events {
		if event.Watch == copies.key {
			owners = append(owners, event.Owners)
		}
	}
	if diff := cmp.Diff([][]types.NamespacedName{{replika}, {replika, rival}}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if users := recorder.usersOf(copies.key); slices.ContainsFunc(users, func(users []types.NamespacedName) bool { return users != nil }) {
		t.Errorf("users of one copy: %v", users)
	}
}

// syncedWatch returns the watch once it has synced, for a test that reports changes to it.
func syncedWatch(t *testing.T, watches *Watches, key WatchKey) *watch {
	t.Helper()
	if !watches.WaitForSync(withTimeout(t, testTimeout), key) {
		t.Fatalf("%s is not synced", key)
	}
	return watches.active[key]
}

func TestWatches_NotifiesUnderContextOfWatch(t *testing.T) {
	server := newAPIServer(t, normal)
	watches, recorder := newStartedWatches(t, server)
	watches.Set(replikaUser, SourceAt(configMaps, shop))
	source := syncedWatch(t, watches, SourceAt(configMaps, shop))
	report(source, foreignAt(shop, "a", 6))
	if len(recorder.contexts) != 1 || recorder.contexts[0].Err() != nil {
		t.Fatalf("contexts: %v", recorder.contexts)
	}
	watches.Set(replikaUser)
	if recorder.contexts[0].Err() == nil {
		t.Error("the context did not end with the watch")
	}
}
