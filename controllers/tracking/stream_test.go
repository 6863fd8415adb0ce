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
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

func TestWatches_WatchThatFailsIsStale(t *testing.T) {
	for name, mode := range map[string]serverMode{
		"every request fails": failing, "watches are rejected": overloaded, "watches end at once": watchesEnded, "no response": hanging,
	} {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, normal)
			watches, recorder := newWatches(t, server)
			watches.staleAfter = 300 * time.Millisecond
			watches.trustAfter = testTimeout // longer than a stream that the server ends can stay open on a busy machine
			start(t, watches)
			keys := []WatchKey{CopiesOf(configMaps), SourceAt(configMaps, shop)}
			watches.Set(replikaUser, keys...)
			for _, key := range keys {
				syncedWatch(t, watches, key)
			}

			server.setMode(mode)
			server.CloseClientConnections()
			for _, key := range keys {
				eventually(t, func() string { return cmp.Diff(Failing, watches.State(key)) })
				eventually(t, func() string { return cmp.Diff([][]types.NamespacedName{{replika}}, recorder.usersOf(key)) })
			}
			if _, synced := watches.Copies(t.Context(), configMaps); synced {
				t.Error("a stale view can be planned by")
			}
			if active := watches.ActiveWatches(); len(active) != 0 {
				t.Errorf("active watches: %v", active)
			}

			server.setMode(normal)
			server.CloseClientConnections()
			for _, key := range keys {
				eventually(t, func() string { return cmp.Diff(Synced, watches.State(key)) })
				eventually(t, func() string { return cmp.Diff([][]types.NamespacedName{{replika}, {replika}}, recorder.usersOf(key)) })
			}
		})
	}
}

// step is what happens to a watch, and what its state is then.
type step struct {
	name   string
	happen func(*watch)
	want   State
}

func TestWatch_State(t *testing.T) {
	forbidden, internal := apierrors.NewForbidden(schema.GroupResource{}, "", nil), apierrors.NewInternalError(errors.New("no"))
	opened, closed := (*watch).streamOpened, (*watch).streamClosed
	listed := func(w *watch) { reportList(w, 5) }
	fail := func(err error) func(*watch) { return func(w *watch) { w.failed(err) } }
	wait := func(d time.Duration) func(*watch) { return func(*watch) { time.Sleep(d); synctest.Wait() } }
	synced := []step{{"list", listed, Syncing}, {"stream", opened, Synced}}
	tests := map[string]struct {
		steps      []step
		wantEvents int
	}{
		"first list takes long": {[]step{
			{"nothing", wait(time.Hour), Syncing},
			{"a caller's wait times out", (*watch).waitTimedOut, Syncing},
			{"list", listed, Syncing},
			{"stream", opened, Synced},
		}, 1},
		"first list fails":      {[]step{{"failure", fail(internal), Failing}, {"list", listed, Failing}, {"stream", opened, Synced}}, 0},
		"forbidden":             {[]step{{"refusal", fail(forbidden), NotAllowed}}, 0},
		"unauthorized":          {[]step{{"refusal", fail(apierrors.NewUnauthorized("")), NotAllowed}}, 0},
		"not served":            {[]step{{"refusal", fail(apierrors.NewNotFound(schema.GroupResource{}, "")), NotSupported}}, 0},
		"no verb watch":         {[]step{{"refusal", fail(apierrors.NewMethodNotSupported(schema.GroupResource{}, "")), NotSupported}}, 0},
		"forbidden later":       {append(slices.Clip(synced), step{"refusal", fail(forbidden), NotAllowed}, step{"an hour", wait(time.Hour), NotAllowed}), 1},
		"stream without events": {append(slices.Clip(synced), step{"an hour", wait(time.Hour), Synced}), 0},
		"stream opened again in time": {append(slices.Clip(synced),
			step{"end", closed, Synced}, step{"59 seconds", wait(59 * time.Second), Synced},
			step{"stream", opened, Synced}, step{"an hour", wait(time.Hour), Synced},
		), 0},
		"no stream for a minute": {append(slices.Clip(synced),
			step{"end", closed, Synced}, step{"failure", fail(internal), Synced}, step{"a minute", wait(time.Minute), Failing},
			step{"list", listed, Failing}, step{"stream", opened, Failing}, step{"trust", wait(5 * time.Second), Synced},
		), 2},
		"event on the next stream": {append(slices.Clip(synced),
			step{"end", closed, Synced}, step{"a minute", wait(time.Minute), Failing},
			step{"stream", opened, Failing}, step{"event", func(w *watch) { report(w, copyAt(shop, "a", 7)) }, Synced},
		), 2},
		"bookmark on the next stream": {append(slices.Clip(synced),
			step{"end", closed, Synced}, step{"a minute", wait(time.Minute), Failing},
			step{"stream", opened, Failing}, step{"bookmark", func(w *watch) { _ = w.Bookmark("7") }, Synced},
		), 2},
		"streams that end at once": {append(slices.Clip(synced),
			step{"end", closed, Synced}, step{"59 seconds", wait(59 * time.Second), Synced},
			step{"stream", opened, Synced}, step{"two seconds", wait(2 * time.Second), Synced},
			step{"end", closed, Synced}, step{"check", wait(0), Failing},
			step{"stream", opened, Failing}, step{"end", closed, Failing}, step{"an hour", wait(time.Hour), Failing},
		), 1},
		"broken stream of a watch that has ended": {append(slices.Clip(synced),
			step{"end of the watch", (*watch).endChecks, Synced}, step{"end", closed, Synced}, step{"an hour", wait(time.Hour), Synced},
		), 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnvWithoutList(t)
				for _, step := range test.steps {
					step.happen(e.copies)
					if state := e.State(e.copies.key); state != step.want {
						t.Errorf("after %s, the state is %s, want %s", step.name, state, step.want)
					}
				}
				events := 0
				for _, event := range e.events {
					if event.Key == (Key{}) {
						events++
					}
				}
				if events != test.wantEvents {
					t.Errorf("%d events about the watch, want %d", events, test.wantEvents)
				}
				e.copies.endChecks()
			})
		})
	}
}
