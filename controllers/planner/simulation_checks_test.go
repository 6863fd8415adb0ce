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
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// foreignKeys returns the labels and annotations that neither template nor operator set.
func foreignKeys(object *unstructured.Unstructured) map[string]string {
	keys := map[string]string{}
	for kind, all := range map[string]map[string]string{"label ": object.GetLabels(), "annotation ": object.GetAnnotations()} {
		for key, value := range all {
			if strings.HasPrefix(key, otherKeys) {
				keys[kind+key] = value
			}
		}
	}
	return keys
}

// checkPlace checks before any write that it is not to the source, and that a write in the source's namespace is to a copy that
// the spec wants there, or wanted: its marks name a source in the same namespace. A copy is never made of a copy.
func (c *cluster) checkPlace(in *Input, action Action, live *unstructured.Unstructured) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	source := types.NamespacedName{Namespace: in.SourceNamespace, Name: in.SourceName}
	if key == source {
		c.fatalf("%s of the source %s by %s", action.Type, key, in.Replika)
	}
	if in.Sources != nil && live != nil && key.Namespace == in.SourceNamespace &&
		(in.Sources.Names(key.Name) || !in.Sources.isCopy(live) && in.Sources.Matches(live)) {
		c.fatalf("%s of %s, one of the sources, by %s", action.Type, key, in.Replika)
	}
	if original := c.objects[source]; c.recovering && action.Template != nil && original != nil {
		// Marks that name another object are those of a duplicate. It is no copy.
		if c.observe(original).Marks != MarksAbsent {
			c.fatalf("%s makes %s a copy of the copy %s", in.Replika, key, source)
		}
	}
	if action.Namespace != in.SourceNamespace {
		return
	}
	if action.Desired && in.Selection.includesSource {
		c.record("copy in the source's namespace")
		return
	}
	if live == nil || !strings.HasPrefix(live.GetAnnotations()[v1alpha1.AnnotationSource], in.SourceNamespace+"/") {
		c.fatalf("%s %s in the source's namespace by %s", action.Type, key, in.Replika)
	}
	c.record("pruned in the source's namespace")
}

// isProtected reports whether nothing may be written to the object.
func (c *cluster) isProtected(in *Input, key types.NamespacedName) bool {
	object := c.objects[key]
	return key == types.NamespacedName{Namespace: in.SourceNamespace, Name: in.SourceName} ||
		key.Namespace == in.SourceNamespace && in.Sources.Names(key.Name) ||
		key.Namespace == in.SourceNamespace && !strings.HasPrefix(object.GetAnnotations()[v1alpha1.AnnotationSource], in.SourceNamespace+"/")
}

// checkRemoval checks before a delete that the object is this Replika's own copy, not adopted, not in the source's
// namespace, and that no other Replika takes it over.
func (c *cluster) checkRemoval(in *Input, view snapshot, action Action, live *unstructured.Unstructured) {
	annotations := live.GetAnnotations()
	c.checkPlace(in, action, live)
	switch {
	case metav1.GetControllerOf(live) != nil:
		c.fatalf("%s of %s, which has a controller, by %s", action.Type, objectKey(live), in.Replika)
	case annotations[v1alpha1.AnnotationMarksVersion] != v1alpha1.MarksVersion,
		annotations[v1alpha1.AnnotationSelf] != objectKey(live).String(),
		annotations[v1alpha1.AnnotationOwner] != in.Replika.String():
		c.fatalf("%s of %s by %s, which does not own it: %v", action.Type, objectKey(live), in.Replika, annotations)
	case annotations[v1alpha1.AnnotationAdopted] != "":
		c.fatalf("%s of %s, which was adopted, by %s", action.Type, objectKey(live), in.Replika)
	case action.Type == Recreate:
		return
	}
	for name, replika := range view.replikas {
		other, claims := c.claims(replika, view, objectKey(live))
		if name == in.Replika || !claims {
			continue
		}
		if readyReason(other) != v1alpha1.ReasonSynced || other.Spec.Suspend || other.Status.ObservedGeneration != other.Generation {
			c.record("claimant skipped")
			continue
		}
		c.fatalf("%s deleted %s although %s claims it", in.Replika, objectKey(live), name)
	}
}

// checkChange checks before a patch that the object is this Replika's own copy, or one that it may take over.
func (c *cluster) checkChange(in *Input, view snapshot, action Action, live *unstructured.Unstructured) {
	c.checkPlace(in, action, live)
	if metav1.GetControllerOf(live) != nil {
		c.fatalf("%s of %s, which has a controller, by %s", action.Type, objectKey(live), in.Replika)
	}
	annotations := live.GetAnnotations()
	version, marked := annotations[v1alpha1.AnnotationMarksVersion]
	ownMarks := version == v1alpha1.MarksVersion && annotations[v1alpha1.AnnotationSelf] == objectKey(live).String()
	if ownMarks && annotations[v1alpha1.AnnotationOwner] == in.Replika.String() {
		c.recordChange(action, live)
		return
	}
	if version == "2" && !c.recovering {
		// The guard does not detect that a newer operator has written marks for the same owner since the view.
		c.record("raced with a newer operator")
		return
	}
	owner, readable := parseName(annotations[v1alpha1.AnnotationOwner])
	switch {
	case action.Type != Update:
		c.fatalf("%s of %s by %s, which does not own it: %v", action.Type, objectKey(live), in.Replika, annotations)
	case marked && version != v1alpha1.MarksVersion:
		c.fatalf("%s changed %s, whose marks are newer", in.Replika, objectKey(live))
	case ownMarks && readable && annotations[v1alpha1.AnnotationApplied] != "":
		if _, claims := c.claims(view.replikas[owner], view, objectKey(live)); claims {
			c.fatalf("%s took over %s from %s, which claims it", in.Replika, objectKey(live), owner)
		}
		c.record("take over")
	case in.ConflictPolicy == v1alpha1.ConflictPolicyAdopt && action.Adopt:
		c.record("adopt")
	default:
		content := c.cleaner.Content(in.Kind, live.Object)
		got := map[string]any{"data": content["data"], "immutable": content["immutable"]}
		want := map[string]any{"data": nil, "immutable": nil}
		for field := range want {
			if encoded, found := action.Template.Content[field]; found {
				var value any
				if err := json.Unmarshal(encoded, &value); err != nil {
					c.fatalf("content: %v", err)
				}
				want[field] = value
			}
		}
		legacy := live.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue &&
			live.GetLabels()[v1alpha1.LabelPartOf] == in.Replika.Name
		for _, key := range MarkKeys() {
			_, marked := annotations[key]
			legacy = legacy && !marked
		}
		if !legacy || c.recovering && !cmp.Equal(want, got) {
			c.fatalf("%s changed the foreign object %s: %v", in.Replika, objectKey(live), live.Object)
		}
		c.record("mark a legacy copy")
	}
}

// recordChange records the relevant changes of this Replika's own copies.
func (c *cluster) recordChange(action Action, live *unstructured.Unstructured) {
	adopted := live.GetAnnotations()[v1alpha1.AnnotationAdopted] != ""
	switch {
	case action.Type == Release && adopted:
		c.record("release an adopted object")
	case action.Type == HandOver && adopted:
		c.record("hand over an adopted object")
	case action.Type == Update && live.GetLabels()[v1alpha1.LabelCreatedBy] == "":
		c.record("repair removed labels")
	}
}

// mayRemain reports whether a copy that is not desired may remain, because nothing is written at its key.
func (c *cluster) mayRemain(in *Input, key types.NamespacedName) bool {
	return c.isProtected(in, key) || !c.namespaceActive(key.Namespace) || c.objects[key].GetDeletionTimestamp() != nil
}

// checkStable checks after recovery that nothing changes, that each desired copy is in sync or has a valid reason not to be,
// and that no Replika owns a copy that it does not desire.
func (c *cluster) checkStable() {
	before := c.clone()
	for key, object := range before.objects {
		before.objects[key] = object.DeepCopy() // so that a change in place is found too
	}
	for _, name := range sortedKeys(c.replikas) {
		desired := map[types.NamespacedName]bool{}
		parts, _ := c.parts(c.replikas[name], c.clone(), c.snapshot)
		for _, part := range parts {
			c.checkPart(part, desired)
		}
		in, _ := c.input(c.replikas[name].DeepCopy(), c.clone())
		for key, object := range c.objects {
			if !desired[key] && c.observe(object).OwnedBy(name) && !c.mayRemain(in, key) {
				c.fatalf("%s owns %s, which it does not desire", name, key)
			}
		}
	}
	if !reflect.DeepEqual(before, c.snapshot) { // faster than Diff, but an empty map differs from none
		if diff := cmp.Diff(before, c.snapshot, cmp.AllowUnexported(snapshot{}), cmpopts.EquateEmpty()); diff != "" {
			c.fatalf("a stable cluster changed: %s", diff)
		}
	}
	for _, object := range c.objects {
		if owner, marked := c.observe(object).Owner(); marked && c.replikas[owner] == nil {
			c.record("orphaned copy")
		}
	}
}

// checkPart checks the copies of a Replika of one source, or of one of many sources, and adds those that it desires.
func (c *cluster) checkPart(part *v1alpha1.Replika, desired map[types.NamespacedName]bool) {
	part = part.DeepCopy()
	in, _ := c.input(part, c.clone())
	for _, action := range Plan(in) {
		last, _ := c.execute(in, c.clone(), action)
		c.checkAction(in, last)
	}
	for name, namespace := range c.namespaces {
		if in.Selection != nil && naiveSelects(part, namespace) {
			desired[types.NamespacedName{Namespace: name, Name: in.Name}] = true
		}
	}
	c.checkKeys(in)
	c.checkCoverage(in, part)
}

// checkKeys checks that no copy has a key that the source's owner does not allow, except where nothing can be written.
func (c *cluster) checkKeys(in *Input) {
	source := c.objects[in.source()]
	if source == nil || validateSource(configMaps, source) != nil {
		return // copies of a source that is a copy stay as they are
	}
	allowed, err := allowedKeysList.read(source)
	if err != nil || allowed == nil {
		return
	}
	for key, object := range c.objects {
		observed := c.observe(object)
		if !observed.OwnedBy(in.Replika) || observed.Origin.Value().Source != in.source() || c.mayRemain(in, key) || object.Object["immutable"] == true {
			continue
		}
		data, _ := object.Object["data"].(map[string]any)
		for name := range data {
			if !naiveMatchesAny(allowed, name) {
				c.fatalf("%s has the key %s, which is not allowed: %v", key, name, allowed)
			}
		}
	}
}

// checkAction checks that an action is valid in a stable cluster.
func (c *cluster) checkAction(in *Input, action Action) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	live := c.objects[key]
	observed := c.observe(live)
	switch action.Type {
	case Keep:
		if in.Template == nil {
			return
		}
		if live == nil || !observed.OwnedBy(in.Replika) || observed.Digests != in.Template.Digests {
			c.fatalf("%s keeps %s, which is not in sync", in.Replika, key)
		}
		if c.tampered[live.GetUID()] || observed.Adopted {
			return
		}
		for name := range live.GetLabels() {
			if _, desired := in.Template.Labels[name]; strings.HasPrefix(name, targetKeys) && !desired {
				c.fatalf("%s still has the label %s of an earlier spec", key, name)
			}
		}
	case Wait:
		if live.GetDeletionTimestamp() == nil {
			c.fatalf("%s waits for %s, which is not terminating", in.Replika, key)
		}
	case Conflict:
		c.checkConflict(in, action, live)
	case Update:
		// A field is immutable, and the object is not recreated: the policy is Fail, or it must not be deleted.
		if in.ImmutableFields != v1alpha1.ImmutableFieldsFail && observed.OwnedBy(in.Replika) && !observed.Adopted {
			c.fatalf("%s neither updates nor recreates %s", in.Replika, key)
		}
	default:
		c.fatalf("%s is not stable: %s %s", in.Replika, action.Type, key)
	}
}

// checkConflict checks that a conflict in a stable cluster has a valid reason.
func (c *cluster) checkConflict(in *Input, action Action, live *unstructured.Unstructured) {
	if action.Message == "" {
		c.fatalf("%s reports no message for the conflict %s/%s", in.Replika, action.Namespace, action.Name)
	}
	if !action.Desired {
		if !c.isProtected(in, types.NamespacedName{Namespace: action.Namespace, Name: action.Name}) {
			c.fatalf("%s does not prune %s/%s", in.Replika, action.Namespace, action.Name)
		}
		c.record("conflict: source's namespace")
		return
	}
	if action.Namespace == in.SourceNamespace && in.Sources.Names(action.Name) {
		c.record("conflict: named as a source")
		return
	}
	annotations := live.GetAnnotations()
	observed := c.observe(live)
	owner, marked := observed.Owner()
	switch {
	case annotations[v1alpha1.AnnotationMarksVersion] == "2":
		c.record("conflict: newer marks")
	case marked && owner != in.Replika:
		if _, claims := c.claims(c.replikas[owner], c.snapshot, objectKey(live)); !claims {
			c.fatalf("%s leaves %s to %s, which does not claim it", in.Replika, objectKey(live), owner)
		}
		c.record("conflict: other owner")
	case marked:
		c.fatalf("%s reports a conflict on its own copy %s", in.Replika, objectKey(live))
	case in.Sources != nil && action.Namespace == in.SourceNamespace && in.Sources.CouldMatch(action.Name):
		c.record("conflict: could be a source")
	case in.ConflictPolicy == v1alpha1.ConflictPolicyAdopt:
		if metav1.GetControllerOf(live) == nil {
			c.fatalf("%s does not adopt %s", in.Replika, objectKey(live))
		}
		c.record("conflict: controller")
	default:
		c.record("conflict: foreign")
	}
}

// checkCoverage checks that a plan has exactly one action for each namespace that the spec selects.
func (c *cluster) checkCoverage(in *Input, replika *v1alpha1.Replika) {
	var want []string
	for name, namespace := range c.namespaces {
		// A copy that can have keys that are not allowed is not desired while there is no template.
		withdrawn := in.withdrawn(c.observe(c.objects[types.NamespacedName{Namespace: name, Name: in.Name}]))
		if in.Selection != nil && naiveSelects(replika, namespace) && !withdrawn {
			want = append(want, name)
		}
	}
	var got []string
	for _, action := range Plan(in) {
		if action.Desired {
			got = append(got, action.Namespace)
		}
	}
	slices.Sort(want)
	if !cmp.Equal(want, got, cmpopts.EquateEmpty()) {
		c.fatalf("%s plans for %v, want %v", in.Replika, got, want)
	}
}
