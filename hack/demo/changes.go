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

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// refresh reads the state of the cluster, and logs what has changed since the last time.
func (e *environment) refresh(ctx context.Context) (snapshot, error) {
	now, err := readSnapshot(ctx, e.client)
	if err != nil {
		return snapshot{}, err
	}
	e.timeline.logChanges(e.last, now)
	e.last = now
	return now, nil
}

// logChanges logs the differences between two snapshots.
func (t *timeline) logChanges(before, now snapshot) {
	for _, namespace := range union(before.copies, now.copies) {
		old, existed := before.copies[namespace]
		current, exists := now.copies[namespace]
		switch {
		case !existed:
			t.log("The copy in %s was created: %s.", namespace, differences(nil, current))
		case !exists:
			t.log("The copy in %s was deleted.", namespace)
		case !maps.Equal(old, current):
			t.log("The copy in %s was updated: %s.", namespace, differences(old, current))
		}
	}
	switch {
	case before.ready == now.ready:
	case now.ready == noReplika:
		t.log("The Replika was deleted.")
	default:
		t.log("The Replika's Ready condition is %s.", strings.TrimSuffix(now.ready, "."))
	}
}

// differences lists the keys that were added, changed or removed.
func differences(before, now data) string {
	var changes []string
	for _, key := range union(before, now) {
		old, existed := before[key]
		current, exists := now[key]
		switch {
		case !exists:
			changes = append(changes, key+" was removed")
		case !existed || old != current:
			changes = append(changes, fmt.Sprintf("%s is %s", key, shorten(current)))
		}
	}
	return strings.Join(changes, ", ")
}

// shorten quotes a value and limits its length, so that it fits into a line.
func shorten(value string) string {
	const maxLength = 32
	runes := []rune(strings.Join(strings.Fields(value), " "))
	if len(runes) > maxLength {
		runes = append(runes[:maxLength-1], '…')
	}
	return fmt.Sprintf("%q", string(runes))
}

// union returns the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}
