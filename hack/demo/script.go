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
	"strings"
)

// teams are the namespaces of the demo. The samples select every namespace but the cluster's own.
var teams = []string{"team-blue", "team-green", "team-red"}

const newTeam = "team-yellow"

// script is what the demo shows.
func script() []scene {
	all := append([]string{newTeam}, teams...)
	return []scene{
		{
			title: "1. The operator starts",
			do:    func(context.Context, *stage) error { return nil }, // it was started with the stage
			want:  "the operator to be ready",
			look: func(_ context.Context, s *stage) (bool, string) {
				if err := s.operator.Ready(); err != nil {
					return false, err.Error()
				}
				return true, "it is"
			},
		},
		{
			title: "2. One ConfigMap is wanted in every team's namespace",
			do:    inOrder(createNamespaces(teams...), applySamples),
			want:  "a copy in " + strings.Join(teams, ", ") + " and nowhere else",
			look:  sees(func(v view) bool { return v.inSync(teams...) }),
		},
		{
			title: "3. A new namespace is created",
			do:    createNamespaces(newTeam),
			want:  "a copy in " + newTeam + " too",
			look:  sees(func(v view) bool { return v.inSync(all...) }),
		},
		{
			title: "4. The source is edited",
			do:    editSource,
			want:  "the edit in every copy",
			look:  sees(func(v view) bool { return v.inSync(all...) }),
		},
		{
			title: "5. Copies are edited and deleted by hand",
			do:    inOrder(editCopy("team-red"), deleteCopy("team-blue")),
			want:  "every copy to be like the source again",
			look:  sees(func(v view) bool { return v.inSync(all...) }),
		},
		{
			title: "6. The Replika is deleted",
			do:    deleteReplika,
			want:  "no Replika and no copy, but the source as it was",
			look: sees(func(v view) bool {
				return v.ready == noReplika && len(v.copies) == 0 && v.source != nil
			}),
		},
	}
}

// sees makes a scene's look from a question about the view; what changes meanwhile is told.
func sees(asExpected func(view) bool) func(context.Context, *stage) (bool, string) {
	return func(ctx context.Context, s *stage) (bool, string) {
		now, err := s.watch(ctx)
		if err != nil {
			return false, fmt.Sprintf("an error of the API server: %v", err)
		}
		return asExpected(now), now.String()
	}
}
