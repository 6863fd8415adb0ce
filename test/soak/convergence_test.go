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
	"maps"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
	"github.com/prosimcorp/replika/test/kit"
)

// snapshot is the state of all objects, as the API server returns it. It does not use anything of the running operator.
type snapshot struct {
	cleaner    *planner.Cleaner
	namespaces []planner.Namespace
	replikas   []v1alpha1.Replika
	objects    map[schema.GroupKind][]unstructured.Unstructured
	observed   map[schema.GroupKind][]*planner.Observed
	claimants  planner.Claimants
}

func (w *workload) snapshot(ctx context.Context) *snapshot {
	s := &snapshot{
		cleaner:  planner.NewCleaner(),
		objects:  map[schema.GroupKind][]unstructured.Unstructured{},
		observed: map[schema.GroupKind][]*planner.Observed{},
	}
	namespaces := &corev1.NamespaceList{}
	w.mustSend(func() error { return w.env.Admin.List(ctx, namespaces) })
	for i := range namespaces.Items {
		namespace := &namespaces.Items[i]
		s.namespaces = append(s.namespaces, planner.Namespace{
			Name: namespace.Name, Labels: namespace.Labels, Terminating: namespace.DeletionTimestamp != nil,
		})
	}
	list := &v1alpha1.ReplikaList{}
	w.mustSend(func() error { return w.env.Admin.List(ctx, list) })
	s.replikas = list.Items
	var claimants []planner.Claimant
	for i := range s.replikas {
		if claimant, claims := planner.NewClaimant(&s.replikas[i], planner.NewSelection); claims {
			claimants = append(claimants, claimant)
		}
	}
	s.claimants = planner.SortClaimants(claimants)
	for _, kind := range allKinds {
		s.objects[kind.GroupKind()] = w.listAll(ctx, kind)
		for i := range s.objects[kind.GroupKind()] {
			observed, err := s.cleaner.Observe(resourceOf(kind), &s.objects[kind.GroupKind()][i])
			w.must(err)
			s.observed[kind.GroupKind()] = append(s.observed[kind.GroupKind()], observed)
		}
	}
	return s
}

// get returns an object; nil for none.
func (s *snapshot) get(kind schema.GroupKind, key types.NamespacedName) *unstructured.Unstructured {
	for i := range s.objects[kind] {
		if object := &s.objects[kind][i]; object.GetNamespace() == key.Namespace && object.GetName() == key.Name {
			return object
		}
	}
	return nil
}

// mismatches lists the differences between the cluster and the plans.
func (w *workload) mismatches(ctx context.Context) []string {
	s := w.snapshot(ctx)
	var wrong []string
	for _, namespace := range s.namespaces {
		if namespace.Terminating {
			wrong = append(wrong, "namespace "+namespace.Name+" is still being deleted")
		}
	}
	for i := range s.replikas {
		replika := &s.replikas[i]
		name := replika.Namespace + "/" + replika.Name
		if replika.DeletionTimestamp != nil {
			wrong = append(wrong, name+" is still being deleted")
			continue
		}
		if replika.Spec.Suspend {
			continue
		}
		for _, found := range s.check(replika) {
			wrong = append(wrong, fmt.Sprintf("%s: %s", name, found))
		}
	}
	return append(append(wrong, s.orphans()...), w.missingForeign(s)...)
}

// check lists the mismatches of one Replika's copies and status.
func (s *snapshot) check(replika *v1alpha1.Replika) []string {
	input, source, err := s.input(replika)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	wanted, failing := 0, 0
	for _, action := range planner.Plan(input) {
		what := fmt.Sprintf("%s %s/%s: %s", input.Kind.Kind, action.Namespace, action.Name, action.Type)
		if !action.Desired && !tracking.IsWatched(action.Observed) {
			continue // without the label, a copy is found only where one is desired
		}
		switch action.Type {
		case planner.Keep:
			wanted++
			if found := s.get(input.Kind, action.Key()); action.Template != nil {
				for _, difference := range differences(replika, source, found) {
					wrong = append(wrong, what+", but "+difference)
				}
			}
		case planner.Conflict:
			failing++
		default:
			wrong = append(wrong, what+" "+action.Message)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	missing := input.Selection != nil && len(input.Selection.MissingNames(s.namespaces)) > 0
	return s.checkStatus(replika, wanted, input.Template != nil && failing == 0 && !missing)
}

// input returns the input of a plan for the Replika, and its source; nil for none.
func (s *snapshot) input(replika *v1alpha1.Replika) (*planner.Input, *unstructured.Unstructured, error) {
	selection, err := planner.NewSelection(replika)
	if err != nil {
		return nil, nil, err
	}
	kind := schema.GroupKind{Group: replika.Spec.Source.Group, Kind: replika.Spec.Source.Kind}
	input := &planner.Input{
		Replika:         types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name},
		Kind:            kind,
		Name:            replika.TargetName(),
		Selection:       selection,
		SourceNamespace: replika.SourceNamespace(),
		SourceName:      replika.Spec.Source.Name,
		ConflictPolicy:  replika.Spec.Target.ConflictPolicy,
		ImmutableFields: replika.Spec.Target.ImmutableFields,
		DeletionPolicy:  replika.Spec.DeletionPolicy,
		Namespaces:      s.namespaces,
		Observed:        s.observed[kind],
		Claimants:       s.claimants,
		Now:             time.Now(),
		Synchronization: replika.Spec.Synchronization.Time.Duration,
	}
	source := s.get(kind, types.NamespacedName{Namespace: replika.SourceNamespace(), Name: replika.Spec.Source.Name})
	if source == nil {
		if replika.Spec.Synchronization.OnSourceDeletion == v1alpha1.SourceDeletionDelete {
			input.Selection = nil
		}
		return input, nil, nil
	}
	// A source that must not be copied has no template; its copies stay.
	input.Template, _ = s.cleaner.NewTemplate(resourceOf(source.GroupVersionKind()), replika, source)
	return input, source, nil
}

// checkStatus lists the mismatches of the status.
func (s *snapshot) checkStatus(replika *v1alpha1.Replika, wanted int, ready bool) []string {
	var wrong []string
	status := &replika.Status
	if status.ObservedGeneration != replika.Generation {
		wrong = append(wrong, fmt.Sprintf("the status is of generation %d, not %d", status.ObservedGeneration, replika.Generation))
	}
	if meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) != ready {
		wrong = append(wrong, fmt.Sprintf("Ready should be %t: %+v %+v", ready, status.Conditions, status.Failures))
	}
	if ready && (status.Copies == nil || int(status.Copies.Synced) != wanted) {
		wrong = append(wrong, fmt.Sprintf("%d copies exist, the status reports %+v", wanted, status.Copies))
	}
	return wrong
}

// differences compares a copy with its source field by field, without digests.
func differences(replika *v1alpha1.Replika, source, found *unstructured.Unstructured) []string {
	if found == nil {
		return []string{"it does not exist"}
	}
	var wrong []string
	if got, want := kit.Content(found), kit.Content(source); !reflect.DeepEqual(got, want) {
		wrong = append(wrong, fmt.Sprintf("its content is %v, not %v", got, want))
	}
	labels := map[string]string{
		v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue, v1alpha1.LabelPartOf: v1alpha1.PartOf(replika.Name),
	}
	maps.Copy(labels, source.GetLabels())
	maps.Copy(labels, replika.Spec.Target.Labels)
	for key, value := range labels {
		if found.GetLabels()[key] != value {
			wrong = append(wrong, fmt.Sprintf("its labels are %v, not %v", found.GetLabels(), labels))
			break
		}
	}
	owner := replika.Namespace + "/" + replika.Name
	if found.GetAnnotations()[v1alpha1.AnnotationOwner] != owner {
		wrong = append(wrong, fmt.Sprintf("its owner is %s", found.GetAnnotations()[v1alpha1.AnnotationOwner]))
	}
	return wrong
}

// orphans lists copies, with label and marks, whose Replika does not exist.
func (s *snapshot) orphans() []string {
	owners := map[string]bool{}
	for i := range s.replikas {
		owners[s.replikas[i].Namespace+"/"+s.replikas[i].Name] = true
	}
	var orphans []string
	for kind, objects := range s.objects {
		for i := range objects {
			object := &objects[i]
			owner := object.GetAnnotations()[v1alpha1.AnnotationOwner]
			labelled := object.GetLabels()[v1alpha1.LabelCreatedBy] == v1alpha1.CreatedByValue
			if owner != "" && labelled && !owners[owner] {
				orphans = append(orphans, fmt.Sprintf("%s %s/%s is a copy of %s, which does not exist", kind.Kind, object.GetNamespace(), object.GetName(), owner))
			}
		}
	}
	slices.Sort(orphans)
	return orphans
}

// missingForeign lists foreign objects that only the operator can have deleted.
func (w *workload) missingForeign(s *snapshot) []string {
	existing := map[types.UID]bool{}
	for _, objects := range s.objects {
		for i := range objects {
			existing[objects[i].GetUID()] = true
		}
	}
	var missing []string
	for uid, name := range w.foreign {
		if !existing[uid] {
			missing = append(missing, name+" was foreign, and is deleted")
		}
	}
	slices.Sort(missing)
	return missing
}

func resourceOf(kind schema.GroupVersionKind) schema.GroupResource {
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	return resource.GroupResource()
}
