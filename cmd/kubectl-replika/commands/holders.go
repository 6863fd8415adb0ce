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

package commands

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// addHolders adds the Replikas that have an object with the name of a copy, by its marks.
func (c *explainCommand) addHolders(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, consents []consent, explained *explanation,
) error {
	selected := explained.selected()
	if len(selected) == 0 {
		return nil
	}
	self := types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}
	sources := sourcesByCopy(replika, consents)
	cleaner := planner.NewCleaner()
	err := c.eachCopy(ctx, replika, mapping, func(object *metav1.PartialObjectMetadata) {
		source, named := sources[object.Name]
		if !named || len(selected[object.Namespace]) == 0 {
			return
		}
		observed, err := tracking.ObserveMetadata(cleaner, mapping.Resource.GroupResource(), object)
		if err != nil {
			return
		}
		owner, marked := observed.Owner()
		if !marked || owner == self {
			return
		}
		for _, answer := range selected[object.Namespace] {
			if len(answer.Sources) == 0 || slices.Contains(answer.Sources, source) {
				answer.addHolder(owner.String())
			}
		}
	})
	if err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("reading %s: %w", mapping.Resource.GroupResource(), err)
	}
	if err != nil {
		c.note("You may not read %s in the target namespaces: whether other Replikas have the objects is unknown.", mapping.Resource.GroupResource())
	}
	return nil
}

// eachCopy calls visit for the metadata of objects that can be in the place of copies.
func (c *explainCommand) eachCopy(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, visit func(*metav1.PartialObjectMetadata),
) error {
	if replika.HasManySources() {
		marked := labels.Set{v1alpha1.LabelCreatedBy: v1alpha1.CreatedByValue}
		return c.eachMetadata(ctx, mapping.Resource, metav1.ListOptions{LabelSelector: marked.String()}, visit)
	}
	if c.in == "" {
		byName := fields.OneTermEqualSelector("metadata.name", replika.TargetName())
		return c.eachMetadata(ctx, mapping.Resource, metav1.ListOptions{FieldSelector: byName.String()}, visit)
	}
	objects, err := c.metadata()
	if err != nil {
		return err
	}
	object, err := objects.Resource(mapping.Resource).Namespace(c.in).Get(ctx, replika.TargetName(), metav1.GetOptions{})
	if err == nil {
		visit(object)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sourcesByCopy returns the names of the sources by those of their copies.
func sourcesByCopy(replika *v1alpha1.Replika, consents []consent) map[string]string {
	if !replika.HasManySources() {
		return map[string]string{replika.TargetName(): replika.Spec.Source.Name}
	}
	sources := map[string]string{}
	for _, one := range consents {
		for _, source := range one.sources {
			sources[replika.TargetNameOf(source)] = source
		}
	}
	return sources
}

func (n *explainedNamespace) addHolder(owner string) {
	if !slices.Contains(n.HeldBy, owner) {
		n.HeldBy = append(n.HeldBy, owner)
	}
}
