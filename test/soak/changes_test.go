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
	sourceNamespaces  = []string{"home-a", "home-b"}
	names  = []string{"alpha", "beta", "gamma"}
)

const (
	maxTargets  = 10 // namespaces at most, beside the homes
	maxReplikas = 14 // at most
	// finalizer is somebody else's.
	finalizer = "soak.example.com/hold"
)

// world is the cluster with all that is in it.
type environment struct {
	*testing.T
	*rand.Rand
	cluster  *cluster.Cluster
	admin      client.Client
	options  operator.Options
	operator *operator.Process
	counts map[string]int
	// strangers are foreign objects that nobody but the operator can have
	// deleted.
	foreign map[types.UID]string
}

func newEnvironment(t *testing.T, random *rand.Rand) *environment {
	t.Helper()
	e := &environment{T: t, Rand: random, cluster: startCluster(t), counts: map[string]int{}, foreign: map[types.UID]string{}}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if e.admin, err = client.New(e.cluster.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	return e
}

// furnish makes what there is before the operator starts.
func (e *environment) createInitialObjects() {
	for _, home := range sourceNamespaces {
		e.must(e.admin.Create(e.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}))
	}
	for _, kind := range custom {
		e.installKind(kind)
	}
	for range maxTargets {
		e.createNamespace()
	}
	for _, home := range sourceNamespaces {
		for _, name := range names {
			e.must(e.admin.Create(e.Context(), e.newObject(configMap, home, name)))
		}
	}
	for range maxReplikas {
		e.createReplika()
	}
}

func (e *environment) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// tolerate stops the test for an error that no unrest explains: what is looked
// for may be gone, in the way or on its way out at any time.
func (e *environment) ignoreExpected(what string, err error) bool {
	e.Helper()
	switch {
	case err == nil:
		e.count("%s", what)
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsForbidden(err),
		apierrors.IsMethodNotSupported(err), apierrors.IsInvalid(err):
	default:
		e.Fatalf("%s: %s", what, err)
	}
	return err == nil
}

func pick[T any](e *environment, from []T) T { return from[e.IntN(len(from))] }

// chance is true once in so many times.
func (e *environment) oneIn(in int) bool { return e.IntN(in) == 0 }

func (e *environment) targetName() string { return fmt.Sprint("target-", e.IntN(maxTargets)) }

// value is some content; few values make for many copies that look like what
// they are to become.
func (e *environment) contentValue() string { return fmt.Sprint("value-", e.IntN(4)) }

// object is one of the kind, to be created.
func (e *environment) newObject(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	e.fillContent(object)
	return object
}

// fill gives the object other content, and other labels.
func (e *environment) fillContent(object *unstructured.Unstructured) {
	content := map[string]any{"key": e.contentValue()}
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
	if e.oneIn(2) {
		labels["tier"] = e.contentValue()
	}
	object.SetLabels(labels)
}

// installKind has the API server serve the kind.
func (e *environment) installKind(kind schema.GroupVersionKind) {
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
	setDefinition(definition, kind)
	e.ignoreExpected("a kind is installed", e.admin.Create(e.Context(), definition))
}

func (e *environment) removeKind(kind schema.GroupVersionKind) {
	definition := &unstructured.Unstructured{}
	setDefinition(definition, kind)
	e.ignoreExpected("a kind is removed", e.admin.Delete(e.Context(), definition))
	clear(e.foreign)
}

// identify makes the object the definition of the kind.
func setDefinition(definition *unstructured.Unstructured, kind schema.GroupVersionKind) {
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

func (e *environment) createNamespace() {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.targetName(), Labels: map[string]string{"team": e.teamName()}}}
	e.ignoreExpected("a namespace is created", e.admin.Create(e.Context(), namespace))
}

func (e *environment) teamName() string { return pick(e, []string{"red", "blue"}) }

func (e *environment) createReplika() {
	replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{
		Namespace: pick(e, append(slices.Clone(sourceNamespaces), "default")), Name: fmt.Sprint("replika-", e.IntN(maxReplikas)),
	}}
	kind := pick(e, kinds)
	replika.Spec.Source = v1alpha1.SourceSpec{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: pick(e, names), Namespace: pick(e, sourceNamespaces),
	}
	e.fillSpec(replika)
	e.ignoreExpected("a Replika is created", e.admin.Create(e.Context(), replika))
}

// specify gives the Replika another spec, but for its source.
func (e *environment) fillSpec(replika *v1alpha1.Replika) {
	spec := &replika.Spec
	spec.Synchronization = v1alpha1.SynchronizationSpec{
		Time:             metav1.Duration{Duration: pick(e, []time.Duration{2 * time.Second, 10 * time.Second, time.Hour})},
		OnSourceDeletion: pick(e, []v1alpha1.SourceDeletionPolicy{v1alpha1.SourceDeletionRetain, v1alpha1.SourceDeletionDelete}),
	}
	spec.DeletionPolicy = pick(e, []v1alpha1.DeletionPolicy{
		v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyDelete, v1alpha1.DeletionPolicyRetain,
	})
	spec.Target.ConflictPolicy = pick(e, []v1alpha1.ConflictPolicy{
		v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyFail, v1alpha1.ConflictPolicyAdopt,
	})
	spec.Target.Name = pick(e, []string{"", "", "", "other"})
	spec.Target.Labels = pick(e, []map[string]string{nil, {"from": "spec"}})
	spec.Target.Namespaces = pick(e, []v1alpha1.TargetNamespaces{
		{ReplicateIn: []string{"target-1", "target-2", "target-3"}},
		{ReplicateIn: []string{"target-*"}, ExcludeFrom: []string{"target-4"}},
		{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]string{"team": "red"}}},
		{MatchAll: true, ExcludeFrom: []string{"kube-*", "default", "home-*"}},
	})
	spec.Suspend = e.oneIn(10)
}

// happen has one thing happen.
func (e *environment) applyRandomChange() {
	type event struct {
		weight int
		happen func()
	}
	events := []event{
		{20, e.editSource},
		{4, e.toggleSource},
		{6, e.editCopy},
		{4, e.deleteCopy},
		{3, e.removeOwnership},
		{2, e.blockCopyDeletion},
		{1, e.removeFinalizers},
		{6, e.createForeign},
		{4, e.deleteForeign},
		{4, e.createNamespace},
		{1, e.deleteNamespace},
		{4, e.relabelNamespace},
		{3, e.createReplika},
		{2, e.deleteReplika},
		{3, e.editReplika},
	}
	if e.oneIn(100) {
		events = []event{{2, func() { e.installKind(pick(e, custom)) }}, {1, func() { e.removeKind(pick(e, custom)) }}}
	}
	if e.oneIn(400) {
		events = []event{{1, e.restart}}
	}
	total := 0
	for _, event := range events {
		total += event.weight
	}
	drawn := e.IntN(total)
	for _, event := range events {
		if drawn -= event.weight; drawn < 0 {
			event.happen()
			return
		}
	}
}

// restart kills the operator, and starts it again.
func (e *environment) restart() {
	e.must(e.operator.Kill())
	var err error
	e.operator, err = operator.Start(e.options)
	e.must(err)
	e.count("the operator is killed")
}

// all lists the objects of a kind, everywhere; none of one that is not served.
func (e *environment) listAll(ctx context.Context, kind schema.GroupVersionKind) []unstructured.Unstructured {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := e.admin.List(ctx, list)
	if apierrors.IsNotFound(err) {
		return nil
	}
	e.must(err)
	return slices.DeleteFunc(list.Items, func(object unstructured.Unstructured) bool { return object.GetName() == "kube-root-ca.crt" })
}

// some is an object that matches, anywhere; false for none.
func (e *environment) pickObject(matches func(*unstructured.Unstructured) bool) (*unstructured.Unstructured, bool) {
	objects := slices.DeleteFunc(e.listAll(e.Context(), pick(e, kinds)), func(object unstructured.Unstructured) bool { return !matches(&object) })
	if len(objects) == 0 {
		return nil, false
	}
	return &objects[e.IntN(len(objects))], true
}

func isSource(object *unstructured.Unstructured) bool {
	return slices.Contains(sourceNamespaces, object.GetNamespace())
}

func isCopy(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[v1alpha1.AnnotationOwner] != ""
}

func isForeign(object *unstructured.Unstructured) bool { return !isSource(object) && !isCopy(object) }

func (e *environment) editSource() {
	if source, found := e.pickObject(isSource); found {
		if e.oneIn(4) { // what is copied stays the same
			source.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": e.contentValue()})
		} else {
			e.fillContent(source)
		}
		e.ignoreExpected("a source is edited", e.admin.Update(e.Context(), source))
	}
}

// toggleSource deletes a source, or creates it.
func (e *environment) toggleSource() {
	source := e.newObject(pick(e, kinds), pick(e, sourceNamespaces), pick(e, names))
	if e.oneIn(3) {
		e.ignoreExpected("a source is deleted", e.admin.Delete(e.Context(), source))
		return
	}
	e.ignoreExpected("a source is created", e.admin.Create(e.Context(), source))
}

func (e *environment) editCopy() {
	if copy, found := e.pickObject(isCopy); found {
		e.fillContent(copy)
		e.ignoreExpected("a copy is edited", e.admin.Update(e.Context(), copy))
	}
}

func (e *environment) deleteCopy() {
	if copy, found := e.pickObject(isCopy); found {
		delete(e.foreign, copy.GetUID())
		e.ignoreExpected("a copy is deleted", e.admin.Delete(e.Context(), copy))
	}
}

// stripCopy takes off a copy what makes it ours.
func (e *environment) removeOwnership() {
	copy, found := e.pickObject(isCopy)
	if !found {
		return
	}
	delete(e.foreign, copy.GetUID()) // that it was adopted may be forgotten
	what := e.IntN(3)
	if what != 0 {
		copy.SetLabels(nil)
	}
	if what != 1 {
		copy.SetAnnotations(nil)
	}
	e.ignoreExpected(fmt.Sprint("a copy is stripped ", what), e.admin.Update(e.Context(), copy))
}

// holdCopy puts a finalizer on a copy.
func (e *environment) blockCopyDeletion() {
	if copy, found := e.pickObject(isCopy); found {
		copy.SetFinalizers([]string{finalizer})
		e.ignoreExpected("a copy is held", e.admin.Update(e.Context(), copy))
	}
}

// letGo takes the finalizers off again: without end, they would bring everything
// to a halt.
func (e *environment) removeFinalizers() {
	for _, kind := range []schema.GroupVersionKind{configMap, secret, widget, gadget} {
		for _, object := range e.listAll(e.Context(), kind) {
			if slices.Contains(object.GetFinalizers(), finalizer) {
				err := e.admin.Patch(e.Context(), &object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
				e.must(client.IgnoreNotFound(err))
			}
		}
	}
	e.count("copies are let go")
}

func (e *environment) createForeign() {
	stranger := e.newObject(pick(e, kinds), e.targetName(), pick(e, append(slices.Clone(names), "other")))
	if e.ignoreExpected("a stranger is created", e.admin.Create(e.Context(), stranger)) {
		e.foreign[stranger.GetUID()] = fmt.Sprintf("%s %s/%s", stranger.GetKind(), stranger.GetNamespace(), stranger.GetName())
	}
}

func (e *environment) deleteForeign() {
	if stranger, found := e.pickObject(isForeign); found {
		delete(e.foreign, stranger.GetUID())
		e.ignoreExpected("a stranger is deleted", e.admin.Delete(e.Context(), stranger))
	}
}

func (e *environment) deleteNamespace() {
	namespace := &corev1.Namespace{}
	if err := e.admin.Get(e.Context(), client.ObjectKey{Name: e.targetName()}, namespace); err != nil || namespace.DeletionTimestamp != nil {
		return
	}
	clear(e.foreign) // some of them go with it
	e.ignoreExpected("a namespace is deleted", e.admin.Delete(e.Context(), namespace))
}

func (e *environment) relabelNamespace() {
	namespace := &corev1.Namespace{}
	if err := e.admin.Get(e.Context(), client.ObjectKey{Name: e.targetName()}, namespace); err == nil {
		namespace.Labels["team"] = e.teamName()
		e.ignoreExpected("a namespace is relabelled", e.admin.Update(e.Context(), namespace))
	}
}

// replika is one that is there; false for none.
func (e *environment) pickReplika() (*v1alpha1.Replika, bool) {
	list := &v1alpha1.ReplikaList{}
	e.must(e.admin.List(e.Context(), list))
	if len(list.Items) == 0 {
		return nil, false
	}
	return &list.Items[e.IntN(len(list.Items))], true
}

func (e *environment) deleteReplika() {
	if replika, found := e.pickReplika(); found {
		e.ignoreExpected("a Replika is deleted", e.admin.Delete(e.Context(), replika))
	}
}

func (e *environment) editReplika() {
	if replika, found := e.pickReplika(); found {
		e.fillSpec(replika)
		e.ignoreExpected("a Replika is edited", e.admin.Update(e.Context(), replika))
	}
}

// settle ends what keeps anything from being put right.
func (e *environment) restorePreconditions() {
	e.removeFinalizers()
	for _, kind := range custom {
		e.installKind(kind)
	}
}
