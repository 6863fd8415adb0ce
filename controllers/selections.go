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

// selectionCache holds the compiled selectors of every Replika that was reconciled. An event about a namespace needs those that
// can select it, and each reconcile those of the Replikas with the same targets.
type selectionCache struct {
	mu        sync.Mutex
	byReplika map[types.NamespacedName]compiledSelection
	// byKey is an index of byReplika, see [planner.IndexKey].
	byKey map[planner.IndexKey]map[types.NamespacedName]*planner.Selection
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
	c.put(name, compiledSelection{uid: replika.UID, generation: replika.Generation, allowed: allowed, selection: selection})
	return selection, nil
}

// put adds the selectors of a Replika, in the place of former ones. The lock is held.
func (c *selectionCache) put(name types.NamespacedName, compiled compiledSelection) {
	if c.byReplika == nil {
		c.byReplika = map[types.NamespacedName]compiledSelection{}
		c.byKey = map[planner.IndexKey]map[types.NamespacedName]*planner.Selection{}
	}
	c.remove(name)
	c.byReplika[name] = compiled
	for _, key := range compiled.selection.IndexKeys() {
		if c.byKey[key] == nil {
			c.byKey[key] = map[types.NamespacedName]*planner.Selection{}
		}
		c.byKey[key][name] = compiled.selection
	}
}

// remove drops the selectors of a Replika. The lock is held.
func (c *selectionCache) remove(name types.NamespacedName) {
	compiled, found := c.byReplika[name]
	if !found {
		return
	}
	delete(c.byReplika, name)
	for _, key := range compiled.selection.IndexKeys() {
		delete(c.byKey[key], name)
		if len(c.byKey[key]) == 0 {
			delete(c.byKey, key)
		}
	}
}

// affected lists the names of the Replikas whose selection matches, among those that can select the namespace in one of its
// states, whatever their sources allow. A Replika that was never reconciled is not among them: its first reconcile reads all
// namespaces.
func (c *selectionCache) affected(
	matches func(types.NamespacedName, *planner.Selection) bool, states ...planner.Namespace,
) []types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[types.NamespacedName]bool{}
	for _, namespace := range states {
		for _, key := range namespace.IndexKeys() {
			for name, selection := range c.byKey[key] {
				found[name] = found[name] || matches(name, selection)
			}
		}
	}
	var names []types.NamespacedName
	for name, affected := range found {
		if affected {
			names = append(names, name)
		}
	}
	return names
}

// delete drops the selectors of a Replika that no longer exists.
func (c *selectionCache) delete(replika types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(replika)
}
