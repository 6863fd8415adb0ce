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
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// selectionCache holds the compiled selectors of every Replika. Each event about a namespace needs those of all Replikas, and
// each reconcile those of the Replikas with the same targets.
type selectionCache struct {
	mu        sync.Mutex
	byReplika map[types.NamespacedName]compiledSelection
}

// compiledSelection is what was compiled, and what of the Replika it depends on.
type compiledSelection struct {
	uid        types.UID
	generation int64
	allowed    []string
	selection  *planner.Selection
}

// compile returns the selectors of the Replika. It implements planner.Compile.
func (c *selectionCache) compile(replika *v1alpha1.Replika) (*planner.Selection, error) {
	name := client.ObjectKeyFromObject(replika)
	var allowed []string
	if replika.Status.Source != nil {
		allowed = replika.Status.Source.AllowedNamespaces
	}
	c.mu.Lock()
	cached, found := c.byReplika[name]
	c.mu.Unlock()
	if found && cached.uid == replika.UID && cached.generation == replika.Generation &&
		(cached.allowed == nil) == (allowed == nil) && slices.Equal(cached.allowed, allowed) {
		return cached.selection, nil
	}
	selection, err := planner.NewSelection(replika)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byReplika == nil {
		c.byReplika = map[types.NamespacedName]compiledSelection{}
	}
	c.byReplika[name] = compiledSelection{uid: replika.UID, generation: replika.Generation, allowed: allowed, selection: selection}
	return selection, nil
}

// affected lists the names of the Replikas whose selection matches, whatever their sources allow.
func (c *selectionCache) affected(replikas []v1alpha1.Replika, matches func(*planner.Selection) bool) []types.NamespacedName {
	return namesOf(replikas, func(replika *v1alpha1.Replika) bool {
		selection, err := c.compile(replika)
		return err == nil && matches(selection)
	})
}

// delete drops the selectors of a Replika that no longer exists.
func (c *selectionCache) delete(replika types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byReplika, replika)
}
