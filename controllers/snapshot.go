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
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// snapshot serves what the operator reads from its cache: the Replikas and the namespaces. Nothing else is read through it, and nothing is
// written.
type snapshot struct {
	client.Client

	replikas   []v1alpha1.Replika
	namespaces toolscache.Store
}

// set replaces the snapshot: by the Replika, in the place of the one that has its name, and everything else that exists.
func (s *snapshot) set(replika *v1alpha1.Replika, cluster *Cluster) error {
	all := &Cluster{Replikas: slices.Clone(cluster.Replikas)}
	all.Add(replika)
	s.replikas = all.Replikas
	s.namespaces = toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	for i := range cluster.Namespaces {
		if err := s.namespaces.Add(&cluster.Namespaces[i]); err != nil {
			return fmt.Errorf("storing namespace %s: %w", cluster.Namespaces[i].Name, err)
		}
	}
	return nil
}

// Get implements client.Reader.
func (s *snapshot) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if replika, ok := object.(*v1alpha1.Replika); ok {
		for i := range s.replikas {
			if client.ObjectKeyFromObject(&s.replikas[i]) == key {
				s.replikas[i].DeepCopyInto(replika)
				return nil
			}
		}
	}
	return errors.NewNotFound(schema.GroupResource{}, key.String())
}

// List implements client.Reader.
func (s *snapshot) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	applied := client.ListOptions{}
	applied.ApplyOptions(options)
	replikas, ok := list.(*v1alpha1.ReplikaList)
	if !ok {
		return fmt.Errorf("a snapshot has no %T", list)
	}
	for i := range s.replikas {
		if hasTarget(&s.replikas[i], &applied) {
			replikas.Items = append(replikas.Items, s.replikas[i])
		}
	}
	return nil
}

// hasTarget reports whether the Replika has the key of [targetIndex] that is selected, if any.
func hasTarget(replika *v1alpha1.Replika, options *client.ListOptions) bool {
	if options.FieldSelector == nil {
		return true
	}
	key, _ := options.FieldSelector.RequiresExactMatch(targetIndex)
	return slices.Contains(targetKeys(replika), key)
}
