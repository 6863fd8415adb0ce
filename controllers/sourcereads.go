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
	"sync"
	"time"
	"weak"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxSharedReadAge limits the age of a read of a source that another Replika made.
const maxSharedReadAge = time.Second

// sourceReads shares reads of a source among the Replikas that need it at about the same time, with the same identity: a change
// of a source, or of a namespace, can concern many. It does not keep the content: an object that no reconcile uses is left to
// the garbage collector. Of the last read it keeps the version, so that one read in each interval is enough for all.
type sourceReads struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	reads map[sourceObject]map[identity]*sharedRead
	// latest has the last request of each Replika. One of a former source, or with a former identity, is not kept in reads.
	latest map[types.NamespacedName]*sharedRead
}

type sourceObject struct {
	resource schema.GroupResource
	key      tracking.Key
}

func sourceObjectOf(replika *v1alpha1.Replika, mapping tracking.Mapping) sourceObject {
	return sourceObject{mapping.Resource.GroupResource(), sourceKey(replika)}
}

// sharedRead is one request.
type sharedRead struct {
	source sourceObject
	as     identity
	// by is the Replika that sent it.
	by        types.NamespacedName
	startedAt time.Time
	// ended is closed when the response has arrived. object and version are valid then; object is nil when no reconcile uses it
	// any more, or if the request was for the metadata.
	ended   chan struct{}
	object  weak.Pointer[unstructured.Unstructured]
	version string
}

// get returns the source as the last request returned it, if that was one of another Replika, started at most maxSharedReadAge
// ago, and no event reported a change since. Otherwise it sends the request. Errors are not shared. The object must not be
// changed.
func (s *sourceReads) get(
	ctx context.Context, replika types.NamespacedName, source sourceObject, as identity, request func() (*unstructured.Unstructured, error),
) (*unstructured.Unstructured, error) {
	if shared := s.find(replika, source, as); shared != nil {
		select {
		case <-shared.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if object := shared.object.Value(); object != nil {
			return object, nil
		}
	}
	own := s.start(replika, source, as)
	object, err := request()
	if err == nil {
		own.object, own.version = weak.Make(object), object.GetResourceVersion()
	} else {
		s.remove(own)
	}
	close(own.ended)
	return object, err
}

// getVersion sends a request for the metadata of the source, and returns the version; empty after an error.
func (s *sourceReads) getVersion(replika types.NamespacedName, source sourceObject, as identity, request func() (string, error)) string {
	own := s.start(replika, source, as)
	version, err := request()
	if own.version = version; err != nil {
		s.remove(own)
	}
	close(own.ended)
	return version
}

// confirmsSince reports whether another Replika has read this version of the source, by a request that started since then, and
// no event reported a change after it. It waits for a request that has not ended.
func (s *sourceReads) confirmsSince(
	ctx context.Context, since time.Time, replika types.NamespacedName, source sourceObject, as identity, version string,
) bool {
	last := s.last(source, as)
	if last == nil || last.by == replika || last.startedAt.Before(since) {
		return false
	}
	select {
	case <-last.ended:
		return last.version == version && s.last(source, as) != nil
	case <-ctx.Done():
		return false
	}
}

// last returns the last request; nil if there is none, or if the source changed since.
func (s *sourceReads) last(source sourceObject, as identity) *sharedRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[source][as]
}

// changed records that the source changed: requests that started before are not shared from now on.
func (s *sourceReads) changed(source sourceObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reads, source)
}

// forget drops the last request of a Replika that is gone.
func (s *sourceReads) forget(replika types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(s.latest[replika])
	delete(s.latest, replika)
}

// find returns the last request if it is one of another Replika and not too old, else nil.
func (s *sourceReads) find(replika types.NamespacedName, source sourceObject, as identity) *sharedRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.reads[source][as]
	if shared == nil || shared.by == replika || s.clock.Since(shared.startedAt) > maxSharedReadAge {
		return nil
	}
	return shared
}

// start records a request that is about to start.
func (s *sourceReads) start(replika types.NamespacedName, source sourceObject, as identity) *sharedRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads == nil {
		s.reads, s.latest = map[sourceObject]map[identity]*sharedRead{}, map[types.NamespacedName]*sharedRead{}
	}
	s.drop(s.latest[replika])
	if s.reads[source] == nil {
		s.reads[source] = map[identity]*sharedRead{}
	}
	own := &sharedRead{source: source, as: as, by: replika, startedAt: s.clock.Now(), ended: make(chan struct{})}
	s.reads[source][as], s.latest[replika] = own, own
	return own
}

// remove drops the request.
func (s *sourceReads) remove(own *sharedRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(own)
}

// drop drops the request, unless it is nil or a later one has taken its place. The lock is held.
func (s *sourceReads) drop(read *sharedRead) {
	if read == nil || s.reads[read.source][read.as] != read {
		return
	}
	delete(s.reads[read.source], read.as)
	if len(s.reads[read.source]) == 0 {
		delete(s.reads, read.source)
	}
}
