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
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// newManyState returns the state of a Replika whose sources were just listed.
func newManyState(copyNames ...string) *replikaState {
	state := &replikaState{}
	state.useResource(schema.GroupResource{Resource: "configmaps"})
	selector, err := planner.NewSourceSelector(schema.GroupResource{}, &v1alpha1.Replika{})
	if err != nil {
		panic(err)
	}
	state.setSourceSelector(selector, &v1alpha1.Replika{})
	state.setSourceList(sourceListBasis{generation: 1}, map[string]string{"settings": "7"}, time.Unix(100, 0))
	for _, name := range copyNames {
		state.ofSource(name)
	}
	state.setSourcesKnown()
	return state
}

func TestReplikaState_SourceList(t *testing.T) {
	basis := sourceListBasis{generation: 1}
	for name, test := range map[string]struct {
		change func(*replikaState)
		basis  sourceListBasis
		since  time.Time
		want   bool
	}{
		"nothing changed":        {func(*replikaState) {}, basis, time.Unix(50, 0), true},
		"too old":                {func(*replikaState) {}, basis, time.Unix(100, 0), false},
		"another spec":           {func(*replikaState) {}, sourceListBasis{generation: 2}, time.Unix(50, 0), false},
		"another account":        {func(*replikaState) {}, sourceListBasis{generation: 1, as: identity{"a", "copier"}}, time.Unix(50, 0), false},
		"a source changed":       {(*replikaState).expireSourceList, basis, time.Unix(50, 0), false},
		"one source in between":  {(*replikaState).forgetSources, basis, time.Unix(50, 0), false},
		"another kind of source": {func(s *replikaState) { s.useResource(schema.GroupResource{Resource: "secrets"}) }, basis, time.Unix(50, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			state := newManyState("settings")
			test.change(state)
			list, got := state.sourceList(test.basis, test.since)
			if got != test.want || got && list["settings"] != "7" {
				t.Errorf("got %v, %t, want %t", list, got, test.want)
			}
		})
	}
}

// The state of a source outlives it while writes of its copies are in flight: their end must be known before the copies are written again.
func TestReplikaState_KeepSources(t *testing.T) {
	state := newManyState("kept", "dropped", "in-flight")
	resource, copied := schema.GroupResource{Resource: "configmaps"}, types.NamespacedName{Namespace: "a", Name: "in-flight"}
	inFlight := state.ofSource("in-flight")
	inFlight.addInFlight(resource, []types.NamespacedName{copied})
	state.keepSources(map[string]bool{"kept": true})
	names := state.copyNames()
	slices.Sort(names)
	if want := []string{"in-flight", "kept"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}

	state.forgetSources()
	if source, known := state.findSource("in-flight"); source != inFlight || !known {
		t.Error("a write in flight was forgotten")
	}
	inFlight.endInFlight(resource, &lateResult{copied: copied, synced: true})
	state.forgetSources()
	if _, known := state.findSource("in-flight"); known {
		t.Error("the sources are still known")
	}
}

func TestSourceState_RestAt(t *testing.T) {
	store := &tracking.CopyStore{}
	for name, test := range map[string]struct {
		change     func(*sourceState)
		version    string
		generation int64
		store      *tracking.CopyStore
		want       bool
	}{
		"nothing changed":     {func(*sourceState) {}, "7", 1, store, true},
		"another version":     {func(*sourceState) {}, "8", 1, store, false},
		"the source is gone":  {func(*sourceState) {}, "", 1, store, false},
		"another spec":        {func(*sourceState) {}, "7", 2, store, false},
		"another store":       {func(*sourceState) {}, "7", 1, nil, false},
		"a copy changed":      {func(s *sourceState) { s.markChanged("a") }, "7", 1, store, false},
		"anything can have":   {func(s *sourceState) { s.markAllChanged() }, "7", 1, store, false},
		"the source has":      {func(s *sourceState) { s.markSourceChanged(time.Unix(1, 0)) }, "7", 1, store, false},
		"something is to do":  {func(s *sourceState) { s.record(sourceIdentity{}, v1alpha1.ReplikaStatus{}, nil) }, "7", 1, store, false},
		"a status was stored": {func(s *sourceState) { _, _ = s.lastStatus(sourceIdentity{}) }, "7", 1, store, true},
	} {
		t.Run(name, func(t *testing.T) {
			state := &sourceState{}
			state.record(sourceIdentity{}, v1alpha1.ReplikaStatus{}, &sourceRest{version: "7", generation: 1, store: store})
			test.change(state)
			if got := state.restAt(test.version, test.generation, test.store) != nil; got != test.want {
				t.Errorf("at rest: %t, want %t", got, test.want)
			}
		})
	}
}

// The status of a source says nothing about another one whose copies have the same name.
func TestSourceState_LastStatus(t *testing.T) {
	a := sourceIdentity{key: tracking.Key{Namespace: "a", Name: "settings"}}
	b := sourceIdentity{key: tracking.Key{Namespace: "b", Name: "settings"}}
	state := &sourceState{}
	state.record(a, v1alpha1.ReplikaStatus{ObservedGeneration: 3}, nil)
	if status, known := state.lastStatus(a); !known || status.ObservedGeneration != 3 {
		t.Errorf("got %+v, %t", status, known)
	}
	if status, known := state.lastStatus(b); known || status.ObservedGeneration != 0 {
		t.Errorf("got %+v, %t for another source", status, known)
	}
}

// A plan is carried on only with the same selection, so it must be the same one while nothing changes.
func TestSourceState_Restrict(t *testing.T) {
	replika := replikasByTeam(1)[0]
	all, err := planner.NewSelection(&replika)
	if err != nil {
		t.Fatal(err)
	}
	allowing := func(namespaces ...string) *v1alpha1.SourceStatus {
		return &v1alpha1.SourceStatus{AllowedNamespaces: namespaces}
	}
	state := &sourceState{}
	first := state.restrict(all, allowing("a"))
	if state.restrict(all, allowing("a")) != first {
		t.Error("another selection although nothing changed")
	}
	if state.restrict(all, allowing("b")) == first || state.restrict(all, nil) == first {
		t.Error("the same selection although the source allows other namespaces")
	}
	if state.restrict(all, nil) != state.restrict(all, &v1alpha1.SourceStatus{}) {
		t.Error("a source that was read, and allows all, has another selection than one that was not")
	}
}

// Until every source has a state, nothing says that a Replika does not claim a copy.
func TestReplikaState_FindSource(t *testing.T) {
	state := &replikaState{}
	if _, known := state.findSource("settings"); known {
		t.Error("known before the first list")
	}
	state.setSourceSelector(nil, nil)
	state.setSourceList(sourceListBasis{}, map[string]string{"settings": "7"}, time.Unix(1, 0))
	if _, known := state.findSource("settings"); known {
		t.Error("known before every source has a state")
	}
	want := state.ofSource("settings")
	state.setSourcesKnown()
	if source, known := state.findSource("settings"); source != want || !known {
		t.Error("not found")
	}
	if source, known := state.findSource("other"); source != nil || !known {
		t.Error("found a source that does not exist")
	}
}

// An event concerns a Replika if the object is one of its sources, if its labels say that it can be one, or if nothing is known yet.
func TestReplikaState_SourceChanged(t *testing.T) {
	replika := &v1alpha1.Replika{}
	replika.Spec.Source.Kind = "ConfigMap"
	replika.Spec.Source.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
	replika.Spec.Target.NamePrefix = "x-"
	selector, err := planner.NewSourceSelector(schema.GroupResource{Resource: "configmaps"}, replika)
	if err != nil {
		t.Fatal(err)
	}
	state, now := newManyState("x-settings"), time.Unix(200, 0)
	if !new(replikaState).sourceChanged(now, "other", nil) {
		t.Error("no concern although nothing is known")
	}
	state.setSourceSelector(selector, replika)
	for name, test := range map[string]struct {
		object string
		labels labels.Set
		want   bool
	}{
		"one of the sources": {"settings", nil, true},
		"labels":             {"other", labels.Set{"app": "db"}, true},
		"neither":            {"other", labels.Set{"app": "cache"}, false},
	} {
		if got := state.sourceChanged(now, test.object, []labels.Set{test.labels}); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
	if state.ofSource("x-settings").popSourceChangedAt() != now {
		t.Error("the source does not know of the change")
	}
}

// A reconcile can end before the sources are listed, because the kind is gone for example. It is not repeated without end.
func TestReplikaState_NextSourceList(t *testing.T) {
	const synchronization = time.Minute
	listedAt := time.Unix(100, 0)
	for name, test := range map[string]struct {
		state *replikaState
		now   time.Time
		want  time.Duration
	}{
		"just listed":      {newManyState(), listedAt, synchronization},
		"listed before":    {newManyState(), listedAt.Add(20 * time.Second), 40 * time.Second},
		"due":              {newManyState(), listedAt.Add(synchronization), synchronization},
		"overdue":          {newManyState(), listedAt.Add(time.Hour), synchronization},
		"one source":       {&replikaState{}, listedAt, synchronization},
		"not listed again": {expiredManyState(), listedAt, synchronization},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.state.nextSourceList(test.now, synchronization); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func expiredManyState() *replikaState {
	state := newManyState()
	state.expireSourceList()
	return state
}
