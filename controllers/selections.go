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
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// selectionCache holds the compiled selection of every Replika. Each is compiled once per generation. What the source allows is
// not part of it, because that changes without a new generation.
type selectionCache struct {
	mu        sync.Mutex
	byReplika map[types.UID]compiledSelection
}

type compiledSelection struct {
	generation int64
	// selection is nil if the spec's selector is invalid.
	selection *planner.Selection
}

// affected lists the names of the Replikas whose selection matches. replikas are all that exist: what is held of others is
// dropped.
func (c *selectionCache) affected(replikas []v1alpha1.Replika, matches func(*planner.Selection) bool) []types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := make(map[types.UID]compiledSelection, len(replikas))
	var names []types.NamespacedName
	for i := range replikas {
		replika := &replikas[i]
		compiled, found := c.byReplika[replika.UID]
		if !found || compiled.generation != replika.Generation {
			compiled = compileSelection(replika)
		}
		current[replika.UID] = compiled
		if compiled.selection != nil && matches(compiled.selection) {
			names = append(names, types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name})
		}
	}
	c.byReplika = current
	return names
}

func compileSelection(replika *v1alpha1.Replika) compiledSelection {
	unrestricted := *replika
	unrestricted.Status.Source = nil
	selection, err := planner.NewSelection(&unrestricted)
	if err != nil {
		selection = nil
	}
	return compiledSelection{generation: replika.Generation, selection: selection}
}
