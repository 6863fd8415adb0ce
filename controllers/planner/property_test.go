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
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// The properties of planning are tried on a simulated cluster. First comes unrest: users, other tools, dying passes and
// stale caches do what they like. Then comes calm, in which every Replika is planned and carried out, over and over.

// TestPlansConverge looks for an unrest after which the calm is not what it should be, and shrinks what it finds.
func TestPlansConverge(t *testing.T) {
	rapid.Check(t, checkConvergence)
}

// FuzzPlan lets the fuzzer choose the unrest.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("an unrest like any other"))
	f.Fuzz(rapid.MakeFuzz(checkConvergence))
}

func checkConvergence(t *rapid.T) {
	simulate(t, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }, map[string]int{})
}

// TestSimulationReachesEveryState runs many fixed simulations. A property says nothing about states that are never met, so
// each state worth meeting is counted.
func TestSimulationReachesEveryState(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(simulations) {
		random := rand.New(rand.NewPCG(seed, 0))
		simulate(t, func(n int, _ string) int { return random.IntN(n) }, seen)
	}
	for _, state := range []string{
		"create", "update", "recreate", "delete", "release", "hand over", "keep", "wait", "conflict",
		"adopt", "take over", "mark a legacy copy", "repair what lost its labels", "drop a stale key",
		"conflict: foreign", "conflict: controlled", "conflict: newer marks", "conflict: rival", "conflict: source's namespace",
		"surprised", "immutable", "immutable for good", "recreate died half way", "failed before", "failed after", "namespace gone",
		"release of an adopted object", "hand over of an adopted object", "source gone", "source refused", "orphan stays",
		"heir passed over", "forged marks", "Replika gone", "consent withdrawn",
	} {
		if seen[state] == 0 {
			t.Errorf("no simulation met the state %q", state)
		}
	}
	t.Log(seen)
}

const (
	simulations     = 400
	disruptionSteps = 25
	// calmRounds is more than any state takes: an object is handed over, updated and recreated, or deleted and created anew.
	maxRecoveryRounds = 8
	otherKeys         = "other.example/"
	// targetKeys begins the keys that only specs put on copies.
	targetKeys = "target.example/"
)

func simulate(t testingT, pick func(n int, what string) int, seen map[string]int) {
	t.Helper()
	w := newCluster(t, pick, seen)
	for range disruptionSteps {
		w.disrupt()
	}
	w.recovering = true
	w.recoverCluster()
	w.checkStable()
}

// failer is what [testing.T] and [rapid.T] have in common.
type testingT interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a cluster: what the API server holds.
type cluster struct {
	t       testingT
	pick    func(n int, what string) int
	seen    map[string]int
	cleaner *Cleaner

	snapshot
	history []snapshot
	counter int
	// tampered are the objects whose marks somebody changed: what was written into them is forgotten.
	tampered   map[types.UID]bool
	recovering bool
	log        []string
}

// snapshot is what a cache may hold.
type snapshot struct {
	namespaces map[string]Namespace
	objects    map[types.NamespacedName]*unstructured.Unstructured
	replikas   map[types.NamespacedName]*v1alpha1.Replika
}

func (s snapshot) clone() snapshot {
	cloned := snapshot{
		namespaces: maps.Clone(s.namespaces),
		objects:    map[types.NamespacedName]*unstructured.Unstructured{},
		replikas:   map[types.NamespacedName]*v1alpha1.Replika{},
	}
	for key, object := range s.objects {
		cloned.objects[key] = object.DeepCopy()
	}
	for key, replika := range s.replikas {
		cloned.replikas[key] = replika.DeepCopy()
	}
	return cloned
}

var (
	namespaceNames = []string{"a", "b", "c", "d", "e"}
	objectNames    = []string{"x", "y"}
	// Two Replikas share a name, and so the value of a label.
	replikaNames = []types.NamespacedName{
		{Namespace: "ops", Name: "r1"}, {Namespace: "dev", Name: "r1"}, {Namespace: "ops", Name: "r2"},
	}
)

func newCluster(t testingT, pick func(n int, what string) int, seen map[string]int) *cluster {
	w := &cluster{
		t: t, pick: pick, seen: seen, cleaner: NewCleaner(), tampered: map[types.UID]bool{},
		snapshot: snapshot{
			namespaces: map[string]Namespace{},
			objects:    map[types.NamespacedName]*unstructured.Unstructured{},
			replikas:   map[types.NamespacedName]*v1alpha1.Replika{},
		},
	}
	for _, name := range namespaceNames {
		w.namespaces[name] = Namespace{Name: name, Labels: map[string]string{"team": []string{"red", "blue"}[w.pick(2, "team")]}}
	}
	for _, namespace := range []string{"a", "b"} {
		w.put(w.randomObject(namespace, "x"))
	}
	for _, name := range replikaNames[:1+w.pick(len(replikaNames), "replikas")] {
		w.putReplika(name)
	}
	return w
}

func (w *cluster) nextNumber() int {
	w.counter++
	return w.counter
}

func (w *cluster) chance(oneIn int, what string) bool {
	return w.pick(oneIn, what) == oneIn-1
}

func (w *cluster) record(state string) {
	w.seen[state]++
	w.log = append(w.log, state)
}

func (w *cluster) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// put stores the object as the API server does, under a new resourceVersion.
func (w *cluster) put(object *unstructured.Unstructured) {
	if object.GetUID() == "" {
		object.SetUID(types.UID(fmt.Sprintf("uid-%d", w.nextNumber())))
	}
	object.SetResourceVersion(strconv.Itoa(w.nextNumber()))
	w.objects[objectKey(object)] = object
}

func objectKey(object *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// remove deletes the object as the API server does: a finalizer keeps it.
func (w *cluster) remove(key types.NamespacedName) {
	object := w.objects[key]
	if len(object.GetFinalizers()) == 0 {
		delete(w.objects, key)
		return
	}
	now := metav1.NewTime(time.Unix(int64(w.nextNumber()), 0))
	object.SetDeletionTimestamp(&now)
	w.put(object)
}

func (w *cluster) randomObject(namespace, name string) *unstructured.Unstructured {
	object := newObject(namespace, name, withField(fmt.Sprintf("mode %d", w.pick(3, "mode")), "data", "mode"))
	object.SetUID("")
	if w.chance(3, "source label") {
		withLabels(map[string]string{"source.example/tier": "gold"})(object)
	}
	if w.chance(4, "consent") {
		allowed := []string{"", "c,d", "*"}[w.pick(3, "allowed namespaces")]
		withAnnotations(map[string]string{v1alpha1.AnnotationAllowedNamespaces: allowed})(object)
	}
	if w.chance(4, "immutable") {
		withField(true, "immutable")(object)
	}
	return object
}

func (w *cluster) putReplika(name types.NamespacedName) {
	before := w.replikas[name]
	replika := newReplika(withName(name), withCreationTime(int64(w.nextNumber())))
	if before != nil {
		replika.ObjectMeta = before.ObjectMeta
	}
	w.randomSpec(&replika.Spec)
	w.replikas[name] = replika
}

func (w *cluster) randomSpec(spec *v1alpha1.ReplikaSpec) {
	spec.Source.Namespace = []string{"a", "b"}[w.pick(2, "source namespace")]
	spec.Source.Name = "x"
	spec.Target.Name = []string{"", "", "y"}[w.pick(3, "target name")]
	spec.Target.ConflictPolicy = []v1alpha1.ConflictPolicy{"", v1alpha1.ConflictPolicyAdopt}[w.pick(2, "conflict policy")]
	spec.Target.ImmutableFields = []v1alpha1.ImmutableFieldsPolicy{"", v1alpha1.ImmutableFieldsFail}[w.pick(2, "immutable fields")]
	spec.DeletionPolicy = []v1alpha1.DeletionPolicy{"", v1alpha1.DeletionPolicyRetain}[w.pick(2, "deletion policy")]
	spec.Synchronization.OnSourceDeletion = []v1alpha1.SourceDeletionPolicy{"", v1alpha1.SourceDeletionDelete}[w.pick(2, "source deletion")]
	spec.Target.Labels, spec.Target.Annotations = nil, nil
	if w.chance(3, "target labels") {
		spec.Target.Labels = map[string]string{targetKeys + "label": "1"}
	}
	if w.chance(3, "target annotations") {
		spec.Target.Annotations = map[string]string{targetKeys + "annotation": "1"}
	}
	spec.Target.Namespaces = [...]v1alpha1.TargetNamespaces{
		{MatchAll: true},
		{ReplicateIn: []string{"c", "d"}},
		{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"team": "red"}}},
		{MatchAll: true, ExcludeFrom: []string{"d"}},
		{ReplicateIn: []string{"*"}, ExcludeFrom: []string{"b*"}},
	}[w.pick(5, "targets")]
}

// unrest is one thing that happens.
func (w *cluster) disrupt() {
	w.history = append(w.history, w.clone())
	if len(w.replikas) > 0 && w.chance(2, "pass") {
		names := sortedKeys(w.replikas)
		w.reconcile(names[w.pick(len(names), "replika")])
		return
	}
	w.mutate()
}

// meddle is what anybody but the operator does.
func (w *cluster) mutate() {
	meddlers := []func(){
		w.mutateObject, w.mutateMarks, w.mutateReplika, w.mutateSource, w.mutateNamespace, w.createForeignObject, w.duplicateObject,
	}
	meddlers[w.pick(len(meddlers), "meddler")]()
}

// someObject picks an object; nil if there is none.
func (w *cluster) randomExistingObject() *unstructured.Unstructured {
	keys := sortedKeys(w.objects)
	if len(keys) == 0 {
		return nil
	}
	return w.objects[keys[w.pick(len(keys), "object")]].DeepCopy()
}

func (w *cluster) mutateObject() {
	object := w.randomExistingObject()
	if object == nil {
		return
	}
	switch w.pick(6, "how") {
	case 0:
		if object.Object["immutable"] != true {
			withField("drifted", "data", "mode")(object)
		}
		w.put(object)
	case 1, 2:
		if isSource(objectKey(object)) {
			// What is put on a source belongs on its copies.
			return
		}
		withLabels(map[string]string{otherKeys + "label": "kept"})(object)
		withAnnotations(map[string]string{otherKeys + "annotation": "kept"})(object)
		w.put(object)
	case 3:
		w.remove(objectKey(object))
	case 4:
		object.SetFinalizers([]string{"example.com/hold"})
		w.put(object)
	case 5:
		object.SetFinalizers(nil)
		if object.GetDeletionTimestamp() != nil {
			delete(w.objects, objectKey(object))
			return
		}
		w.put(object)
	}
}

func isSource(key types.NamespacedName) bool {
	return key.Name == "x" && (key.Namespace == "a" || key.Namespace == "b")
}

func (w *cluster) mutateMarks() {
	object := w.randomExistingObject()
	if object == nil {
		return
	}
	annotations := mergeMaps(object.GetAnnotations(), nil)
	switch w.pick(5, "how") {
	case 0:
		labels := object.GetLabels()
		delete(labels, v1alpha1.LabelCreatedBy)
		delete(labels, v1alpha1.LabelPartOf)
		object.SetLabels(labels)
	case 1:
		for _, key := range MarkKeys() {
			delete(annotations, key)
		}
		w.tampered[object.GetUID()] = true
	case 2:
		annotations[v1alpha1.AnnotationOwner] = "nonsense"
		w.tampered[object.GetUID()] = true
	case 3:
		annotations[v1alpha1.AnnotationMarksVersion] = "2"
	case 4:
		delete(annotations, v1alpha1.AnnotationOwner)
		w.tampered[object.GetUID()] = true
	}
	object.SetAnnotations(annotations)
	w.put(object)
}

func (w *cluster) mutateReplika() {
	name := replikaNames[w.pick(len(replikaNames), "replika")]
	replika := w.replikas[name]
	switch {
	case replika == nil || replika.DeletionTimestamp == nil && w.chance(2, "change of spec"):
		w.putReplika(name)
	case w.chance(3, "finalizer taken off"):
		delete(w.replikas, name)
	case replika.DeletionTimestamp == nil:
		withDeletion(replika)
	}
}

func (w *cluster) mutateSource() {
	namespace := []string{"a", "b"}[w.pick(2, "source namespace")]
	key := types.NamespacedName{Namespace: namespace, Name: "x"}
	switch object := w.objects[key]; {
	case object != nil && w.chance(2, "deletion"):
		w.remove(key)
	case object == nil && w.namespaceActive(namespace):
		w.put(w.randomObject(namespace, "x"))
	case object != nil:
		edited := w.randomObject(namespace, "x")
		edited.SetUID(object.GetUID())
		edited.SetAnnotations(mergeMaps(object.GetAnnotations(), edited.GetAnnotations()))
		edited.SetLabels(mergeMaps(object.GetLabels(), edited.GetLabels()))
		w.put(edited)
	}
}

func (w *cluster) namespaceActive(namespace string) bool {
	found, exists := w.namespaces[namespace]
	return exists && !found.Terminating
}

func (w *cluster) mutateNamespace() {
	name := namespaceNames[w.pick(len(namespaceNames), "namespace")]
	namespace, exists := w.namespaces[name]
	switch {
	case !exists:
		w.namespaces[name] = Namespace{Name: name, Labels: map[string]string{"team": "red"}}
	case namespace.Terminating:
		delete(w.namespaces, name)
		maps.DeleteFunc(w.objects, func(key types.NamespacedName, _ *unstructured.Unstructured) bool { return key.Namespace == name })
	case w.chance(3, "deletion"):
		namespace.Terminating = true
		w.namespaces[name] = namespace
	default:
		namespace.Labels = map[string]string{
			"team": []string{"red", "blue"}[w.pick(2, "team")], v1alpha1.LabelOptOut: []string{"", "true"}[w.pick(2, "opt-out")],
		}
		w.namespaces[name] = namespace
	}
}

// makeObstacle puts something where a copy may be wanted.
func (w *cluster) createForeignObject() {
	key := w.randomFreeKey()
	if key.Name == "" {
		return
	}
	object := w.randomObject(key.Namespace, key.Name)
	if w.chance(3, "controller") {
		withController(object)
	}
	if w.chance(2, "legacy") {
		// A copy by the 2022 release, perhaps with the content of one of the sources.
		if source := w.objects[types.NamespacedName{Namespace: "a", Name: "x"}]; source != nil && w.chance(2, "same content") {
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
	w.put(object)
}

// forge duplicates an object, labels, marks and all.
func (w *cluster) duplicateObject() {
	object, key := w.randomExistingObject(), w.randomFreeKey()
	if object == nil || key.Name == "" || isSource(key) {
		return
	}
	object.SetUID("")
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	object.SetFinalizers(nil)
	object.SetDeletionTimestamp(nil)
	w.put(object)
	w.tampered[object.GetUID()] = true
	if object.GetAnnotations()[v1alpha1.AnnotationMarksVersion] != "" {
		w.record("forged marks")
	}
}

func (w *cluster) randomFreeKey() types.NamespacedName {
	key := types.NamespacedName{
		Namespace: namespaceNames[w.pick(len(namespaceNames), "namespace")],
		Name:      objectNames[w.pick(len(objectNames), "name")],
	}
	if w.objects[key] != nil || !w.namespaceActive(key.Namespace) {
		return types.NamespacedName{}
	}
	return key
}

// pass does what the controller does for one Replika. It tells whether there was nothing to do.
func (w *cluster) reconcile(name types.NamespacedName) (quiet bool) {
	replika := w.replikas[name].DeepCopy()
	view := w.clone()
	if !w.recovering && replika.DeletionTimestamp == nil && w.chance(2, "stale view") {
		view = w.history[max(0, len(w.history)-1-w.pick(5, "age"))]
	}
	in, reason := w.input(replika, view)

	quiet = true
	clean := true
	for _, action := range Plan(in) {
		if !w.recovering && w.chance(20, "the pass is killed") {
			return false
		}
		settled, outcome := w.execute(in, view, action)
		switch settled.Type {
		case Keep, Wait, Conflict:
		default:
			// What the API server refuses for good changes nothing.
			quiet = quiet && outcome == Immutable
			clean = clean && outcome == Done
			if outcome == Immutable {
				w.record("immutable for good")
			}
		}
	}
	if replika.DeletionTimestamp != nil && clean && quiet {
		w.finalize(in)
		return false
	}
	if stored := w.replikas[name]; stored != nil {
		if !cmp.Equal(stored.Status.Source, replika.Status.Source) {
			quiet = false
		}
		stored.Status.Source = replika.Status.Source
		meta.SetStatusCondition(&stored.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Reason: reason})
		if reason != readyReason(replika) {
			quiet = false
		}
	}
	return quiet
}

func readyReason(replika *v1alpha1.Replika) string {
	if ready := meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// input is what a pass knows: the view, and the source as it is now.
func (w *cluster) input(replika *v1alpha1.Replika, view snapshot) (*Input, string) {
	name := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	source := w.objects[types.NamespacedName{Namespace: replika.SourceNamespace(), Name: replika.Spec.Source.Name}]
	if source != nil {
		replika.Status.Source = &v1alpha1.SourceStatus{AllowedNamespaces: AllowedNamespaces(source)}
	}
	selection, err := NewSelection(replika)
	if err != nil {
		w.fatalf("selection: %v", err)
	}
	in := &Input{
		Replika:         name,
		Kind:            configMapKind,
		Name:            replika.TargetName(),
		Selection:       selection,
		SourceNamespace: replika.SourceNamespace(),
		ConflictPolicy:  replika.Spec.Target.ConflictPolicy,
		ImmutableFields: replika.Spec.Target.ImmutableFields,
		DeletionPolicy:  replika.Spec.DeletionPolicy,
		Claimants:       newClaimants(slices.Collect(maps.Values(view.replikas))...),
	}
	for _, namespace := range slices.Sorted(maps.Keys(view.namespaces)) {
		in.Namespaces = append(in.Namespaces, view.namespaces[namespace])
	}
	reason := v1alpha1.ReasonSynced
	if source == nil {
		w.record("source gone")
		reason = v1alpha1.ReasonSourceNotFound
		if replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete {
			in.Selection = nil
		}
	} else if in.Template, err = w.cleaner.NewTemplate(replika, source.DeepCopy()); err != nil {
		w.record("source refused")
		in.Template, reason = nil, v1alpha1.ReasonSourceNotAllowed
	} else if allowed := AllowedNamespaces(source); allowed != nil && len(allowed) == 0 {
		w.record("consent withdrawn")
		in.Selection, in.Template, reason = nil, nil, v1alpha1.ReasonSourceNotAllowed
	}
	if replika.DeletionTimestamp != nil {
		in.Selection, in.Template = nil, nil
	}
	for _, key := range sortedKeys(view.objects) {
		observed := w.observe(view.objects[key])
		labelled := observed.Origin.Value().CreatedBy == v1alpha1.CreatedByValue
		wanted := in.Selection != nil && key.Name == in.Name && naiveSelects(replika, view.namespaces[key.Namespace])
		// A place that is wanted may be thought to be empty although it is not; the create then tells.
		if labelled || !wanted || w.chance(2, "known to be in the way") {
			in.Observed = append(in.Observed, observed)
		}
	}
	return in, reason
}

func (w *cluster) observe(object *unstructured.Unstructured) *Observed {
	if object == nil {
		return nil
	}
	observed, err := w.cleaner.Observe(object)
	if err != nil {
		w.fatalf("observe: %v", err)
	}
	return observed
}

// settle carries an action out, and what follows from its outcome.
func (w *cluster) execute(in *Input, view snapshot, action Action) (Action, Outcome) {
	for attempt := 1; ; attempt++ {
		if attempt > 2*maxReplans {
			w.fatalf("there is no end to %s %s/%s", action.Type, action.Namespace, action.Name)
		}
		w.record(string(action.Type))
		w.log[len(w.log)-1] += fmt.Sprintf(" %s/%s by %s", action.Namespace, action.Name, in.Replika)
		outcome, found := w.executeWithFaults(in, view, action)
		next, more := in.NextAction(action, view.namespaces[action.Namespace], outcome, found, attempt)
		if !more {
			return action, outcome
		}
		if !w.recovering && w.chance(10, "somebody is quick") {
			w.mutate()
		}
		action = next
	}
}

// try carries the action out, or dies before, meanwhile or afterwards.
func (w *cluster) executeWithFaults(in *Input, view snapshot, action Action) (Outcome, *Observed) {
	switch action.Type {
	case Keep, Wait, Conflict:
		return Unchanged, action.Observed
	default:
	}
	if !w.recovering && w.chance(12, "failure before") {
		w.record("failed before")
		return Unavailable, nil
	}
	outcome, found := w.request(in, view, action)
	switch outcome {
	case Stale:
		w.record("surprised")
	case Immutable:
		w.record("immutable")
	case NamespaceGone:
		w.record("namespace gone")
	default:
	}
	if !w.recovering && outcome == Done && w.chance(12, "failure after") {
		w.record("failed after")
		return Unavailable, nil
	}
	return outcome, found
}

// carryOut sends the action's requests, each with its guard.
func (w *cluster) request(in *Input, view snapshot, action Action) (Outcome, *Observed) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	live := w.objects[key]
	switch action.Type {
	case Create:
		return w.create(in, action)
	case Delete, Recreate:
		if live == nil && action.Type == Delete {
			return Done, nil
		}
		if live == nil || live.GetUID() != action.Observed.UID || live.GetResourceVersion() != action.Observed.ResourceVersion {
			return Stale, w.observe(live)
		}
		w.checkRemoval(in, view, action, live)
		w.remove(key)
		if action.Type == Delete {
			return Done, nil
		}
		if !w.recovering && w.chance(3, "death half way") {
			w.record("recreate died half way")
			return Unavailable, nil
		}
		return w.create(in, action)
	case Update, Release, HandOver:
		if live == nil || !w.guardMatches(action.Observed, live) {
			return Stale, w.observe(live)
		}
		w.checkChange(in, view, action, live)
		return w.patch(in, action, live)
	default:
		w.fatalf("unknown action %q", action.Type)
		return Unavailable, nil
	}
}

func (w *cluster) create(in *Input, action Action) (Outcome, *Observed) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	if live := w.objects[key]; live != nil {
		return Stale, w.observe(live)
	}
	if !w.namespaceActive(action.Namespace) {
		return NamespaceGone, nil
	}
	if action.Namespace == in.SourceNamespace {
		w.fatalf("%s created an object in its source's namespace", in.Replika)
	}
	rendered, err := action.Template.Render(action.Namespace)
	if err != nil {
		w.fatalf("render: %v", err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(rendered); err != nil {
		w.fatalf("decode: %v", err)
	}
	if objectKey(object) != key {
		w.fatalf("%s rendered %s as %s", in.Replika, key, objectKey(object))
	}
	w.put(object)
	return Done, w.observe(object)
}

// guarded is the test of a JSON Patch: UID and owner mark, or the resourceVersion when there is none.
func (w *cluster) guardMatches(observed *Observed, live *unstructured.Unstructured) bool {
	if live.GetUID() != observed.UID {
		return false
	}
	if owner, marked := observed.Owner(); marked {
		return live.GetAnnotations()[v1alpha1.AnnotationOwner] == owner.String()
	}
	return live.GetResourceVersion() == observed.ResourceVersion
}

// change patches the object as the action says.
func (w *cluster) patch(in *Input, action Action, live *unstructured.Unstructured) (Outcome, *Observed) {
	object := live.DeepCopy()
	labels, annotations := mergeMaps(object.GetLabels(), nil), mergeMaps(object.GetAnnotations(), nil)
	switch action.Type {
	case Update:
		rendered, err := action.Template.Render(action.Namespace)
		if err != nil {
			w.fatalf("render: %v", err)
		}
		wanted := &unstructured.Unstructured{}
		if err := wanted.UnmarshalJSON(rendered); err != nil {
			w.fatalf("decode: %v", err)
		}
		content := w.cleaner.Content(in.Kind, wanted.Object)
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
		stale := action.Observed.Applied().Without(action.Template.Applied())
		for _, key := range stale.Labels {
			w.record("drop a stale key")
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
		// The keys of the template stay, and are nobody's.
		w.tampered[live.GetUID()] = true
	case HandOver:
		labels[v1alpha1.LabelCreatedBy] = v1alpha1.CreatedByValue
		labels[v1alpha1.LabelPartOf] = v1alpha1.PartOf(action.NewOwner.Name)
		annotations[v1alpha1.AnnotationOwner] = action.NewOwner.String()
	default:
	}
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
	if before, after := foreignKeys(live), foreignKeys(object); !cmp.Equal(before, after) {
		w.fatalf("%s by %s changed what others put on %s: %s", action.Type, in.Replika, objectKey(live), cmp.Diff(before, after))
	}
	w.put(object)
	return Done, w.observe(object)
}

// othersKeys are the labels and annotations that neither template nor operator put there.
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

// checkRemoval holds before an object goes: it is this Replika's own, not adopted, outside the source's namespace, and
// nobody inherits it.
func (w *cluster) checkRemoval(in *Input, view snapshot, action Action, live *unstructured.Unstructured) {
	annotations := live.GetAnnotations()
	switch {
	case live.GetNamespace() == in.SourceNamespace:
		w.fatalf("%s %s in the source's namespace by %s", action.Type, objectKey(live), in.Replika)
	case annotations[v1alpha1.AnnotationMarksVersion] != v1alpha1.MarksVersion,
		annotations[v1alpha1.AnnotationSelf] != objectKey(live).String(),
		annotations[v1alpha1.AnnotationOwner] != in.Replika.String():
		w.fatalf("%s of %s by %s, which does not own it: %v", action.Type, objectKey(live), in.Replika, annotations)
	case annotations[v1alpha1.AnnotationAdopted] != "":
		w.fatalf("%s of %s, which was adopted, by %s", action.Type, objectKey(live), in.Replika)
	case action.Type == Recreate:
		return
	}
	for name, rival := range view.replikas {
		if name == in.Replika || rival.DeletionTimestamp != nil || rival.TargetName() != live.GetName() ||
			!naiveSelects(rival, view.namespaces[live.GetNamespace()]) {
			continue
		}
		if readyReason(rival) == v1alpha1.ReasonSourceNotAllowed || readyReason(rival) == v1alpha1.ReasonSourceNotFound &&
			rival.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete {
			w.record("heir passed over")
			continue
		}
		w.fatalf("%s deleted %s although %s claims it", in.Replika, objectKey(live), name)
	}
}

// checkChange holds before an object is changed: it is this Replika's, or one that it may take.
func (w *cluster) checkChange(in *Input, view snapshot, action Action, live *unstructured.Unstructured) {
	if live.GetNamespace() == in.SourceNamespace {
		w.fatalf("%s %s in the source's namespace by %s", action.Type, objectKey(live), in.Replika)
	}
	annotations := live.GetAnnotations()
	version, marked := annotations[v1alpha1.AnnotationMarksVersion]
	ownMarks := version == v1alpha1.MarksVersion && annotations[v1alpha1.AnnotationSelf] == objectKey(live).String()
	if ownMarks && annotations[v1alpha1.AnnotationOwner] == in.Replika.String() {
		w.recordChange(action, live)
		return
	}
	if version == "2" && !w.recovering {
		// The guard does not notice when a newer operator wrote its marks since the view, for the same owner.
		w.record("raced with a newer operator")
		return
	}
	owner, readable := parseName(annotations[v1alpha1.AnnotationOwner])
	switch {
	case action.Type != Update:
		w.fatalf("%s of %s by %s, which does not own it: %v", action.Type, objectKey(live), in.Replika, annotations)
	case marked && version != v1alpha1.MarksVersion:
		w.fatalf("%s changed %s, whose marks are newer", in.Replika, objectKey(live))
	case ownMarks && readable && annotations[v1alpha1.AnnotationApplied] != "":
		rival := view.replikas[owner]
		if rival != nil && rival.DeletionTimestamp == nil && rival.TargetName() == live.GetName() &&
			naiveSelects(rival, view.namespaces[live.GetNamespace()]) {
			w.fatalf("%s took %s from %s, which claims it", in.Replika, objectKey(live), owner)
		}
		w.record("take over")
	case in.ConflictPolicy == v1alpha1.ConflictPolicyAdopt && action.Adopt:
		if metav1.GetControllerOf(live) != nil {
			w.fatalf("%s adopted %s, which has a controller", in.Replika, objectKey(live))
		}
		w.record("adopt")
	default:
		content := w.cleaner.Content(in.Kind, live.Object)
		wanted := map[string]any{"data": content["data"], "immutable": content["immutable"]}
		given := map[string]any{"data": nil, "immutable": nil}
		source := w.objects[types.NamespacedName{Namespace: in.SourceNamespace, Name: "x"}]
		if source != nil {
			given = map[string]any{"data": source.Object["data"], "immutable": source.Object["immutable"]}
		}
		legacy := live.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue &&
			live.GetLabels()[v1alpha1.LabelPartOf] == in.Replika.Name
		for _, key := range MarkKeys() {
			_, bears := annotations[key]
			legacy = legacy && !bears
		}
		if !legacy || w.recovering && !cmp.Equal(given, wanted) {
			w.fatalf("%s changed the foreign object %s: %v", in.Replika, objectKey(live), live.Object)
		}
		w.record("mark a legacy copy")
	}
}

// noteChange counts the changes of an own copy that are worth meeting.
func (w *cluster) recordChange(action Action, live *unstructured.Unstructured) {
	adopted := live.GetAnnotations()[v1alpha1.AnnotationAdopted] != ""
	switch {
	case action.Type == Release && adopted:
		w.record("release of an adopted object")
	case action.Type == HandOver && adopted:
		w.record("hand over of an adopted object")
	case action.Type == Update && live.GetLabels()[v1alpha1.LabelCreatedBy] == "":
		w.record("repair what lost its labels")
	}
}

// finalize lets a Replika go whose copies are all given up.
func (w *cluster) finalize(in *Input) {
	for key, object := range w.objects {
		if w.observe(object).OwnedBy(in.Replika) && !w.mayRemain(in, key) {
			w.fatalf("%s is gone and %s stays", in.Replika, key)
		}
	}
	delete(w.replikas, in.Replika)
	w.record("Replika gone")
}

// mayStay tells whether a copy may be where it is not wanted: nothing is done to it there.
func (w *cluster) mayRemain(in *Input, key types.NamespacedName) bool {
	return key.Namespace == in.SourceNamespace || !w.namespaceActive(key.Namespace) || w.objects[key].GetDeletionTimestamp() != nil
}

// settleDown plans and carries out, with fresh views and without failures, until nothing is left to do.
func (w *cluster) recoverCluster() {
	for round := 1; ; round++ {
		if round > maxRecoveryRounds {
			w.fatalf("no rest after %d rounds", maxRecoveryRounds)
		}
		w.log = append(w.log, fmt.Sprintf("--- calm round %d", round))
		quiet := true
		names := sortedKeys(w.replikas)
		for len(names) > 0 {
			next := w.pick(len(names), "whose turn it is")
			quiet = w.reconcile(names[next]) && quiet
			names = slices.Delete(names, next, next+1)
		}
		if quiet {
			return
		}
	}
}

// checkRest holds once nothing is left to do: it stays so, each wanted copy is as it should be or something stands in its
// way, and nothing owned is where it is not wanted.
func (w *cluster) checkStable() {
	before := w.clone()
	for _, name := range sortedKeys(w.replikas) {
		replika := w.replikas[name]
		in, _ := w.input(replika, w.clone())
		for _, action := range Plan(in) {
			settled, _ := w.execute(in, w.clone(), action)
			w.checkAction(in, settled)
		}
		for key, object := range w.objects {
			wanted := in.Selection != nil && key.Name == in.Name && naiveSelects(replika, w.namespaces[key.Namespace])
			if !wanted && w.observe(object).OwnedBy(name) && !w.mayRemain(in, key) {
				w.fatalf("%s owns %s, where it wants nothing", name, key)
			}
		}
		w.checkCoverage(in, replika)
	}
	if diff := cmp.Diff(before, w.snapshot, cmp.AllowUnexported(snapshot{}), cmpopts.EquateEmpty()); diff != "" {
		w.fatalf("at rest something moved: %s", diff)
	}
	for _, object := range w.objects {
		if owner, marked := w.observe(object).Owner(); marked && w.replikas[owner] == nil {
			w.record("orphan stays")
		}
	}
}

// checkAction holds for what is left in a plan at rest.
func (w *cluster) checkAction(in *Input, action Action) {
	key := types.NamespacedName{Namespace: action.Namespace, Name: action.Name}
	live := w.objects[key]
	observed := w.observe(live)
	switch action.Type {
	case Keep:
		if in.Template == nil {
			return
		}
		if live == nil || !observed.OwnedBy(in.Replika) || observed.Digests != in.Template.Digests {
			w.fatalf("%s keeps %s, which is not as the template wants it", in.Replika, key)
		}
		if w.tampered[live.GetUID()] || observed.Adopted {
			return
		}
		for name := range live.GetLabels() {
			if _, wanted := in.Template.Labels[name]; strings.HasPrefix(name, targetKeys) && !wanted {
				w.fatalf("%s: the label %s of an earlier spec is still there", key, name)
			}
		}
	case Wait:
		if live.GetDeletionTimestamp() == nil {
			w.fatalf("%s waits for %s, which is not being deleted", in.Replika, key)
		}
	case Conflict:
		w.checkConflict(in, action, live)
	case Update:
		// It was refused for an immutable field, and may not be recreated: by policy, or because it is not ours to delete.
		if in.ImmutableFields != v1alpha1.ImmutableFieldsFail && observed.OwnedBy(in.Replika) && !observed.Adopted {
			w.fatalf("%s neither updates nor recreates %s", in.Replika, key)
		}
	default:
		w.fatalf("%s is not at rest: %s %s", in.Replika, action.Type, key)
	}
}

// checkConflict holds for a conflict at rest: there is a reason for it.
func (w *cluster) checkConflict(in *Input, action Action, live *unstructured.Unstructured) {
	if action.Message == "" {
		w.fatalf("%s does not say why %s/%s is a conflict", in.Replika, action.Namespace, action.Name)
	}
	if !action.Desired {
		if action.Namespace != in.SourceNamespace {
			w.fatalf("%s will not give %s/%s up", in.Replika, action.Namespace, action.Name)
		}
		w.record("conflict: source's namespace")
		return
	}
	annotations := live.GetAnnotations()
	observed := w.observe(live)
	owner, marked := observed.Owner()
	switch {
	case annotations[v1alpha1.AnnotationMarksVersion] == "2":
		w.record("conflict: newer marks")
	case marked && owner != in.Replika:
		rival := w.replikas[owner]
		if rival == nil || rival.DeletionTimestamp != nil || rival.TargetName() != live.GetName() ||
			!naiveSelects(rival, w.namespaces[live.GetNamespace()]) {
			w.fatalf("%s leaves %s to %s, which does not claim it", in.Replika, objectKey(live), owner)
		}
		w.record("conflict: rival")
	case marked:
		w.fatalf("%s is in conflict with itself about %s", in.Replika, objectKey(live))
	case in.ConflictPolicy == v1alpha1.ConflictPolicyAdopt:
		if metav1.GetControllerOf(live) == nil {
			w.fatalf("%s does not adopt %s", in.Replika, objectKey(live))
		}
		w.record("conflict: controlled")
	default:
		w.record("conflict: foreign")
	}
}

// checkEveryWant holds at rest: a plan speaks of every namespace that the spec selects, and of each once.
func (w *cluster) checkCoverage(in *Input, replika *v1alpha1.Replika) {
	var want []string
	for name, namespace := range w.namespaces {
		if in.Selection != nil && naiveSelects(replika, namespace) {
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
		w.fatalf("%s plans for %v instead of %v", in.Replika, got, want)
	}
}
