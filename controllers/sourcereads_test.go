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
	"cmp"
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/prosimcorp/replika/controllers/tracking"
)

var sharedSource = sourceObject{schema.GroupResource{Resource: "configmaps"}, tracking.Key{Namespace: "a", Name: "settings"}}

var (
	firstReader  = types.NamespacedName{Namespace: "ops", Name: "first"}
	secondReader = types.NamespacedName{Namespace: "ops", Name: "second"}
)

// A Replika that has another source or identity leaves nothing behind.
func TestSourceReads_KeepsOnlyTheLastRequestOfAReplika(t *testing.T) {
	reads := &sourceReads{clock: clock.RealClock{}}
	other := sourceObject{sharedSource.resource, tracking.Key{Namespace: "b", Name: "settings"}}
	request := func() (string, error) { return "1", nil }
	for _, source := range []sourceObject{sharedSource, other} {
		for _, as := range []identity{operatorIdentity, {"a", "copier"}} {
			reads.getVersion(firstReader, source, as, request)
		}
	}
	if len(reads.reads) != 1 || len(reads.reads[other]) != 1 || reads.last(other, identity{"a", "copier"}) == nil {
		t.Errorf("got %v", reads.reads)
	}
	reads.forget(firstReader)
	if len(reads.reads) > 0 || len(reads.latest) > 0 {
		t.Errorf("after the Replika is gone: %v, %v", reads.reads, reads.latest)
	}
}

func TestSourceReads_Get(t *testing.T) {
	cases := map[string]struct {
		between      func(*sourceReads)
		secondReader types.NamespacedName
		secondAs     identity
		err          error
		wantRequests int
	}{
		"at the same time":    {between: func(*sourceReads) {}, wantRequests: 1},
		"a change in between": {between: func(s *sourceReads) { s.changed(sharedSource) }, wantRequests: 2},
		"another source changed": {between: func(s *sourceReads) {
			s.changed(sourceObject{sharedSource.resource, tracking.Key{Namespace: "b", Name: "settings"}})
		}, wantRequests: 1},
		"its Replika is gone":     {between: func(s *sourceReads) { s.forget(firstReader) }, wantRequests: 2},
		"another Replika is gone": {between: func(s *sourceReads) { s.forget(secondReader) }, wantRequests: 1},
		"too late":                {between: func(*sourceReads) { time.Sleep(maxSharedReadAge + time.Millisecond) }, wantRequests: 2},
		"the same Replika":        {between: func(*sourceReads) {}, secondReader: firstReader, wantRequests: 2},
		"another identity":        {between: func(*sourceReads) {}, secondAs: identity{"a", "copier"}, wantRequests: 2},
		"after an error":          {between: func(*sourceReads) {}, err: errors.New("forbidden"), wantRequests: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reads, requests := &sourceReads{clock: clock.RealClock{}}, 0
				request := func() (*unstructured.Unstructured, error) {
					requests++
					return &unstructured.Unstructured{Object: map[string]any{}}, tc.err
				}
				first, err := reads.get(t.Context(), firstReader, sharedSource, operatorIdentity, request)
				if !errors.Is(err, tc.err) {
					t.Fatal(err)
				}
				tc.between(reads)
				if _, err := reads.get(t.Context(), cmp.Or(tc.secondReader, secondReader), sharedSource, tc.secondAs, request); !errors.Is(err, tc.err) {
					t.Fatal(err)
				}
				if requests != tc.wantRequests {
					t.Errorf("%d requests, want %d", requests, tc.wantRequests)
				}
				runtime.KeepAlive(first)
			})
		})
	}
}

// Many Replikas that read while a request is under way send none of their own.
func TestSourceReads_WaitForRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, requests := &sourceReads{clock: clock.RealClock{}}, 0
		var readers sync.WaitGroup
		objects := make([]*unstructured.Unstructured, 100)
		for i := range objects {
			readers.Go(func() {
				objects[i], _ = reads.get(t.Context(), types.NamespacedName{Namespace: "ops", Name: strconv.Itoa(i)}, sharedSource, operatorIdentity, func() (*unstructured.Unstructured, error) {
					requests++
					time.Sleep(time.Millisecond)
					return &unstructured.Unstructured{Object: map[string]any{}}, nil
				})
			})
			synctest.Wait()
		}
		readers.Wait()
		if requests != 1 || objects[0] == nil || objects[0] != objects[99] {
			t.Errorf("%d requests", requests)
		}
	})
}

func TestSourceReads_ContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := &sourceReads{clock: clock.RealClock{}}
		reads.start(firstReader, sharedSource, operatorIdentity) // hangs
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := reads.get(ctx, secondReader, sharedSource, operatorIdentity, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err: %v", err)
		}
	})
}

// The content of a source, which can be a Secret, is not kept.
func TestSourceReads_KeepNoContent(t *testing.T) {
	reads := &sourceReads{clock: clock.RealClock{}}
	_, err := reads.get(t.Context(), firstReader, sharedSource, operatorIdentity, func() (*unstructured.Unstructured, error) {
		return &unstructured.Unstructured{Object: map[string]any{"data": "secret"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		runtime.GC()
		reads.mu.Lock()
		object := reads.reads[sharedSource][operatorIdentity].object.Value()
		reads.mu.Unlock()
		if object == nil {
			return
		}
	}
	t.Error("the content is still in memory")
}

func TestSourceReads_ConfirmsSince(t *testing.T) {
	const interval = time.Minute
	cases := map[string]struct {
		between  func(*sourceReads)
		replika  types.NamespacedName
		as       identity
		version  string
		err      error
		confirms bool
	}{
		"the same version":      {version: "7", confirms: true},
		"another version":       {version: "6"},
		"at the interval's end": {version: "7", between: func(*sourceReads) { time.Sleep(interval) }, confirms: true},
		"too old":               {version: "7", between: func(*sourceReads) { time.Sleep(interval + time.Millisecond) }},
		"a change in between":   {version: "7", between: func(s *sourceReads) { s.changed(sharedSource) }},
		"its own read":          {version: "7", replika: firstReader},
		"another identity":      {version: "7", as: identity{"a", "copier"}},
		"after an error":        {version: "7", err: errors.New("forbidden")},
		"a read under way": {version: "7", confirms: true, between: func(s *sourceReads) {
			endLater(s.start(firstReader, sharedSource, operatorIdentity))
		}},
		"a change while a read is under way": {version: "7", between: func(s *sourceReads) {
			endLater(s.start(firstReader, sharedSource, operatorIdentity))
			time.AfterFunc(time.Millisecond, func() { s.changed(sharedSource) })
		}},
	}
	readers := map[string]func(*testing.T, *sourceReads, error){
		"source": func(t *testing.T, reads *sourceReads, requestErr error) {
			object := &unstructured.Unstructured{Object: map[string]any{}}
			object.SetResourceVersion("7")
			if _, err := reads.get(t.Context(), firstReader, sharedSource, operatorIdentity, func() (*unstructured.Unstructured, error) {
				return object, requestErr
			}); !errors.Is(err, requestErr) {
				t.Fatal(err)
			}
		},
		"metadata": func(t *testing.T, reads *sourceReads, requestErr error) {
			want := "7"
			if requestErr != nil {
				want = ""
			}
			if got := reads.getVersion(firstReader, sharedSource, operatorIdentity, func() (string, error) { return want, requestErr }); got != want {
				t.Fatalf("getVersion: %q", got)
			}
		},
	}
	for name, tc := range cases {
		for what, read := range readers {
			t.Run(what+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					reads := &sourceReads{clock: clock.RealClock{}}
					read(t, reads, tc.err)
					if tc.between != nil {
						tc.between(reads)
					}
					since := time.Now().Add(-interval)
					if got := reads.confirmsSince(t.Context(), since, cmp.Or(tc.replika, secondReader), sharedSource, tc.as, tc.version); got != tc.confirms {
						t.Errorf("confirmsSince: %t", got)
					}
				})
			})
		}
	}
}

// endLater ends the read after a second.
func endLater(read *sharedRead) {
	time.AfterFunc(time.Second, func() {
		read.version = "7"
		close(read.ended)
	})
}

// A read of the metadata has no content to share.
func TestSourceReads_GetAfterVersion(t *testing.T) {
	reads, want := &sourceReads{clock: clock.RealClock{}}, &unstructured.Unstructured{Object: map[string]any{}}
	reads.getVersion(firstReader, sharedSource, operatorIdentity, func() (string, error) { return "7", nil })
	got, err := reads.get(t.Context(), secondReader, sharedSource, operatorIdentity, func() (*unstructured.Unstructured, error) { return want, nil })
	if err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}
