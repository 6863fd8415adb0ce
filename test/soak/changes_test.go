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
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/test/kit"
	"github.com/prosimcorp/replika/test/operator"
)

// applyRandomChange makes one random change. Changes do not retry on conflicts: a change that fails is only not counted.
func (w *workload) applyRandomChange() {
	type change struct {
		weight int
		apply  func()
	}
	changes := []change{
		{20, w.editSource},
		{4, w.createOrDeleteSource},
		{6, w.editCopy},
		{4, w.deleteCopy},
		{3, w.removeOwnership},
		{2, w.blockCopyDeletion},
		{1, w.removeFinalizers},
		{6, w.createForeign},
		{4, w.deleteForeign},
		{4, w.createNamespace},
		{1, w.deleteNamespace},
		{4, w.relabelNamespace},
		{3, w.createReplika},
		{2, w.deleteReplika},
		{3, w.editReplika},
	}
	if w.oneIn(100) {
		changes = []change{{2, func() { w.installKind(pick(w, customKinds)) }}, {1, func() { w.removeKind(pick(w, customKinds)) }}}
	}
	if w.oneIn(400) {
		changes = []change{{1, w.restart}}
	}
	total := 0
	for _, change := range changes {
		total += change.weight
	}
	random := w.IntN(total)
	for _, change := range changes {
		if random -= change.weight; random < 0 {
			change.apply()
			return
		}
	}
}

// restart kills the operator and starts it again.
func (w *workload) restart() {
	w.must(w.operator.Kill())
	var err error
	w.operator, err = operator.Start(w.options)
	w.must(err)
	w.count("operator killed")
}

func (w *workload) editSource() {
	source, found := w.pickObject(isSource)
	if !found {
		return
	}
	if w.oneIn(4) { // a change that is not replicated
		source.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": w.contentValue()})
	} else {
		w.fillContent(source)
	}
	w.try("source edited", w.env.Admin.Update(w.Context(), source))
}

func (w *workload) createOrDeleteSource() {
	source := w.newObject(pick(w, weightedKinds), pick(w, sourceNamespaces), pick(w, names))
	if w.oneIn(3) {
		w.try("source deleted", w.env.Admin.Delete(w.Context(), source))
		return
	}
	w.try("source created", w.env.Admin.Create(w.Context(), source))
}

func (w *workload) editCopy() {
	if copied, found := w.pickObject(isCopy); found {
		w.fillContent(copied)
		w.try("copy edited", w.env.Admin.Update(w.Context(), copied))
	}
}

func (w *workload) deleteCopy() {
	if copied, found := w.pickObject(isCopy); found {
		delete(w.foreign, copied.GetUID()) // it may be adopted
		w.try("copy deleted", w.env.Admin.Delete(w.Context(), copied))
	}
}

// removeOwnership removes a copy's labels, its annotations, or both.
func (w *workload) removeOwnership() {
	copied, found := w.pickObject(isCopy)
	if !found {
		return
	}
	delete(w.foreign, copied.GetUID()) // without its annotations, an adopted object may be taken for a created copy
	what := w.IntN(3)
	if what != 0 {
		copied.SetLabels(nil)
	}
	if what != 1 {
		copied.SetAnnotations(nil)
	}
	removed := []string{"annotations", "labels", "labels and annotations"}[what]
	w.try("copy without "+removed, w.env.Admin.Update(w.Context(), copied))
}

// blockCopyDeletion adds a finalizer to a copy.
func (w *workload) blockCopyDeletion() {
	if copied, found := w.pickObject(isCopy); found {
		copied.SetFinalizers([]string{foreignFinalizer})
		w.try("finalizer added to a copy", w.env.Admin.Update(w.Context(), copied))
	}
}

// removeFinalizers removes the finalizers from all copies: otherwise, over time, they block everything.
func (w *workload) removeFinalizers() {
	for _, kind := range allKinds {
		for _, object := range w.listAll(w.Context(), kind) {
			if slices.Contains(object.GetFinalizers(), foreignFinalizer) {
				w.mustSend(func() error { return kit.SetFinalizers(w.Context(), w.env.Admin, &object) })
			}
		}
	}
	w.count("finalizers removed")
}

func (w *workload) createForeign() {
	object := w.newObject(pick(w, weightedKinds), w.targetName(), pick(w, append(slices.Clone(names), "other")))
	if w.try("foreign object created", w.env.Admin.Create(w.Context(), object)) {
		w.foreign[object.GetUID()] = fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
	}
}

func (w *workload) deleteForeign() {
	if object, found := w.pickObject(isForeign); found {
		delete(w.foreign, object.GetUID())
		w.try("foreign object deleted", w.env.Admin.Delete(w.Context(), object))
	}
}

func (w *workload) createNamespace() {
	namespace := kit.Namespace(w.targetName(), map[string]string{"team": w.teamName()})
	w.try("namespace created", w.env.Admin.Create(w.Context(), namespace))
}

func (w *workload) deleteNamespace() {
	namespace, found := w.pickNamespace()
	if !found || namespace.DeletionTimestamp != nil {
		return
	}
	clear(w.foreign) // some of them may be in the namespace
	w.try("namespace deleted", w.env.Admin.Delete(w.Context(), namespace))
}

func (w *workload) relabelNamespace() {
	if namespace, found := w.pickNamespace(); found {
		namespace.Labels["team"] = w.teamName()
		w.try("namespace relabelled", w.env.Admin.Update(w.Context(), namespace))
	}
}

func (w *workload) createReplika() {
	replika := &v1alpha1.Replika{ObjectMeta: metav1.ObjectMeta{
		Namespace: pick(w, append(slices.Clone(sourceNamespaces), corev1.NamespaceDefault)), Name: fmt.Sprint("replika-", w.IntN(maxReplikas)),
	}}
	kind := pick(w, weightedKinds)
	replika.Spec.Source = v1alpha1.SourceSpec{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: pick(w, names), Namespace: pick(w, sourceNamespaces),
	}
	w.fillSpec(replika)
	w.try("Replika created", w.env.Admin.Create(w.Context(), replika))
}

func (w *workload) deleteReplika() {
	if replika, found := w.pickReplika(); found {
		w.try("Replika deleted", w.env.Admin.Delete(w.Context(), replika))
	}
}

func (w *workload) editReplika() {
	if replika, found := w.pickReplika(); found {
		w.fillSpec(replika)
		w.try("Replika edited", w.env.Admin.Update(w.Context(), replika))
	}
}

// installKind creates the CRD of the kind.
func (w *workload) installKind(kind schema.GroupVersionKind) {
	plural, _ := crdNames(kind)
	crd := newCRD(kind)
	crd.Object["spec"] = map[string]any{
		"group": kind.Group, "scope": "Namespaced",
		"names": map[string]any{"kind": kind.Kind, "listKind": kind.Kind + "List", "plural": plural},
		"versions": []any{map[string]any{
			"name": kind.Version, "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		}},
	}
	w.try("kind installed", w.env.Admin.Create(w.Context(), crd))
}

// removeKind deletes the CRD of the kind.
func (w *workload) removeKind(kind schema.GroupVersionKind) {
	w.try("kind removed", w.env.Admin.Delete(w.Context(), newCRD(kind)))
	clear(w.foreign) // some of them may be of this kind
}

// newCRD builds the CRD of the kind, without its spec.
func newCRD(kind schema.GroupVersionKind) *unstructured.Unstructured {
	_, name := crdNames(kind)
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName(name)
	return crd
}

// crdNames returns the kind's plural and the name of its CRD.
func crdNames(kind schema.GroupVersionKind) (plural, name string) {
	plural = map[string]string{widget.Kind: "widgets", gadget.Kind: "gadgets"}[kind.Kind]
	return plural, plural + "." + kind.Group
}

// restorePreconditions ends all changes that keep the operator from converging.
func (w *workload) restorePreconditions() {
	w.removeFinalizers()
	for _, kind := range customKinds {
		w.installKind(kind)
	}
}
