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
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// detacherEnv is a detacher whose reconciles take a while each, and what it enqueues.
type detacherEnv struct {
	*detacher
	mu       sync.Mutex
	active   map[types.NamespacedName]bool
	calls    int
	enqueued []time.Duration
}

func newDetacherEnv(t *testing.T, takes time.Duration, result ctrl.Result, err error) *detacherEnv {
	t.Helper()
	e := &detacherEnv{active: map[types.NamespacedName]bool{}}
	e.detacher = &detacher{
		delay: 250 * time.Millisecond,
		enqueue: func(_ types.NamespacedName, after time.Duration) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.enqueued = append(e.enqueued, after)
		},
		reconcile: func(_ context.Context, request reconcile.Request) (reconcile.Result, error) {
			e.mu.Lock()
			if e.active[request.NamespacedName] {
				t.Errorf("two reconciles of %s at a time", request)
			}
			e.active[request.NamespacedName] = true
			e.calls++
			e.mu.Unlock()
			time.Sleep(takes)
			e.mu.Lock()
			defer e.mu.Unlock()
			e.active[request.NamespacedName] = false
			return result, err
		},
	}
	return e
}

func (e *detacherEnv) reconcileAt(t *testing.T, name string) (ctrl.Result, time.Duration, error) {
	t.Helper()
	began := time.Now()
	result, err := e.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ops", Name: name}})
	return result, time.Since(began), err
}

func TestDetacher_KeepsShortReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("failed")
		e := newDetacherEnv(t, 100*time.Millisecond, ctrl.Result{RequeueAfter: time.Minute}, failure)
		result, took, err := e.reconcileAt(t, "a")
		if result.RequeueAfter != time.Minute || !errors.Is(err, failure) || took != 100*time.Millisecond {
			t.Errorf("got %v after %s, error %v", result, took, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.enqueued) > 0 {
			t.Errorf("enqueued after %v", e.enqueued)
		}
	})
}

func TestDetacher_LongReconcile(t *testing.T) {
	tests := map[string]struct {
		result ctrl.Result
		err    error
		again  bool
		want   []time.Duration
	}{
		"ends with a delay":    {result: ctrl.Result{RequeueAfter: time.Minute}, want: []time.Duration{time.Minute}},
		"ends without a delay": {},
		"fails":                {err: errors.New("failed"), want: []time.Duration{time.Second}},
		"requested again":      {result: ctrl.Result{RequeueAfter: time.Minute}, again: true, want: []time.Duration{0}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newDetacherEnv(t, 10*time.Second, tc.result, tc.err)
				if result, took, err := e.reconcileAt(t, "a"); result != (ctrl.Result{}) || err != nil || took != e.delay {
					t.Errorf("got %v after %s, error %v", result, took, err)
				}
				if tc.again {
					if _, took, _ := e.reconcileAt(t, "a"); took > 0 {
						t.Errorf("a second reconcile took %s", took)
					}
				}
				time.Sleep(time.Minute)
				e.mu.Lock()
				defer e.mu.Unlock()
				if !slices.Equal(e.enqueued, tc.want) || e.calls != 1 {
					t.Errorf("enqueued after %v, want %v; %d reconciles", e.enqueued, tc.want, e.calls)
				}
			})
		})
	}
}

// Reconciles without a worker are limited: more of them keep theirs, until one of those ends.
func TestDetacher_Limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newDetacherEnv(t, time.Hour, ctrl.Result{}, nil)
		for i := range maxDetached {
			if _, took, _ := e.reconcileAt(t, string(rune('0'+i))); took != e.delay {
				t.Fatalf("reconcile %d kept its worker for %s", i, took)
			}
		}
		if _, took, _ := e.reconcileAt(t, "one too many"); took < time.Minute || took >= time.Hour {
			t.Errorf("it kept its worker for %s", took)
		}
		time.Sleep(time.Hour)
	})
}

// The manager does not stop before all reconciles have ended.
func TestDetacher_Start_WaitsForReconciles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newDetacherEnv(t, 10*time.Second, ctrl.Result{}, nil)
		if _, _, err := e.reconcileAt(t, "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := e.Start(ctx); err != nil || time.Since(began) < 9*time.Second {
			t.Errorf("Start returned after %s, error %v", time.Since(began), err)
		}
	})
}

// A reconcile that would begin while the manager stops could outlast it.
func TestDetacher_NoReconcileAfterStop(t *testing.T) {
	e := newDetacherEnv(t, 0, ctrl.Result{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Reconcile(ctx, ctrl.Request{}); !errors.Is(err, context.Canceled) || e.calls > 0 {
		t.Errorf("reconciled %d times, error %v", e.calls, err)
	}
}
