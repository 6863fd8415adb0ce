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

// handOver has another watch serve the users of a source. It returns the event about what the first watch has not
// reported to them. Watches.mu is held, so that nothing else changes what the two serve.
//
// Once the first watch has stopped serving the source, it reports nothing more of it; what it had reported until then is
// compared with what the other one has seen, and all that the other one sees later, it reports itself.
func handOver(source WatchKey, from, to *watch) []Event {
	last, reported := from.stopServing(source)
	if !reported {
		return nil
	}
	return to.takeOver(source, last)
}

// handedOver is what a watch has reported of a source.
type handedOver struct {
	// listed is false if the watch has reported nothing, because it had no list.
	listed bool
	// version is the resourceVersion that was reported last; empty if there was no object.
	version string
	// down is true if users may believe that the source is not watched.
	down bool
}

// stopServing ends the events in the name of the source. It returns false if the watch did not serve it.
func (w *watch) stopServing(source WatchKey) (handedOver, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, serves := w.serves[source]; !serves {
		return handedOver{}, false
	}
	delete(w.serves, source)
	return handedOver{
		listed:  w.versions != nil,
		version: w.versions[source.object()].resourceVersion,
		// The users of a source do not learn that the shared watch was refused before it had synced: they wait on.
		down: w.wasDown && (w.key.Type == Source || w.reportedDown),
	}, true
}

// takeOver begins the events in the name of the source.
func (w *watch) takeOver(source WatchKey, last handedOver) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serves[source] = struct{}{}
	now := w.versions[source.object()].resourceVersion
	switch {
	case !w.synced:
		w.wasDown = w.wasDown || last.down
		return nil
	case last.down:
		return []Event{{Watch: source}}
	// The first watch may not have seen an object yet that the other one no longer sees, and that users have read in between.
	case last.listed && (now != last.version || now == ""):
		return []Event{{Watch: source, Key: source.object()}}
	default:
		return nil
	}
}
