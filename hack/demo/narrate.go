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

// watch looks at the cluster, and tells what changed since the last look.
func (s *stage) watch(ctx context.Context) (view, error) {
	now, err := look(ctx, s.client)
	if err != nil {
		return view{}, err
	}
	s.narrate(s.last, now)
	s.last = now
	return now, nil
}

func (s *stage) narrate(before, now view) {
	for _, namespace := range union(before.copies, now.copies) {
		was, had := before.copies[namespace]
		is, has := now.copies[namespace]
		switch {
		case !had:
			s.show.say("copy appears", "%-12s %s", namespace, differences(nil, is))
		case !has:
			s.show.say("copy goes", "%s", namespace)
		case !maps.Equal(was, is):
			s.show.say("copy changes", "%-12s %s", namespace, differences(was, is))
		}
	}
	if before.ready != now.ready {
		s.show.say("Ready", "%s", now.ready)
	}
}

// differences tells what became of each key.
func differences(was, is data) string {
	var changes []string
	for _, key := range union(was, is) {
		before, had := was[key]
		after, has := is[key]
		switch {
		case !has:
			changes = append(changes, key+" is gone")
		case !had || before != after:
			changes = append(changes, fmt.Sprintf("%s=%s", key, shorten(after)))
		}
	}
	return strings.Join(changes, ", ")
}

// shorten makes any value fit into a line.
func shorten(value string) string {
	const most = 32
	runes := []rune(strings.Join(strings.Fields(value), " "))
	if len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	return fmt.Sprintf("%q", string(runes))
}

// union is the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}
