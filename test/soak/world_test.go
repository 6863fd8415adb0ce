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

package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/cluster"
	"github.com/prosimcorp/replika/test/operator"
)

// The cast. Sources live in the two homes; where else something is, chance
// decides.
var (
	configMap = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	secret    = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	widget    = schema.GroupVersionKind{Group: "soak.example.com", Version: "v1", Kind: "Widget"}
	gadget    = schema.GroupVersionKind{Group: "soak.example.com", Version: "v1", Kind: "Gadget"}

	// kinds are drawn from; most of what happens is about ConfigMaps.
	kinds = []schema.GroupVersionKind{configMap, configMap, configMap, secret, widget, gadget}
	// custom kinds come and go.
	custom = []schema.GroupVersionKind{widget, gadget}
	homes  = []string{"home-a", "home-b"}
	names  = []string{"alpha", "beta", "gamma"}
)

const (
	targets  = 10 // namespaces at most, beside the homes
	replikas = 14 // at most
	// finalizer is somebody else's.
	finalizer = "soak.example.com/hold"
)

// world is the cluster with all that is in it.
type world struct {
	*testing.T
	*rand.Rand
	cluster  *cluster.Cluster
	api      client.Client
	options  operator.Options
	operator *operator.Process
	happened map[string]int
	// strangers are foreign objects that nobody but the operator can have
	// deleted.
	strangers map[types.UID]string
}

func newWorld(t *testing.T, random *rand.Rand) *world {
	t.Helper()
	w := &world{T: t, Rand: random, cluster: startCluster(t), happened: map[string]int{}, strangers: map[types.UID]string{}}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.api, err = client.New(w.cluster.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	return w
}

// furnish makes what there is before the operator starts.
func (w *world) furnish() {
	for _, home := range homes {
		w.must(w.api.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}))
	}
	for _, kind := range custom {
		w.installKind(kind)
	}
	for range targets {
		w.createNamespace()
	}
	for _, home := range homes {
		for _, name := range names {
			w.must(w.api.Create(w.Context(), w.object(configMap, home, name)))
		}
	}
	for range replikas {
		w.createReplika()
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// tolerate stops the test for an error that no unrest explains: what is looked
// for may be gone, in the way or on its way out at any time.
func (w *world) tolerate(what string, err error) bool {
	w.Helper()
	switch {
	case err == nil:
		w.count("%s", what)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsForbidden(err),
		apierrors.IsMethodNotSupported(err), apierrors.IsInvalid(err):
	default:
		w.Fatalf("%s: %s", what, err)
	}
	return err == nil
}

func pick[T any](w *world, from []T) T { return from[w.IntN(len(from))] }

// chance is true once in so many times.
func (w *world) chance(in int) bool { return w.IntN(in) == 0 }

func (w *world) target() string { return fmt.Sprint("target-", w.IntN(targets)) }

// value is some content; few values make for many copies that look like what
// they are to become.
func (w *world) value() string { return fmt.Sprint("value-", w.IntN(4)) }

// object is one of the kind, to be created.
func (w *world) object(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	w.fill(object)
	return object
}

// fill gives the object other content, and other labels.
func (w *world) fill(object *unstructured.Unstructured) {
	content := map[string]any{"key": w.value()}
	switch object.GroupVersionKind() {
	case configMap:
		object.Object["data"] = content
	case secret:
		object.Object["stringData"] = content
	default:
		object.Object["spec"] = content
	}
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	delete(labels, "tier")
	if w.chance(2) {
		labels["tier"] = w.value()
	}
	object.SetLabels(labels)
}

// installKind has the API server serve the kind.
func (w *world) installKind(kind schema.GroupVersionKind) {
	plural, _ := plurals(kind)
	definition := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"group": kind.Group, "scope": "Namespaced",
			"names": map[string]any{"kind": kind.Kind, "listKind": kind.Kind + "List", "plural": plural},
			"versions": []any{map[string]any{
				"name": kind.Version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			}},
		},
	}}
	identify(definition, kind)
	w.tolerate("a kind is installed", w.api.Create(w.Context(), definition))
}

func (w *world) removeKind(kind schema.GroupVersionKind) {
	definition := &unstructured.Unstructured{}
	identify(definition, kind)
	w.tolerate("a kind is removed", w.api.Delete(w.Context(), definition))
	clear(w.strangers)
}

// identify makes the object the definition of the kind.
func identify(definition *unstructured.Unstructured, kind schema.GroupVersionKind) {
	_, name := plurals(kind)
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	definition.SetName(name)
}

// plurals are the kind's plural and the name of its definition.
func plurals(kind schema.GroupVersionKind) (plural, definition string) {
	plural = map[string]string{widget.Kind: "widgets", gadget.Kind: "gadgets"}[kind.Kind]
	return plural, plural + "." + kind.Group
}

func (w *world) createNamespace() {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.target(), Labels: map[string]string{"team": w.team()}}}
	w.tolerate("a namespace is created", w.api.Create(w.Context(), namespace))
}

func (w *world) team() string { return pick(w, []string{"red", "blue"}) }

func (w *world) createReplika() {
	replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{
		Namespace: pick(w, append(slices.Clone(homes), "default")), Name: fmt.Sprint("replika-", w.IntN(replikas)),
	}}
	kind := pick(w, kinds)
	replika.Spec.Source = v1alpha1.SourceSpec{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: pick(w, names), Namespace: pick(w, homes),
	}
	w.specify(replika)
	w.tolerate("a Replika is created", w.api.Create(w.Context(), replika))
}

// specify gives the Replika another spec, but for its source.
func (w *world) specify(replika *v1alpha1.Replika) {
	spec := &replika.Spec
	spec.Synchronization = v1alpha1.SynchronizationSpec{
		Time:             metav1.Duration{Duration: pick(w, []time.Duration{2 * time.Second, 10 * time.Second, time.Hour})},
		OnSourceDeletion: pick(w, []v1alpha1.SourceDeletionPolicy{v1alpha1.SourceDeletionRetain, v1alpha1.SourceDeletionDelete}),
	}
	spec.DeletionPolicy = pick(w, []v1alpha1.DeletionPolicy{
		v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain,
	})
	spec.Target.ConflictPolicy = pick(w, []v1alpha1.ConflictPolicy{
		v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyAdopt,
	})
	spec.Target.Name = pick(w, []string{"", "", "", "other"})
	spec.Target.Labels = pick(w, []map[string]string{nil, {"from": "spec"}})
	spec.Target.Namespaces = pick(w, []v1alpha1.TargetNamespaces{
		{ReplicateIn: []string{"target-1", "target-2", "target-3"}},
		{ReplicateIn: []string{"target-*"}, ExcludeFrom: []string{"target-4"}},
		{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"team": "red"}}},
		{MatchAll: true, ExcludeFrom: []string{"kube-*", "default", "home-*"}},
	})
	spec.Suspend = w.chance(10)
}

// happen has one thing happen.
func (w *world) happen() {
	type event struct {
		weight int
		happen func()
	}
	events := []event{
		{20, w.editSource},
		{4, w.toggleSource},
		{6, w.editCopy},
		{4, w.deleteCopy},
		{3, w.stripCopy},
		{2, w.holdCopy},
		{1, w.letGo},
		{6, w.createStranger},
		{4, w.deleteStranger},
		{4, w.createNamespace},
		{1, w.deleteNamespace},
		{4, w.relabelNamespace},
		{3, w.createReplika},
		{2, w.deleteReplika},
		{3, w.editReplika},
	}
	if w.chance(100) {
		events = []event{{2, func() { w.installKind(pick(w, custom)) }}, {1, func() { w.removeKind(pick(w, custom)) }}}
	}
	if w.chance(400) {
		events = []event{{1, w.restart}}
	}
	total := 0
	for _, event := range events {
		total += event.weight
	}
	drawn := w.IntN(total)
	for _, event := range events {
		if drawn -= event.weight; drawn < 0 {
			event.happen()
			return
		}
	}
}

// restart kills the operator, and starts it again.
func (w *world) restart() {
	w.must(w.operator.Kill())
	var err error
	w.operator, err = operator.Start(w.options)
	w.must(err)
	w.count("the operator is killed")
}

// all lists the objects of a kind, everywhere; none of one that is not served.
func (w *world) all(ctx context.Context, kind schema.GroupVersionKind) []unstructured.Unstructured {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := w.api.List(ctx, list)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return slices.DeleteFunc(list.Items, func(object unstructured.Unstructured) bool { return object.GetName() == "kube-root-ca.crt" })
}

// some is an object that matches, anywhere; false for none.
func (w *world) some(matches func(*unstructured.Unstructured) bool) (*unstructured.Unstructured, bool) {
	objects := slices.DeleteFunc(w.all(w.Context(), pick(w, kinds)), func(object unstructured.Unstructured) bool { return !matches(&object) })
	if len(objects) == 0 {
		return nil, false
	}
	return &objects[w.IntN(len(objects))], true
}

func isHome(object *unstructured.Unstructured) bool {
	return slices.Contains(homes, object.GetNamespace())
}

func isCopy(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationOwner] != ""
}

func isStranger(object *unstructured.Unstructured) bool { return !isHome(object) && !isCopy(object) }

func (w *world) editSource() {
	if source, found := w.some(isHome); found {
		if w.chance(4) { // what is copied stays the same
			source.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": w.value()})
		} else {
			w.fill(source)
		}
		w.tolerate("a source is edited", w.api.Update(w.Context(), source))
	}
}

// toggleSource deletes a source, or creates it.
func (w *world) toggleSource() {
	source := w.object(pick(w, kinds), pick(w, homes), pick(w, names))
	if w.chance(3) {
		w.tolerate("a source is deleted", w.api.Delete(w.Context(), source))
		return
	}
	w.tolerate("a source is created", w.api.Create(w.Context(), source))
}

func (w *world) editCopy() {
	if copy, found := w.some(isCopy); found {
		w.fill(copy)
		w.tolerate("a copy is edited", w.api.Update(w.Context(), copy))
	}
}

func (w *world) deleteCopy() {
	if copy, found := w.some(isCopy); found {
		delete(w.strangers, copy.GetUID())
		w.tolerate("a copy is deleted", w.api.Delete(w.Context(), copy))
	}
}

// stripCopy takes off a copy what makes it ours.
func (w *world) stripCopy() {
	copy, found := w.some(isCopy)
	if !found {
		return
	}
	delete(w.strangers, copy.GetUID()) // that it was adopted may be forgotten
	what := w.IntN(3)
	if what != 0 {
		copy.SetLabels(nil)
	}
	if what != 1 {
		copy.SetAnnotations(nil)
	}
	w.tolerate(fmt.Sprint("a copy is stripped ", what), w.api.Update(w.Context(), copy))
}

// holdCopy puts a finalizer on a copy.
func (w *world) holdCopy() {
	if copy, found := w.some(isCopy); found {
		copy.SetFinalizers([]string{finalizer})
		w.tolerate("a copy is held", w.api.Update(w.Context(), copy))
	}
}

// letGo takes the finalizers off again: without end, they would bring everything
// to a halt.
func (w *world) letGo() {
	for _, kind := range []schema.GroupVersionKind{configMap, secret, widget, gadget} {
		for _, object := range w.all(w.Context(), kind) {
			if slices.Contains(object.GetFinalizers(), finalizer) {
				err := w.api.Patch(w.Context(), &object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
				w.must(client.IgnoreNotFound(err))
			}
		}
	}
	w.count("copies are let go")
}

func (w *world) createStranger() {
	stranger := w.object(pick(w, kinds), w.target(), pick(w, append(slices.Clone(names), "other")))
	if w.tolerate("a stranger is created", w.api.Create(w.Context(), stranger)) {
		w.strangers[stranger.GetUID()] = fmt.Sprintf("%s %s/%s", stranger.GetKind(), stranger.GetNamespace(), stranger.GetName())
	}
}

func (w *world) deleteStranger() {
	if stranger, found := w.some(isStranger); found {
		delete(w.strangers, stranger.GetUID())
		w.tolerate("a stranger is deleted", w.api.Delete(w.Context(), stranger))
	}
}

func (w *world) deleteNamespace() {
	namespace := &corev1.Namespace{}
	if err := w.api.Get(w.Context(), client.ObjectKey{Name: w.target()}, namespace); err != nil || namespace.DeletionTimestamp != nil {
		return
	}
	clear(w.strangers) // some of them go with it
	w.tolerate("a namespace is deleted", w.api.Delete(w.Context(), namespace))
}

func (w *world) relabelNamespace() {
	namespace := &corev1.Namespace{}
	if err := w.api.Get(w.Context(), client.ObjectKey{Name: w.target()}, namespace); err == nil {
		namespace.Labels["team"] = w.team()
		w.tolerate("a namespace is relabelled", w.api.Update(w.Context(), namespace))
	}
}

// replika is one that is there; false for none.
func (w *world) replika() (*v1alpha1.Replika, bool) {
	list := &v1alpha1.ReplikaList{}
	w.must(w.api.List(w.Context(), list))
	if len(list.Items) == 0 {
		return nil, false
	}
	return &list.Items[w.IntN(len(list.Items))], true
}

func (w *world) deleteReplika() {
	if replika, found := w.replika(); found {
		w.tolerate("a Replika is deleted", w.api.Delete(w.Context(), replika))
	}
}

func (w *world) editReplika() {
	if replika, found := w.replika(); found {
		w.specify(replika)
		w.tolerate("a Replika is edited", w.api.Update(w.Context(), replika))
	}
}

// settle ends what keeps anything from being put right.
func (w *world) settle() {
	w.letGo()
	for _, kind := range custom {
		w.installKind(kind)
	}
}
