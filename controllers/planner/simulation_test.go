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

package planner

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// cluster is a simulated API server and its objects.
type cluster struct {
	t       testingT
	pick    func(n int, what string) int
	seen    map[string]int
	cleaner *Cleaner
	// observed is what the operator knows of each object, so that it is computed once.
	observed map[*unstructured.Unstructured]*Observed

	snapshot
	history []snapshot
	counter int
	// tampered are the objects whose marks another client changed: the record of their applied keys is lost.
	tampered map[types.UID]bool
	// copiedKeys match every key of the template of the reconcile.
	copiedKeys []string
	// many is true if Replikas can have many sources. partStatus then has the status of each, by Replika and name of the copies.
	many       bool
	partStatus map[types.NamespacedName]map[string]v1alpha1.ReplikaStatus
	// recovering is true in the second phase, in which nothing disrupts a reconcile.
	recovering bool
	log        []string
}

// snapshot is the state that a cache can hold. A change replaces an object, so snapshots share those that did not change.
type snapshot struct {
	namespaces map[string]Namespace
	objects    map[types.NamespacedName]*unstructured.Unstructured
	replikas   map[types.NamespacedName]*v1alpha1.Replika
}

func (s snapshot) clone() snapshot {
	cloned := snapshot{
		namespaces: maps.Clone(s.namespaces),
		objects:    maps.Clone(s.objects),
		replikas:   map[types.NamespacedName]*v1alpha1.Replika{},
	}
	for key, replika := range s.replikas {
		cloned.replikas[key] = replika.DeepCopy()
	}
	return cloned
}

var (
	namespaceNames = []string{"a", "b", "c", "d", "e"}
	objectNames    = []string{"x", "y"}
	// namePrefix is that of the copies of some Replikas with many sources, and prefixedNames are the names of foreign objects beside them.
	namePrefix    = "p"
	prefixedNames = []string{"x", "y", "px", "py"}
	// Two Replikas have the same name, and therefore the same value of the part-of label.
	replikaNames = []types.NamespacedName{
		{Namespace: "ops", Name: "r1"}, {Namespace: "dev", Name: "r1"}, {Namespace: "ops", Name: "r2"},
	}
)

func newCluster(t testingT, many bool, pick func(n int, what string) int, seen map[string]int) *cluster {
	c := &cluster{
		many: many, partStatus: map[types.NamespacedName]map[string]v1alpha1.ReplikaStatus{},
		t: t, pick: pick, seen: seen, cleaner: NewCleaner(), tampered: map[types.UID]bool{},
		observed: map[*unstructured.Unstructured]*Observed{},
		snapshot: snapshot{
			namespaces: map[string]Namespace{},
			objects:    map[types.NamespacedName]*unstructured.Unstructured{},
			replikas:   map[types.NamespacedName]*v1alpha1.Replika{},
		},
	}
	for _, name := range namespaceNames {
		c.namespaces[name] = Namespace{Name: name, Labels: map[string]string{"team": []string{"red", "blue"}[c.pick(2, "team")]}}
	}
	for _, namespace := range []string{"a", "b"} {
		c.put(c.randomObject(namespace, "x"))
	}
	for _, name := range replikaNames[:1+c.pick(len(replikaNames), "replikas")] {
		c.putReplika(name)
	}
	return c
}

// anotherKey is a key that not all sources have, and that not all of their owners allow.
const anotherKey = "another"

func (c *cluster) nextNumber() int {
	c.counter++
	return c.counter
}

func (c *cluster) chance(oneIn int, what string) bool {
	return c.pick(oneIn, what) == oneIn-1
}

func (c *cluster) record(state string) {
	c.seen[state]++
	c.log = append(c.log, state)
}

func (c *cluster) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}

// put stores the object like the API server, with a new resourceVersion.
func (c *cluster) put(object *unstructured.Unstructured) {
	if object.GetUID() == "" {
		object.SetUID(types.UID(fmt.Sprintf("uid-%d", c.nextNumber())))
	}
	object.SetResourceVersion(strconv.Itoa(c.nextNumber()))
	c.objects[objectKey(object)] = object
}

func objectKey(object *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// remove deletes the object like the API server: with finalizers it is only marked for deletion.
func (c *cluster) remove(key types.NamespacedName) {
	object := c.objects[key].DeepCopy()
	if len(object.GetFinalizers()) == 0 {
		delete(c.objects, key)
		return
	}
	now := metav1.NewTime(time.Unix(int64(c.nextNumber()), 0))
	object.SetDeletionTimestamp(&now)
	c.put(object)
}

func (c *cluster) randomObject(namespace, name string) *unstructured.Unstructured {
	object := newObject(namespace, name, withField(fmt.Sprintf("mode %d", c.pick(3, "mode")), "data", "mode"))
	object.SetUID("")
	if c.chance(3, "source label") {
		withLabels(map[string]string{"source.example/tier": "gold"})(object)
	}
	if c.chance(4, "consent") {
		allowed := []string{"", "c,d", "*"}[c.pick(3, "allowed namespaces")]
		withAnnotations(map[string]string{v1alpha1.AnnotationAllowedNamespaces: allowed})(object)
	}
	if c.chance(2, "another key") {
		withField("another", "data", anotherKey)(object)
	}
	if c.chance(6, "consent to keys") {
		withAllowedKeys([]string{"mode", "*", "", "mode;another", "another"}[c.pick(5, "allowed keys")])(object)
	}
	if c.chance(4, "immutable") {
		withField(true, "immutable")(object)
	}
	return object
}

func (c *cluster) putReplika(name types.NamespacedName) {
	before := c.replikas[name]
	replika := newReplika(withName(name), withCreationTime(int64(c.nextNumber())))
	if before != nil {
		replika.ObjectMeta = before.ObjectMeta
		replika.Status.Source = before.Status.Source
	}
	c.randomSpec(&replika.Spec)
	c.replikas[name] = replika
}

func (c *cluster) randomSpec(spec *v1alpha1.ReplikaSpec) {
	spec.Source.Namespace = []string{"a", "b"}[c.pick(2, "source namespace")]
	// Copies in the source's own namespace can have the name of another source, so a copy can become a source.
	spec.Source.Name = []string{"x", "x", "x", "y"}[c.pick(4, "source name")]
	spec.Target.Name = []string{"", "", "y", "x"}[c.pick(4, "target name")]
	spec.Source.Names, spec.Source.Selector, spec.Target.NamePrefix = nil, nil, ""
	if c.many && !c.chance(3, "one source") {
		c.randomSources(spec)
	}
	spec.Target.ConflictPolicy = []v1alpha1.ConflictPolicy{"", v1alpha1.ConflictPolicyAdopt}[c.pick(2, "conflict policy")]
	spec.Target.ImmutableFields = []v1alpha1.ImmutableFieldsPolicy{"", v1alpha1.ImmutableFieldsFail}[c.pick(2, "immutable fields")]
	spec.DeletionPolicy = []v1alpha1.DeletionPolicy{"", v1alpha1.DeletionPolicyRetain}[c.pick(2, "deletion policy")]
	spec.Synchronization.OnSourceDeletion = []v1alpha1.SourceDeletionPolicy{"", v1alpha1.SourceDeletionDelete}[c.pick(2, "source deletion")]
	spec.Source.Keys = [...][]string{nil, nil, nil, {"mode"}, {"*", anotherKey}}[c.pick(5, "keys")]
	spec.Target.Labels, spec.Target.Annotations = nil, nil
	if c.chance(3, "target labels") {
		spec.Target.Labels = map[string]string{targetKeys + "label": "1"}
	}
	if c.chance(3, "target annotations") {
		spec.Target.Annotations = map[string]string{targetKeys + "annotation": "1"}
	}
	spec.Target.Namespaces = [...]v1alpha1.TargetNamespaces{
		{MatchAll: true},
		{ReplicateIn: []string{"c", "d"}},
		{Selector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"team": "red"}}},
		{MatchAll: true, ExcludeFrom: []string{"d"}},
		{ReplicateIn: []string{"*"}, ExcludeFrom: []string{"b*"}},
		{ReplicateIn: []string{"a", "b", "d"}},
	}[c.pick(6, "targets")]
}

// randomSources has the spec select many sources.
func (c *cluster) randomSources(spec *v1alpha1.ReplikaSpec) {
	spec.Source.Name, spec.Target.Name = "", ""
	spec.Target.NamePrefix = []string{"", namePrefix}[c.pick(2, "prefix")]
	switch c.pick(5, "sources") {
	case 0:
		spec.Source.Names = []string{"*"}
	case 1:
		spec.Source.Names = []string{"x", "y"}
	case 2:
		spec.Source.Names = []string{"x*", "y"}
	case 4:
		spec.Source.Names = []string{"x", "px"} // the second can be the name of a copy
	case 3:
		spec.Source.Selector = &v1alpha1.LabelSelector{MatchLabels: map[string]string{"source.example/tier": "gold"}}
	}
}

// disrupt makes one random change: an interrupted reconcile, or a change by another client.
func (c *cluster) disrupt() {
	c.history = append(c.history, c.clone())
	if len(c.replikas) > 0 && c.chance(2, "reconcile") {
		names := sortedKeys(c.replikas)
		c.reconcile(names[c.pick(len(names), "replika")])
		return
	}
	c.mutate()
}

// mutate makes one random change by a client other than the operator.
func (c *cluster) mutate() {
	mutations := []func(){
		c.mutateObject, c.mutateMarks, c.mutateReplika, c.mutateSource, c.mutateNamespace, c.createForeignObject, c.duplicateObject,
	}
	mutations[c.pick(len(mutations), "mutation")]()
}

// randomExistingObject returns a copy of a random object, or nil if there is none.
func (c *cluster) randomExistingObject() *unstructured.Unstructured {
	keys := sortedKeys(c.objects)
	if len(keys) == 0 {
		return nil
	}
	return c.objects[keys[c.pick(len(keys), "object")]].DeepCopy()
}

func (c *cluster) mutateObject() {
	object := c.randomExistingObject()
	if object == nil {
		return
	}
	switch c.pick(7, "how") {
	case 6:
		if !isSource(objectKey(object)) {
			withController(object)
			c.put(object)
		}
	case 0:
		if object.Object["immutable"] != true {
			withField("drifted", "data", "mode")(object)
		}
		c.put(object)
	case 1, 2:
		if isSource(objectKey(object)) {
			// Keys on a source are copied, so on its copies they do not belong to another client.
			return
		}
		withLabels(map[string]string{otherKeys + "label": "kept"})(object)
		withAnnotations(map[string]string{otherKeys + "annotation": "kept"})(object)
		c.put(object)
	case 3:
		c.remove(objectKey(object))
	case 4:
		object.SetFinalizers([]string{"example.com/finalizer"})
		c.put(object)
	case 5:
		object.SetFinalizers(nil)
		if object.GetDeletionTimestamp() != nil {
			delete(c.objects, objectKey(object))
			return
		}
		c.put(object)
	}
}

func isSource(key types.NamespacedName) bool {
	return key.Namespace == "a" || key.Namespace == "b"
}

func (c *cluster) mutateMarks() {
	object := c.randomExistingObject()
	if object == nil {
		return
	}
	annotations := mergeMaps(object.GetAnnotations(), nil)
	switch c.pick(5, "how") {
	case 0:
		labels := object.GetLabels()
		delete(labels, v1alpha1.LabelCreatedBy)
		delete(labels, v1alpha1.LabelPartOf)
		object.SetLabels(labels)
	case 1:
		for _, key := range MarkKeys() {
			delete(annotations, key)
		}
		c.tampered[object.GetUID()] = true
	case 2:
		annotations[v1alpha1.AnnotationOwner] = "malformed"
		c.tampered[object.GetUID()] = true
	case 3:
		annotations[v1alpha1.AnnotationMarksVersion] = "2"
	case 4:
		delete(annotations, v1alpha1.AnnotationOwner)
		c.tampered[object.GetUID()] = true
	}
	object.SetAnnotations(annotations)
	c.put(object)
}

func (c *cluster) mutateReplika() {
	name := replikaNames[c.pick(len(replikaNames), "replika")]
	replika := c.replikas[name]
	switch {
	case replika == nil || replika.DeletionTimestamp == nil && c.chance(2, "change of spec"):
		c.putReplika(name)
	case c.chance(3, "finalizer removed"):
		delete(c.replikas, name)
	case replika.DeletionTimestamp == nil:
		withDeletion(replika)
	}
}

func (c *cluster) mutateSource() {
	namespace := []string{"a", "b"}[c.pick(2, "source namespace")]
	key := types.NamespacedName{Namespace: namespace, Name: "x"}
	if c.many && c.chance(2, "another source") {
		key.Name = "y"
	}
	switch object := c.objects[key]; {
	case object != nil && c.chance(2, "deletion"):
		c.remove(key)
	case object == nil && c.namespaceActive(namespace):
		c.put(c.randomObject(namespace, key.Name))
	case object != nil:
		edited := c.randomObject(namespace, key.Name)
		edited.SetUID(object.GetUID())
		edited.SetAnnotations(mergeMaps(object.GetAnnotations(), edited.GetAnnotations()))
		edited.SetLabels(mergeMaps(object.GetLabels(), edited.GetLabels()))
		if c.many && c.chance(3, "not selected any more") {
			edited.SetLabels(nil)
		}
		c.put(edited)
	}
}

func (c *cluster) namespaceActive(namespace string) bool {
	found, exists := c.namespaces[namespace]
	return exists && !found.Terminating
}

func (c *cluster) mutateNamespace() {
	name := namespaceNames[c.pick(len(namespaceNames), "namespace")]
	namespace, exists := c.namespaces[name]
	switch {
	case !exists:
		c.namespaces[name] = Namespace{Name: name, Labels: map[string]string{"team": "red"}}
	case namespace.Terminating:
		delete(c.namespaces, name)
		maps.DeleteFunc(c.objects, func(key types.NamespacedName, _ *unstructured.Unstructured) bool { return key.Namespace == name })
	case c.chance(3, "deletion"):
		namespace.Terminating = true
		c.namespaces[name] = namespace
	default:
		namespace.Labels = map[string]string{
			"team": []string{"red", "blue"}[c.pick(2, "team")], v1alpha1.LabelOptOut: []string{"", "true"}[c.pick(2, "opt-out")],
		}
		c.namespaces[name] = namespace
	}
}

// createForeignObject creates an object with a name that a copy can have.
func (c *cluster) createForeignObject() {
	key := c.randomFreeKey()
	if key.Name == "" {
		return
	}
	object := c.randomObject(key.Namespace, key.Name)
	if c.chance(3, "controller") {
		withController(object)
	}
	if c.chance(2, "legacy") {
		// A copy of the 2022 release, possibly with the content of one of the sources.
		if source := c.objects[types.NamespacedName{Namespace: "a", Name: "x"}]; source != nil && c.chance(2, "same content") {
			object = source.DeepCopy()
			object.SetUID("")
			object.SetNamespace(key.Namespace)
			object.SetName(key.Name)
			object.SetLabels(nil)
			object.SetAnnotations(nil)
			object.SetOwnerReferences(nil)
			object.SetFinalizers(nil)
			object.SetDeletionTimestamp(nil)
		}
		withLegacyLabels("r1")(object)
	}
	c.put(object)
}

// duplicateObject duplicates an object, including its labels and marks.
func (c *cluster) duplicateObject() {
	object, key := c.randomExistingObject(), c.randomFreeKey()
	if object == nil || key.Name == "" || isSource(key) {
		return
	}
	object.SetUID("")
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	object.SetFinalizers(nil)
	object.SetDeletionTimestamp(nil)
	c.put(object)
	c.tampered[object.GetUID()] = true
	if object.GetAnnotations()[v1alpha1.AnnotationMarksVersion] != "" {
		c.record("duplicated marks")
	}
}

// randomFreeKey returns a random key without an object, or an empty one if the random key is taken.
func (c *cluster) randomFreeKey() types.NamespacedName {
	key := types.NamespacedName{
		Namespace: namespaceNames[c.pick(len(namespaceNames), "namespace")],
		Name:      objectNames[c.pick(len(objectNames), "name")],
	}
	if c.many {
		key.Name = prefixedNames[c.pick(len(prefixedNames), "name")]
	}
	if c.objects[key] != nil || !c.namespaceActive(key.Namespace) {
		return types.NamespacedName{}
	}
	return key
}
