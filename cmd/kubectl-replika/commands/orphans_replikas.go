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
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// existingReplikas are the Replikas of the cluster, as far as they could be read.
type existingReplikas struct {
	env *environment
	// byName has all Replikas, unless complete is false.
	byName   map[types.NamespacedName]*v1alpha1.Replika
	complete bool

	mu sync.Mutex
	// asked are the Replikas that were read one by one.
	asked map[types.NamespacedName]bool
	// namespaces are those that were read; nil for one that could not be read.
	namespaces map[string]*planner.Namespace
}

// readExistingReplikas reads all Replikas. If they cannot be listed, they are read one by one later.
func (e *environment) readExistingReplikas(ctx context.Context) (*existingReplikas, error) {
	replikas := &existingReplikas{
		env: e, byName: map[types.NamespacedName]*v1alpha1.Replika{}, complete: true,
		asked: map[types.NamespacedName]bool{}, namespaces: map[string]*planner.Namespace{},
	}
	err := e.forEachReplika(ctx, metav1.NamespaceAll, func(replika *v1alpha1.Replika) {
		reduced := &v1alpha1.Replika{Spec: replika.Spec, Status: v1alpha1.ReplikaStatus{Source: replika.Status.Source}}
		reduced.Namespace, reduced.Name, reduced.DeletionTimestamp = replika.Namespace, replika.Name, replika.DeletionTimestamp
		replikas.byName[types.NamespacedName{Namespace: replika.Namespace, Name: replika.Name}] = reduced
	})
	switch {
	case isKindMissing(err):
		e.note("The API server has no Replikas: their CustomResourceDefinition is not installed.")
	case apierrors.IsForbidden(err):
		e.note("You may not list Replikas in all namespaces: whether others can take copies over is unknown.")
		replikas.complete = false
	case err != nil:
		return nil, err
	}
	return replikas, nil
}

// exists reports whether the Replika exists, or may exist.
func (r *existingReplikas) exists(ctx context.Context, name types.NamespacedName) (bool, error) {
	if r.complete {
		return r.byName[name] != nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if exists, asked := r.asked[name]; asked {
		return exists, nil
	}
	exists, err := r.existsNow(ctx, name)
	if apierrors.IsForbidden(err) {
		r.env.note("You may not read Replika %s: its copies are taken for no orphans.", name)
		exists, err = true, nil
	}
	r.asked[name] = exists
	return exists, err
}

// existsNow reads the Replika.
func (r *existingReplikas) existsNow(ctx context.Context, name types.NamespacedName) (bool, error) {
	reader, err := r.env.client()
	if err != nil {
		return false, err
	}
	err = reader.Get(ctx, name, &v1alpha1.Replika{})
	if apierrors.IsNotFound(err) || isKindMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// nextOwnerOf returns a Replika that selects the namespace of the orphan, and whose copies there have its kind and name, so that it can take the
// orphan over; nil if there is none. If the namespace cannot be read, it may be selected.
func (r *existingReplikas) nextOwnerOf(ctx context.Context, kind schema.GroupKind, found *orphan) (*types.NamespacedName, error) {
	var candidates []types.NamespacedName
	for name, replika := range r.byName {
		one := copyingAs(replika, kind, found)
		if one == nil {
			continue
		}
		namespace, err := r.namespaceOf(ctx, found.observed.Namespace)
		if err != nil {
			return nil, err
		}
		claimant, claims := planner.NewClaimant(one, planner.NewSelection)
		if claims && (namespace == nil || planner.Claimants{claimant}.Claims(name, kind, found.observed.Name, *namespace)) {
			candidates = append(candidates, name)
		}
	}
	if len(candidates) == 0 {
		return nil, nil
	}
	first := slices.MinFunc(candidates, func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
	return &first, nil
}

// copyingAs returns the Replika, with only one source, if the copies of that source have the kind and name of the orphan; else nil.
func copyingAs(replika *v1alpha1.Replika, kind schema.GroupKind, found *orphan) *v1alpha1.Replika {
	source := &replika.Spec.Source
	if source.Group != kind.Group || source.Kind != kind.Kind {
		return nil
	}
	if !replika.HasManySources() {
		if replika.TargetName() != found.observed.Name {
			return nil
		}
		return replika
	}
	name, possible := planner.SourceOfCopy(replika, found.observed.Name)
	selector, err := planner.NewSourceSelector(found.resource.GroupResource(), replika)
	if !possible || err != nil || !selector.CouldMatch(name) {
		return nil
	}
	return planner.ForSource(replika, name, v1alpha1.ReplikaStatus{})
}

// namespaceOf returns what selections depend on; nil if the namespace cannot be read.
func (r *existingReplikas) namespaceOf(ctx context.Context, name string) (*planner.Namespace, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if namespace, asked := r.namespaces[name]; asked {
		return namespace, nil
	}
	reader, err := r.env.metadata()
	if err != nil {
		return nil, err
	}
	object, err := reader.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		r.env.note("Namespace %s cannot be read: what another Replika might take over there is left alone.", name)
		r.namespaces[name] = nil
	case err != nil:
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	default:
		r.namespaces[name] = &planner.Namespace{
			Name: name, UID: object.UID, Labels: object.Labels, Terminating: object.DeletionTimestamp != nil,
		}
	}
	return r.namespaces[name], nil
}
