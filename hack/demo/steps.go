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
)

// teams are the target namespaces. The sample Replika selects all namespaces except the system namespaces and its own.
var teams = []string{"team-blue", "team-green", "team-red"}

const newTeam = "team-yellow"

// demoSteps returns the steps of the demo.
func demoSteps() []step {
	all := append([]string{newTeam}, teams...)
	return []step{
		{
			title: "1. Wait for the operator",
			do:    func(context.Context, *environment) error { return nil }, // the environment includes it
			want:  "the operator is ready",
			check: func(_ context.Context, env *environment) (bool, string) {
				if err := env.operator.Ready(); err != nil {
					return false, err.Error()
				}
				return true, "the operator is ready"
			},
		},
		{
			title: "2. Ask what the Replika would do, before it exists",
			do:    inOrder(createNamespaces(teams...), applySource, planSamples),
			want:  "nothing was written",
			check: inSnapshot(func(s snapshot) bool { return s.source != nil && s.ready == noReplika && len(s.copies) == 0 }),
		},
		{
			title: "3. Replicate a ConfigMap to all team namespaces",
			do:    applySamples,
			want:  "every team namespace has a copy, and no other namespace has one",
			check: inSnapshot(func(s snapshot) bool { return s.inSync(teams...) }),
		},
		{
			title: "4. Create another namespace",
			do:    createNamespaces(newTeam),
			want:  newTeam + " has a copy, too",
			check: inSnapshot(func(s snapshot) bool { return s.inSync(all...) }),
		},
		{
			title: "5. Edit the source",
			do:    editSource,
			want:  "every copy has the new content",
			check: inSnapshot(func(s snapshot) bool { return s.inSync(all...) }),
		},
		{
			title: "6. Edit one copy and delete another",
			do:    inOrder(editCopy("team-red"), deleteCopy("team-blue")),
			want:  "every copy is identical to the source again",
			check: inSnapshot(func(s snapshot) bool { return s.inSync(all...) }),
		},
		{
			title: "7. Delete the Replika",
			do:    deleteReplika,
			want:  "the Replika and all copies are deleted, and the source still exists",
			check: inSnapshot(func(s snapshot) bool {
				return s.ready == noReplika && len(s.copies) == 0 && s.source != nil
			}),
		},
	}
}

// inSnapshot returns a check that logs all changes and evaluates the condition on the current state of the cluster.
func inSnapshot(condition func(snapshot) bool) func(context.Context, *environment) (bool, string) {
	return func(ctx context.Context, env *environment) (bool, string) {
		now, err := env.refresh(ctx)
		if err != nil {
			return false, fmt.Sprintf("reading from the API server: %v", err)
		}
		return condition(now), now.String()
	}
}
