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
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// pageSize is the maximum number of objects that one request lists.
const pageSize = 500

// resourceTitle is how kubectl names Replikas in front of a slash and a name.
const resourceTitle = "replika.replika.prosimcorp.com"

// fieldManager is the name under which the API server records the plugin's changes.
const fieldManager = "kubectl-replika"

// getReplika reads a Replika of the namespace of the flags.
func (e *environment) getReplika(ctx context.Context, name string) (*v1alpha1.Replika, error) {
	namespace, err := e.namespace()
	if err != nil {
		return nil, err
	}
	reader, err := e.client()
	if err != nil {
		return nil, err
	}
	replika := &v1alpha1.Replika{}
	err = reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, replika)
	switch {
	case apierrors.IsNotFound(err):
		return nil, noReplika(namespace, name)
	case err != nil:
		return nil, fmt.Errorf("reading Replika %s/%s: %w", namespace, name, err)
	}
	return replika, nil
}

// patchReplika changes a Replika of the namespace of the flags by a JSON merge patch.
func (e *environment) patchReplika(ctx context.Context, name string, patch map[string]any) error {
	namespace, err := e.namespace()
	if err != nil {
		return err
	}
	writer, err := e.client()
	if err != nil {
		return err
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	replika := &v1alpha1.Replika{}
	replika.Namespace, replika.Name = namespace, name
	err = writer.Patch(ctx, replika, client.RawPatch(types.MergePatchType, body), client.FieldOwner(fieldManager))
	switch {
	case apierrors.IsNotFound(err):
		return noReplika(namespace, name)
	case err != nil:
		return fmt.Errorf("changing Replika %s/%s: %w", namespace, name, err)
	}
	return nil
}

// isKindMissing reports whether the error of a request for Replikas says that the API server has no such kind.
func isKindMissing(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// noReplika is the error for a name that does not exist.
func noReplika(namespace, name string) error {
	return fmt.Errorf("there is no Replika %s in namespace %s: name another one, or another namespace with -n", name, namespace)
}

// forEachReplika calls visit for each Replika of a namespace, or of all namespaces if it is empty.
func (e *environment) forEachReplika(ctx context.Context, namespace string, visit func(*v1alpha1.Replika)) error {
	reader, err := e.client()
	if err != nil {
		return err
	}
	page := &v1alpha1.ReplikaList{}
	for {
		err := reader.List(ctx, page, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(page.Continue))
		if err != nil {
			return fmt.Errorf("listing Replikas: %w", err)
		}
		for i := range page.Items {
			visit(&page.Items[i])
		}
		if page.Continue == "" {
			return nil
		}
		page = &v1alpha1.ReplikaList{ListMeta: page.ListMeta}
	}
}

// completeReplikas completes the names of Replikas.
func (e *environment) completeReplikas(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	namespace, err := e.namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	err = e.forEachReplika(command.Context(), namespace, func(replika *v1alpha1.Replika) { names = append(names, replika.Name) })
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
