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

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

var (
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	one     = User{Replika: ours, Purpose: "one"}
	two     = User{Replika: theirs, Purpose: "two"}
)

// temper is how an API server answers.
type temper int

const (
	willing    temper = iota
	hanging           // it takes requests, and never answers
	forbidding        // it lists, but does not let anybody watch
	forgetful         // it has never heard of the kind
	outdated          // it knows lists and watches, but no watch that lists
)

// apiServer is one without any objects, in every temper, which knows who watches what.
type apiServer struct {
	*httptest.Server
	mu       sync.Mutex
	temper   temper
	watching map[string]int
	lists    int
}

func newAPIServer(t *testing.T, temper temper) *apiServer {
	t.Helper()
	s := &apiServer{temper: temper, watching: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *apiServer) become(temper temper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temper = temper
}

func (s *apiServer) serve(response http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	watches := query.Get("watch") == "true"
	s.mu.Lock()
	temper := s.temper
	if !watches {
		s.lists++
	}
	s.mu.Unlock()
	response.Header().Set("Content-Type", "application/json")
	kind := "PartialObjectMetadata"
	version := "meta.k8s.io/v1"
	if strings.Contains(query.Get("labelSelector"), "created-by") {
		kind, version = "ConfigMap", "v1"
	}
	switch {
	case temper == hanging:
		<-request.Context().Done()
	case temper == forgetful:
		refuse(response, http.StatusNotFound, "NotFound")
	case temper == forbidding && watches:
		refuse(response, http.StatusForbidden, "Forbidden")
	case temper == outdated && query.Get("sendInitialEvents") == "true":
		refuse(response, http.StatusUnprocessableEntity, "Invalid")
	case !watches:
		_, _ = fmt.Fprintf(response, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"5"},"items":[]}`, kind, version)
	default:
		about := strings.TrimPrefix(request.URL.Path, "/api/v1/") + " " + query.Get("fieldSelector")
		s.count(about, 1)
		defer s.count(about, -1)
		_, _ = fmt.Fprintf(response, `{"type":"BOOKMARK","object":{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n",
			kind, version)
		_ = http.NewResponseController(response).Flush()
		<-request.Context().Done()
	}
}

func refuse(response http.ResponseWriter, code int, reason string) {
	response.WriteHeader(code)
	_, _ = fmt.Fprintf(response, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"no","code":%d}`, reason, code)
}

func (s *apiServer) count(about string, change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching[about] += change
	if s.watching[about] == 0 {
		delete(s.watching, about)
	}
}

// watched lists who is watched, with how many watches.
func (s *apiServer) watched() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.watching)
}

func (s *apiServer) wantsWatched(t *testing.T, wanted map[string]int) {
	t.Helper()
	eventually(t, func() string { return cmp.Diff(wanted, s.watched()) })
}

// eventually waits until the function finds nothing wrong.
func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		found := wrong()
		if found == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", patience, found)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// told collects what watches tell.
type told struct {
	mu      sync.Mutex
	changes []Event
	users   [][]types.NamespacedName
}

func (c *told) notify(change Event, users []types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes, c.users = append(c.changes, change), append(c.users, users)
}

func (c *told) of(interest WatchKey) [][]types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	var users [][]types.NamespacedName
	for i, change := range c.changes {
		if change.Watch == interest {
			users = append(users, c.users[i])
		}
	}
	return users
}

// newWatches returns watches of the API server, which end with the test, and what they tell.
func newWatches(t *testing.T, server *apiServer) (*Watches, *told) {
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
	told := &told{}
	watches := NewWatches(objects, metadataClient, planner.NewCleaner(), told.notify)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watches.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the watches do not end")
		}
	})
	return watches, told
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestTheSetOfAUserIsReplacedAsAWhole(t *testing.T) {
	server := newAPIServer(t, willing)
	watches, _ := newWatches(t, server)
	source := SourceAt(configMaps, shop)

	watches.Set(one, CopiesOf(configMaps), source)
	server.wantsWatched(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})
	if !watches.WaitForSync(within(t, patience), source) {
		t.Error("the watch of the source is not up")
	}
	watches.Set(one, CopiesOf(configMaps), CopiesOf(secrets), ConflictingObjectsNamed(secrets, "settings"))
	server.wantsWatched(t, map[string]int{"configmaps ": 1, "secrets ": 1, "secrets metadata.name=settings": 1})
	if watches.WaitForSync(within(t, patience), source) {
		t.Error("a watch that nobody wants is up")
	}
	eventually(t, func() string {
		return cmp.Diff(map[schema.GroupResource]int{{Resource: "configmaps"}: 1, {Resource: "secrets"}: 2}, watches.ActiveWatches())
	})
	watches.Set(one)
	server.wantsWatched(t, map[string]int{})
	if len(watches.users) != 0 || len(watches.active) != 0 {
		t.Errorf("left behind: %v, %v", watches.users, watches.active)
	}
}

func TestTheLastUserEndsAWatch(t *testing.T) {
	server := newAPIServer(t, willing)
	watches, _ := newWatches(t, server)
	other := User{Replika: ours, Purpose: "other"}

	for _, user := range []User{one, two, other} {
		watches.Set(user, CopiesOf(configMaps))
	}
	server.wantsWatched(t, map[string]int{"configmaps ": 1})
	view, up := watches.Copies(within(t, patience), configMaps)
	if !up {
		t.Fatal("the watch is not up")
	}
	watches.Set(one)
	watches.Set(other)
	if still, up := watches.Copies(within(t, patience), configMaps); !up || still != view {
		t.Error("the watch ended although somebody still wants it")
	}
	watches.Set(two)
	server.wantsWatched(t, map[string]int{})

	watches.Set(one, CopiesOf(configMaps))
	if anew, up := watches.Copies(within(t, patience), configMaps); !up || anew == view {
		t.Error("the watch did not begin anew")
	}
	server.wantsWatched(t, map[string]int{"configmaps ": 1})
}

func TestNothingWaitsForAnAPIServerThatHangs(t *testing.T) {
	server := newAPIServer(t, hanging)
	watches, _ := newWatches(t, server)

	began := time.Now()
	for i := range 100 {
		user := User{Replika: types.NamespacedName{Namespace: "ops", Name: fmt.Sprint(i)}, Purpose: "one"}
		watches.Set(user, CopiesOf(configMaps), SourceAt(configMaps, shop), SourceAt(secrets, web))
		watches.Set(user, CopiesOf(secrets))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("200 changes of the set took %s", took)
	}
	if _, up := watches.Copies(within(t, 50*time.Millisecond), secrets); up {
		t.Error("a watch that hangs is up")
	}
	if watches.WaitForSync(within(t, 50*time.Millisecond), AllCRDs()) {
		t.Error("a watch that nobody asked for is up")
	}
	if len(watches.ActiveWatches()) != 0 {
		t.Errorf("running: %v", watches.ActiveWatches())
	}
	// That they end, too, is checked by the cleanup.
}

func TestAWatchIsWaitedForInVainOnce(t *testing.T) {
	server := newAPIServer(t, hanging)
	watches, told := newWatches(t, server)
	watches.Set(one, CopiesOf(configMaps))
	if watches.WaitForSync(within(t, 50*time.Millisecond), CopiesOf(configMaps)) {
		t.Error("a watch that hangs is up")
	}
	began := time.Now()
	if _, up := watches.Copies(within(t, patience), configMaps); up || time.Since(began) > patience/2 {
		t.Errorf("up is %t after %s", up, time.Since(began))
	}
	server.become(willing)
	server.CloseClientConnections()
	eventually(t, func() string { return cmp.Diff([][]types.NamespacedName{{ours}}, told.of(CopiesOf(configMaps))) })
	if !watches.WaitForSync(within(t, patience), CopiesOf(configMaps)) {
		t.Error("the watch is not up")
	}
}

func TestARefusedWatchIsToldAtOnceAndHadWhenItIsAllowed(t *testing.T) {
	for name, temper := range map[string]temper{"forbidden": forbidding, "no such kind": forgetful} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, temper)
			watches, told := newWatches(t, server)
			interests := []WatchKey{CopiesOf(configMaps), SourceAt(configMaps, shop)}
			watches.Set(one, interests...)
			ctx := within(t, patience)
			for _, interest := range interests {
				if watches.WaitForSync(ctx, interest) {
					t.Errorf("%s is up", interest)
				}
			}
			if _, up := watches.Copies(ctx, configMaps); up {
				t.Error("copies are told of without a watch")
			}
			if ctx.Err() != nil {
				t.Error("it took as long as the context lasts")
			}
			server.become(willing)
			server.wantsWatched(t, map[string]int{"configmaps ": 1, "namespaces/shop/configmaps metadata.name=settings": 1})
			for _, interest := range interests {
				eventually(t, func() string {
					return cmp.Diff([][]types.NamespacedName{{ours}}, told.of(interest))
				})
				if !watches.WaitForSync(within(t, patience), interest) {
					t.Errorf("%s is not up", interest)
				}
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if server.lists != 0 {
				t.Errorf("%d lists were read in vain", server.lists)
			}
		})
	}
}

func TestAWatchIsHadFromAnOutdatedAPIServer(t *testing.T) {
	for name, before := range map[string]temper{"at once": outdated, "once it is allowed": forbidding} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, before)
			watches, _ := newWatches(t, server)
			watches.Set(one, CopiesOf(configMaps))
			if up := watches.WaitForSync(within(t, patience), CopiesOf(configMaps)); up != (before == outdated) {
				t.Errorf("up is %t", up)
			}
			server.become(outdated)
			server.wantsWatched(t, map[string]int{"configmaps ": 1})
			eventually(t, func() string {
				return cmp.Diff(true, watches.WaitForSync(within(t, patience), CopiesOf(configMaps)))
			})
		})
	}
}

func TestEndedWatchesStayEnded(t *testing.T) {
	server := newAPIServer(t, willing)
	config := &rest.Config{Host: server.URL}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	watches := NewWatches(objects, nil, planner.NewCleaner(), (&told{}).notify)
	watches.Set(one, CopiesOf(configMaps))
	server.wantsWatched(t, map[string]int{"configmaps ": 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := watches.Start(ctx); err != nil {
		t.Error(err)
	}
	watches.Set(two, CopiesOf(secrets))
	server.wantsWatched(t, map[string]int{})
	if watches.active[CopiesOf(secrets)] != nil {
		t.Error("a watch was begun after the end")
	}
}

func TestAWatchIsUpOnceItHasListedAndOpened(t *testing.T) {
	s := newStage(t)
	upAfter := func(what string, wanted bool) {
		t.Helper()
		if up := s.copies.synced(); up != wanted {
			t.Errorf("after %s, up is %t", what, up)
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	s.copies.streamOpened()
	upAfter("opening", false)
	list(s.copies, 5)
	upAfter("the list", true)
	s.copies.failed(apierrors.NewTimeoutError("late", 0))
	upAfter("a broken connection", true)
	s.copies.failed(forbidden)
	upAfter("a refusal", false)
	list(s.copies, 6)
	upAfter("a list without a watch", false)
	s.copies.failed(forbidden)
	s.copies.streamOpened()
	upAfter("opening, with what was listed long ago", false)
	list(s.copies, 7)
	upAfter("the new list", true)
	list(s.copies, 8)
	upAfter("another list", true)
	wanted := []Event{{Watch: s.copies.key}, {Watch: s.copies.key}} // down, and up again
	if diff := cmp.Diff(wanted, s.news); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestNewsOfSourcesAndDefinitions(t *testing.T) {
	for name, interest := range map[string]WatchKey{"source": SourceAt(configMaps, shop), "definitions": AllCRDs()} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			watch := newWatch(s.Watches, interest, s.stop)
			s.active[interest] = watch
			object := func(version int) *planner.Observed { return foreignAt(shop, "a", version) }
			watch.streamOpened()
			list(watch, 10, object(9))
			s.wantsNews(t)
			tell(watch, object(9))
			s.wantsNews(t)
			tell(watch, object(11))
			s.wantsNews(t, shop)
			list(watch, 12, object(11))
			s.wantsNews(t)
			list(watch, 14, object(13))
			s.wantsNews(t, shop)
			list(watch, 16)
			s.wantsNews(t, shop)
			list(watch, 16)
			s.wantsNews(t)
			tell(watch, object(17))
			s.wantsNews(t, shop)
			tellGone(watch, object(17), 18)
			s.wantsNews(t, shop)

			// What happens while the watch cannot be had is news when it is back.
			tell(watch, object(19))
			s.wantsNews(t, shop)
			watch.failed(apierrors.NewForbidden(schema.GroupResource{}, "", nil))
			s.wantsNews(t)
			watch.streamOpened()
			list(watch, 30, object(29))
			s.wantsNews(t, shop)
		})
	}
}

func TestOwnersAreToldOfCopiesAndUsersOfAllElse(t *testing.T) {
	server := newAPIServer(t, hanging)
	watches, told := newWatches(t, server)
	watches.Set(one, CopiesOf(configMaps), SourceAt(configMaps, shop))
	watches.Set(two, CopiesOf(configMaps))
	copies, source := watches.active[CopiesOf(configMaps)], watches.active[SourceAt(configMaps, shop)]

	list(source, 5)
	tell(source, foreignAt(shop, "a", 6))
	if diff := cmp.Diff([][]types.NamespacedName{{ours}}, told.of(source.key)); diff != "" {
		t.Errorf("told of the source (-want +got):\n%s", diff)
	}
	tell(copies, copyAt(web, "b", 7), copyAt(web, "b", 8, ownedBy(theirs)))
	var owners [][]types.NamespacedName
	for _, change := range told.changes {
		if change.Watch == copies.key {
			owners = append(owners, change.Owners)
		}
	}
	if diff := cmp.Diff([][]types.NamespacedName{{ours}, {ours, theirs}}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if users := told.of(copies.key); slices.ContainsFunc(users, func(users []types.NamespacedName) bool { return users != nil }) {
		t.Errorf("of one copy, all users of its kind were told: %v", users)
	}
}
