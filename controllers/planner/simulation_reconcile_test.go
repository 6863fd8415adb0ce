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
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// reconcile does what the controller does for one Replika. It reports whether nothing changed.
func (c *cluster) reconcile(name types.NamespacedName) (stable bool) {
	replika := c.replikas[name].DeepCopy()
	view := c.clone()
	if !c.recovering && replika.DeletionTimestamp == nil && c.chance(2, "stale view") {
		view = c.history[max(0, len(c.history)-1-c.pick(5, "age"))]
	}
	if replika.DeletionTimestamp == nil && replika.HasManySources() {
		return c.reconcileMany(replika, view)
	}
	return c.reconcileOne(replika, view)
}

// reconcileOne does it for a Replika of one source, or for one of many sources.
func (c *cluster) reconcileOne(replika *v1alpha1.Replika, view snapshot) (stable bool) {
	former := replika.Status.Source.DeepCopy()
	in, reason := c.input(replika, view)
	name := in.Replika

	stable = true
	succeeded, synced := true, in.Template != nil
	for _, action := range Plan(in) {
		if !c.recovering && c.chance(20, "interruption") {
			return false
		}
		last, outcome := c.execute(in, view, action)
		synced = synced && (last.Type == Keep || last.Type.Writes() && outcome == Done)
		switch last.Type {
		case Keep, Wait, Conflict:
		default:
			// A permanent error of the API server changes nothing.
			stable = stable && outcome == Immutable
			succeeded = succeeded && outcome == Done
			if outcome == Immutable {
				c.record("immutable, not recreated")
			}
		}
	}
	if replika.DeletionTimestamp != nil && succeeded && stable {
		c.finalize(in)
		return false
	}
	if c.replikas[name] != nil {
		if synced {
			replika.Status.Source.CopiedKeys = c.copiedKeys
		}
		if !cmp.Equal(former, replika.Status.Source) || reason != readyReason(replika) {
			stable = false
		}
		meta.SetStatusCondition(&replika.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Reason: reason})
		c.storeStatus(replika)
	}
	return stable
}

func readyReason(replika *v1alpha1.Replika) string {
	if ready := meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// input returns the input of a reconcile: the view, which can be stale, and the current source.
func (c *cluster) input(replika *v1alpha1.Replika, view snapshot) (*Input, string) {
	name := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	source := c.objects[types.NamespacedName{Namespace: replika.SourceNamespace(), Name: replika.Spec.Source.Name}]
	var allowed []string
	if source != nil {
		var err error
		if allowed, err = AllowedNamespaces(source); err != nil {
			c.fatalf("consent: %v", err)
		}
		status := v1alpha1.SourceStatus{}
		if replika.Status.Source != nil {
			status = *replika.Status.Source
		}
		status.AllowedNamespaces = allowed
		replika.Status.Source = &status
	}
	selection, err := NewSelection(replika)
	if err != nil {
		c.fatalf("selection: %v", err)
	}
	in := &Input{
		Replika:         name,
		Kind:            configMapKind,
		Name:            replika.TargetName(),
		Selection:       selection,
		SourceNamespace: replika.SourceNamespace(),
		SourceName:      replika.Spec.Source.Name,
		ConflictPolicy:  replika.Spec.Target.ConflictPolicy,
		ImmutableFields: replika.Spec.Target.ImmutableFields,
		DeletionPolicy:  replika.Spec.DeletionPolicy,
		Claimants:       c.claimants(view),
	}
	stored := c.replikas[name]
	ofMany := stored != nil && stored.HasManySources() && !replika.HasManySources()
	if stored != nil && stored.HasManySources() {
		in.Sources = c.sourceSelector(stored)
	}
	for _, namespace := range slices.Sorted(maps.Keys(view.namespaces)) {
		in.Namespaces = append(in.Namespaces, view.namespaces[namespace])
	}
	var reason string
	switch {
	case source == nil:
		c.record("source deleted")
		reason = v1alpha1.ReasonSourceNotFound
		if replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete {
			in.Selection = nil
		}
	case ofMany && !in.Sources.Matches(source):
		c.record("no longer a source")
		in.Selection = nil
	default:
		reason = c.template(in, replika, source, allowed)
	}
	if replika.DeletionTimestamp != nil {
		in.Selection, in.Template = nil, nil
	}
	for _, key := range sortedKeys(view.objects) {
		observed := c.observe(view.objects[key])
		if ofMany && key.Name != in.Name {
			continue
		}
		labelled := observed.Origin.Value().CreatedBy == v1alpha1.CreatedByValue
		desired := in.Selection != nil && key.Name == in.Name && naiveSelects(replika, view.namespaces[key.Namespace])
		// A foreign object can be unknown to the operator. The create of the copy then fails with a conflict.
		if labelled || !desired || c.chance(2, "foreign object is known") {
			in.Observed = append(in.Observed, observed)
		}
	}
	return in, reason
}

// template sets the template of the input, or what follows from its absence. It returns the reason of Ready.
func (c *cluster) template(in *Input, replika *v1alpha1.Replika, source *unstructured.Unstructured, allowed []string) string {
	template, err := c.cleaner.NewTemplate(configMaps, replika, source.DeepCopy())
	problem, known := errors.AsType[*TemplateError](err)
	switch {
	case err != nil && !known:
		c.record("source not allowed")
		return v1alpha1.ReasonSourceNotAllowed
	case allowed != nil && len(allowed) == 0:
		c.record("consent withdrawn")
		in.Selection = nil
		return v1alpha1.ReasonSourceNotAllowed
	case known:
		c.record("keys: " + problem.Reason)
		if in.KeysWithdrawn = KeysWithdrawn(replika, source, problem); in.KeysWithdrawn {
			c.record("consent to keys withdrawn")
		}
		return problem.Reason
	}
	in.Template = template
	// Stored before any copy has the keys.
	c.copiedKeys = CopiedKeys(replika, source)
	replika.Status.Source.CopiedKeys = WidenCopiedKeys(replika.Status.Source, c.copiedKeys)
	replika.Status.Source.ResourceVersion = source.GetResourceVersion()
	c.storeStatus(replika)
	return v1alpha1.ReasonSynced
}

func (c *cluster) observe(object *unstructured.Unstructured) *Observed {
	if object == nil {
		return nil
	}
	if observed := c.observed[object]; observed != nil {
		return observed
	}
	observed, err := c.cleaner.Observe(configMaps, object)
	if err != nil {
		c.fatalf("observe: %v", err)
	}
	c.observed[object] = observed
	return observed
}

// execute executes an action and all next actions.
func (c *cluster) execute(in *Input, view snapshot, action Action) (Action, Outcome) {
	for attempt := 1; ; attempt++ {
		if attempt > 2*maxReplans {
			c.fatalf("%s %s/%s does not terminate", action.Type, action.Namespace, action.Name)
		}
		c.record(string(action.Type))
		c.log[len(c.log)-1] += fmt.Sprintf(" %s/%s by %s", action.Namespace, action.Name, in.Replika)
		outcome, found := c.executeWithFaults(in, view, action)
		next, more := in.NextAction(action, view.namespaces[action.Namespace], outcome, found, attempt)
		if !more {
			return action, outcome
		}
		if !c.recovering && c.chance(10, "concurrent change") {
			c.mutate()
		}
		action = next
	}
}

// executeWithFaults executes the action, or fails before or after its request.
func (c *cluster) executeWithFaults(in *Input, view snapshot, action Action) (Outcome, *Observed) {
	switch action.Type {
	case Keep, Wait, Conflict:
		return Unchanged, action.Observed
	default:
	}
	if !c.recovering && c.chance(12, "failure before") {
		c.record("failed before the request")
		return Unavailable, nil
	}
	outcome, found := c.request(in, view, action)
	switch outcome {
	case Stale:
		c.record("stale")
	case Immutable:
		c.record("immutable")
	case NamespaceGone:
		c.record("namespace gone")
	default:
	}
	if !c.recovering && outcome == Done && c.chance(12, "failure after") {
		c.record("failed after the request")
		return Unavailable, nil
	}
	return outcome, found
}

// request sends the action's requests, each with its guard.
func (c *cluster) request(in *Input, view snapshot, action Action) (Outcome, *Observed) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	live := c.objects[key]
	switch action.Type {
	case Create, LookUp:
		return c.create(in, action)
	case Delete, Recreate:
		if live == nil && action.Type == Delete {
			return Done, nil
		}
		if live == nil || live.GetUID() != action.Observed.UID || live.GetResourceVersion() != action.Observed.ResourceVersion {
			return Stale, c.observe(live)
		}
		c.checkRemoval(in, view, action, live)
		c.remove(key)
		if action.Type == Delete {
			return Done, nil
		}
		if !c.recovering && c.chance(3, "interruption of recreate") {
			c.record("recreate interrupted")
			return Unavailable, nil
		}
		return c.create(in, action)
	case Update, Release, HandOver:
		if live == nil || !c.guardMatches(action.Observed, live) {
			return Stale, c.observe(live)
		}
		c.checkChange(in, view, action, live)
		return c.patch(in, action, live)
	default:
		c.fatalf("unknown action %q", action.Type)
		return Unavailable, nil
	}
}

func (c *cluster) create(in *Input, action Action) (Outcome, *Observed) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	if live := c.objects[key]; live != nil {
		return Stale, c.observe(live)
	}
	if !c.namespaceActive(action.Namespace) {
		return NamespaceGone, nil
	}
	c.checkPlace(in, action, nil)
	rendered, err := action.Template.Render(action.Namespace)
	if err != nil {
		c.fatalf("render: %v", err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(rendered); err != nil {
		c.fatalf("decode: %v", err)
	}
	if objectKey(object) != key {
		c.fatalf("%s rendered %s as %s", in.Replika, key, objectKey(object))
	}
	c.put(object)
	return Done, c.observe(object)
}

// guardMatches is the test of a JSON Patch: UID, owner mark and no owner references, or the resourceVersion.
func (c *cluster) guardMatches(observed *Observed, live *unstructured.Unstructured) bool {
	if live.GetUID() != observed.UID {
		return false
	}
	if owner, marked := observed.Owner(); marked {
		return live.GetAnnotations()[v1alpha1.AnnotationOwner] == owner.String() &&
			(len(live.GetOwnerReferences()) == 0 || live.GetResourceVersion() == observed.ResourceVersion)
	}
	return live.GetResourceVersion() == observed.ResourceVersion
}

// patch applies an update, release or handover to the object.
func (c *cluster) patch(in *Input, action Action, live *unstructured.Unstructured) (Outcome, *Observed) {
	object := live.DeepCopy()
	labels, annotations := mergeMaps(object.GetLabels(), nil), mergeMaps(object.GetAnnotations(), nil)
	switch action.Type {
	case Update:
		rendered, err := action.Template.Render(action.Namespace)
		if err != nil {
			c.fatalf("render: %v", err)
		}
		desired := &unstructured.Unstructured{}
		if err := desired.UnmarshalJSON(rendered); err != nil {
			c.fatalf("decode: %v", err)
		}
		content := c.cleaner.Content(in.Kind, desired.Object)
		if object.Object["immutable"] == true && (content["immutable"] != true || !cmp.Equal(content["data"], object.Object["data"])) {
			return Immutable, nil
		}
		for _, field := range action.Template.Digests.Differing(action.Observed.Digests) {
			if value, found := content[field]; found {
				object.Object[field] = value
			} else if field != MetadataField {
				delete(object.Object, field)
			}
		}
		stale := action.Observed.StaleKeys(action.Template)
		for _, key := range stale.Labels {
			c.record("remove a stale key")
			delete(labels, key)
		}
		for _, key := range stale.Annotations {
			delete(annotations, key)
		}
		maps.Copy(labels, action.Template.CopyLabels())
		maps.Copy(annotations, action.Template.CopyAnnotations(action.Namespace, action.Adopt || action.Observed.Adopted))
	case Release:
		delete(labels, v1alpha1.LabelCreatedBy)
		delete(labels, v1alpha1.LabelPartOf)
		for _, key := range MarkKeys() {
			delete(annotations, key)
		}
		// The keys of the template are kept, but no longer recorded as applied.
		c.tampered[live.GetUID()] = true
	case HandOver:
		labels[v1alpha1.LabelCreatedBy] = v1alpha1.CreatedByValue
		labels[v1alpha1.LabelPartOf] = v1alpha1.PartOf(action.NewOwner.Name)
		annotations[v1alpha1.AnnotationOwner] = action.NewOwner.String()
	default:
	}
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
	if before, after := foreignKeys(live), foreignKeys(object); !cmp.Equal(before, after) {
		c.fatalf("%s by %s changed keys of other clients on %s: %s", action.Type, in.Replika, objectKey(live), cmp.Diff(before, after))
	}
	c.put(object)
	return Done, c.observe(object)
}

// finalize removes a Replika, which must not own copies any more.
func (c *cluster) finalize(in *Input) {
	for key, object := range c.objects {
		if c.observe(object).OwnedBy(in.Replika) && !c.mayRemain(in, key) {
			c.fatalf("%s is deleted but still owns %s", in.Replika, key)
		}
	}
	delete(c.replikas, in.Replika)
	c.record("Replika deleted")
}

// recoverCluster reconciles all Replikas with current views and without faults until nothing changes.
func (c *cluster) recoverCluster() {
	for round := 1; ; round++ {
		if round > maxRecoveryRounds {
			c.fatalf("not stable after %d rounds", maxRecoveryRounds)
		}
		c.log = append(c.log, fmt.Sprintf("--- recovery round %d", round))
		stable := true
		names := sortedKeys(c.replikas)
		for len(names) > 0 {
			next := c.pick(len(names), "next replika")
			stable = c.reconcile(names[next]) && stable
			names = slices.Delete(names, next, next+1)
		}
		if stable {
			return
		}
	}
}
