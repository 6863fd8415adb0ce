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
	"k8s.io/apimachinery/pkg/labels"
)

// setServes sets whether the watch sends events in the name of the key.
func (w *watch) setServes(key WatchKey, serves bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if serves {
		w.serves[key] = struct{}{}
	} else {
		delete(w.serves, key)
	}
}

// isServing reports whether the watch sends events in the name of the key.
func (w *watch) isServing(key WatchKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, serves := w.serves[key]
	return serves
}

// servesAny reports whether the watch sends events at all.
func (w *watch) servesAny() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.serves) > 0
}

// eventsOfItself returns the events for a change of the watch's own state. The lock is held.
func (w *watch) eventsOfItself() []Event {
	events := make([]Event, 0, len(w.serves))
	for key := range w.serves {
		events = append(events, Event{Watch: key})
	}
	return events
}

// eventsOf returns the events for a change of an object, of which the versions before and after are given as far as there are.
// The lock is held.
func (w *watch) eventsOf(key Key, versions ...objectVersion) []Event {
	var events []Event
	if _, serves := w.serves[w.key]; serves {
		events = append(events, Event{Watch: w.key, Key: key, Labels: labelsOf(versions)})
	}
	if w.key.Type == Sources {
		source := SourceAt(w.key.Resource, key)
		if _, serves := w.serves[source]; serves {
			events = append(events, Event{Watch: source, Key: key})
		}
	}
	return events
}

// labelsOf returns the labels that the versions have, without duplicates; nil if the watch keeps none.
func labelsOf(versions []objectVersion) []labels.Set {
	var sets []labels.Set
	for i, version := range versions {
		if version.labels == (objectVersion{}).labels || i > 0 && version.labels == versions[0].labels {
			continue
		}
		set, err := labels.ConvertSelectorToLabelsMap(version.labels.Value())
		if err != nil {
			continue // the API server accepts no such labels
		}
		sets = append(sets, set)
	}
	return sets
}
