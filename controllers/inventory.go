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
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxInventory limits how many resources the inventory has. Users can write to the annotation whatever they like, and each
// resource costs requests. A Replika whose kind does not change without end has at most a few.
const maxInventory = 32

// inventory returns the resources in which the Replika may have copies: those in the status, which a PUT of the user's manifest
// does not replace, and those in the annotation, which is written before the first copy.
func inventory(replika *v1alpha1.Replika) []schema.GroupResource {
	return union(parseInventory(slices.Values(replika.Status.Inventory)), annotatedInventory(replika))
}

// annotatedInventory returns the resources that the annotation lists.
func annotatedInventory(replika *v1alpha1.Replika) []schema.GroupResource {
	return parseInventory(strings.SplitSeq(replika.Annotations[v1alpha1.AnnotationKinds], ","))
}

// parseInventory returns the first resources that have these names. Names that no resource can have are ignored.
func parseInventory(names iter.Seq[string]) []schema.GroupResource {
	var resources []schema.GroupResource
	for name := range names {
		if len(resources) == maxInventory {
			break
		}
		resource := schema.ParseGroupResource(name)
		if len(validation.IsDNS1123Subdomain(name)) == 0 && !slices.Contains(resources, resource) {
			resources = append(resources, resource)
		}
	}
	return resources
}

// union returns the resources of both lists, up to the limit.
func union(resources, more []schema.GroupResource) []schema.GroupResource {
	for _, resource := range more {
		if len(resources) < maxInventory && !slices.Contains(resources, resource) {
			resources = append(resources, resource)
		}
	}
	return resources
}

// resourceNames returns the names of the resources, as the inventory has them.
func resourceNames(resources []schema.GroupResource) []string {
	names := make([]string, len(resources))
	for i, resource := range resources {
		names[i] = resource.String()
	}
	return names
}

func setAnnotatedInventory(replika *v1alpha1.Replika, resources []schema.GroupResource) {
	if replika.Annotations == nil {
		replika.Annotations = map[string]string{}
	}
	replika.Annotations[v1alpha1.AnnotationKinds] = strings.Join(resourceNames(resources), ",")
}

// containsAll reports whether all has every resource of some.
func containsAll(all, some []schema.GroupResource) bool {
	return !slices.ContainsFunc(some, func(resource schema.GroupResource) bool { return !slices.Contains(all, resource) })
}

// addToInventory adds the finalizer, and the resource to the inventory, before the first copy is created. So an operator that
// starts later finds the copies, whatever the spec is by then.
func (r *ReplikaReconciler) addToInventory(ctx context.Context, s *scope, mapping tracking.Mapping) error {
	s.state.recordCurrent(mapping.Resource.GroupResource())
	return r.restoreInventory(ctx, s)
}

// restoreInventory puts the finalizer and the inventory back on a Replika that may have copies. Its users can take both off at
// any time, by a PUT of their manifest, even with another kind in the same request.
func (r *ReplikaReconciler) restoreInventory(ctx context.Context, s *scope) error {
	resources := s.state.currentInventory()
	if s.dryRun != nil || len(resources) == 0 || containsAll(annotatedInventory(s.replika), resources) && controllerutil.ContainsFinalizer(s.replika, v1alpha1.Finalizer) {
		return nil
	}
	return r.patchMetadata(ctx, s, func(replika *v1alpha1.Replika) {
		controllerutil.AddFinalizer(replika, v1alpha1.Finalizer)
		setAnnotatedInventory(replika, resources)
	})
}

// trimAnnotatedInventory removes the resources that trimInventory dropped from the annotation too. It follows the status: an
// operator that is killed in between then finds the trimmed inventory in the status, and has nothing to put back.
func (r *ReplikaReconciler) trimAnnotatedInventory(ctx context.Context, s *scope) error {
	resources := s.state.currentInventory()
	if containsAll(resources, annotatedInventory(s.replika)) {
		return nil
	}
	return r.patchMetadata(ctx, s, func(replika *v1alpha1.Replika) { setAnnotatedInventory(replika, resources) })
}

// pruneFormerKinds prunes the copies of kinds that the spec no longer names. It reports whether none are left.
func (r *ReplikaReconciler) pruneFormerKinds(ctx context.Context, s *scope, current tracking.Mapping) (pruned bool, err error) {
	pruned = true
	resolver := r.Mapper.NewResolver()
	for _, resource := range inventory(s.replika) {
		if resource == current.Resource.GroupResource() {
			continue
		}
		mapping, resolveErr := resolver.Resolve(ctx, resource)
		switch {
		case errors.Is(resolveErr, tracking.ErrKindNotFound):
			// The copies were deleted with their kind.
		case resolveErr != nil:
			pruned, err = false, firstError(err, r.copiesNotReady(mapping, resolveErr))
		case mapping.GroupKind() != sourceGVK(s.replika).GroupKind():
			kindPruned, pruneErr := r.pruneKind(ctx, s, mapping)
			pruned, err = pruned && kindPruned, firstError(err, pruneErr)
		}
	}
	return pruned, err
}

// pruneKind prunes all copies of the kind that are known by their labels. It reports whether none are left.
func (r *ReplikaReconciler) pruneKind(ctx context.Context, s *scope, mapping tracking.Mapping) (pruned bool, err error) {
	in, err := r.planInput(ctx, s, mapping)
	if err != nil {
		return false, r.copiesNotReady(mapping, err)
	}
	before := s.results.incomplete()
	r.executeAndRecord(ctx, s, mapping, newParts(in, planner.Plan))
	return s.results.incomplete() == before, nil
}
