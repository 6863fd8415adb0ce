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

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// readCluster reads what the plans of the Replikas depend on.
func (e *environment) readCluster(ctx context.Context, planned []*v1alpha1.Replika) (*controllers.Cluster, error) {
	cluster := &controllers.Cluster{}
	err := e.forEachReplika(ctx, metav1.NamespaceAll, func(replika *v1alpha1.Replika) { cluster.Replikas = append(cluster.Replikas, *replika) })
	switch {
	case apierrors.IsForbidden(err):
		e.note("You may not list Replikas in all namespaces: the claims of others are unknown.")
		cluster.Replikas = nil
	case err != nil:
		return nil, err
	}
	// Those that are planned claim objects, too.
	for _, replika := range planned {
		cluster.Add(replika)
	}
	err = e.eachMetadata(ctx, namespaceResource, metav1.ListOptions{}, func(namespace *metav1.PartialObjectMetadata) {
		cluster.Namespaces = append(cluster.Namespaces, reducedNamespace(namespace))
	})
	if err == nil || !apierrors.IsForbidden(err) {
		return cluster, err
	}
	e.note("You may not list namespaces: the answer covers only those that the spec names.")
	cluster.Namespaces, cluster.Partial = nil, true
	metadata, err := e.metadata()
	if err != nil {
		return nil, err
	}
	for _, replika := range planned {
		for _, name := range namedNamespaces(replika) {
			namespace, err := getNamespace(ctx, metadata, name)
			if err != nil {
				return nil, err
			}
			if namespace != nil {
				cluster.Namespaces = append(cluster.Namespaces, reducedNamespace(namespace))
			}
		}
	}
	return cluster, nil
}

// reducedNamespace returns what a plan depends on.
func reducedNamespace(namespace *metav1.PartialObjectMetadata) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: namespace.Name, UID: namespace.UID, Labels: namespace.Labels, DeletionTimestamp: namespace.DeletionTimestamp,
	}}
}

// subject is the operator as the API server knows it; empty if it is not known.
func (i *installation) subject() authorizationv1.SubjectAccessReviewSpec {
	if i.serviceAccount.Name == "" {
		return authorizationv1.SubjectAccessReviewSpec{}
	}
	return controllers.ServiceAccountSubject(i.serviceAccount)
}
