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
	"unique"

	"k8s.io/apimachinery/pkg/labels"
)

// objectVersion is what a watch of metadata keeps of an object, to notice that it changed.
type objectVersion struct {
	resourceVersion string
	// labels are those of the object as text. Only watches of [Sources] keep them. Objects with equal labels share the text.
	labels unique.Handle[string]
}

// keepsVersions reports whether the watch keeps the resourceVersions of its objects, and nothing else but perhaps labels.
func (w *watch) keepsVersions() bool {
	return w.key.Type == Source || w.key.Type == Sources || w.key.Type == CRDs
}

func (w *watch) versionOf(object *reducedObject) objectVersion {
	version := objectVersion{resourceVersion: object.ResourceVersion}
	if w.key.Type == Sources {
		version.labels = unique.Make(labels.Set(object.Labels).String())
	}
	return version
}

// objectKey returns the key of an object. The keys of a namespace share the string of its name.
func (w *watch) objectKey(object *reducedObject) Key {
	key := Key{Namespace: object.Namespace, Name: object.Name}
	if key.Namespace == w.key.Namespace {
		key.Namespace = w.key.Namespace
	}
	return key
}

// onObject stores the version of an object, and sends events if it changed.
func (w *watch) onObject(object *reducedObject) {
	key, version := w.objectKey(object), w.versionOf(object)
	w.apply(func() []Event {
		before, known := w.versions[key]
		if known && before.resourceVersion == version.resourceVersion {
			return nil
		}
		w.versions[key] = version
		if known {
			return w.eventsOf(key, before, version)
		}
		return w.eventsOf(key, version)
	})
}

// onDelete removes the version of an object that was deleted, and sends events.
func (w *watch) onDelete(object *reducedObject) {
	key, version := w.objectKey(object), w.versionOf(object)
	w.apply(func() []Event {
		if before, known := w.versions[key]; known {
			version = before
		}
		delete(w.versions, key)
		return w.eventsOf(key, version)
	})
}

// onList stores the versions of all objects, and sends events for each that differs from the list before. The first list has
// none before it and sends no event.
func (w *watch) onList(list []*reducedObject) {
	w.apply(func() []Event {
		before := w.versions
		w.versions = make(map[Key]objectVersion, len(list))
		var events []Event
		for _, object := range list {
			key, version := w.objectKey(object), w.versionOf(object)
			w.versions[key] = version
			last, known := before[key]
			delete(before, key)
			switch {
			case before == nil, known && last.resourceVersion == version.resourceVersion:
			case known:
				events = append(events, w.eventsOf(key, last, version)...)
			default:
				events = append(events, w.eventsOf(key, version)...)
			}
		}
		for key, last := range before {
			events = append(events, w.eventsOf(key, last)...)
		}
		return events
	})
}
