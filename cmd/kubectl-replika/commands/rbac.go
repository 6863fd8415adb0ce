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
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// rbacCommand prints the permissions that Replikas need.
type rbacCommand struct {
	*environment

	allNamespaces, forServiceAccount bool
}

// replikaKind is a Replika, and the resource of its source and copies.
type replikaKind struct {
	replika  *v1alpha1.Replika
	resource schema.GroupResource
	// account is the name of its ServiceAccount; empty for the operator.
	account string
}

func newRBACCommand(env *environment) *cobra.Command {
	r := &rbacCommand{environment: env}
	command := &cobra.Command{
		Use:   "rbac [NAME...]",
		Short: "Print the permissions that Replikas need, as YAML",
		Long: "Print the permissions that Replikas need, as YAML: a ClusterRole whose label adds its rules to the role of the operator.\n\n" +
			"With --for-service-account, print what the ServiceAccount of a Replika needs instead: a Role in the source's namespace\n" +
			"and in each target namespace, or a ClusterRole if the targets are a pattern, and their bindings.",
		Example: example(
			"# Permissions of the operator for all Replikas",
			"kubectl replika rbac -A",
			"",
			"# Grant the operator what one Replika needs",
			"kubectl replika rbac replika-sample -n default | kubectl apply -f -",
			"",
			"# Permissions of the ServiceAccounts of all Replikas of a namespace",
			"kubectl replika rbac -n default --for-service-account",
		),
		ValidArgsFunction: env.completeReplikas,
		RunE: func(command *cobra.Command, names []string) error {
			if r.allNamespaces && len(names) > 0 {
				return usageError(command, "names and --all-namespaces exclude each other")
			}
			return r.run(command.Context(), names)
		},
	}
	bindAllNamespaces(command, &r.allNamespaces)
	command.Flags().BoolVar(&r.forServiceAccount, "for-service-account", false, "Print what the ServiceAccounts of the Replikas need.")
	return command
}

func (r *rbacCommand) run(ctx context.Context, names []string) error {
	replikas, err := r.readReplikas(ctx, names)
	if err != nil {
		return err
	}
	if len(replikas) == 0 {
		r.note("There are no Replikas here.")
		return nil
	}
	operator, err := r.findOperator(ctx)
	if err != nil {
		return err
	}
	kinds, err := r.resolveKinds(replikas, operator.options.Policy.DefaultServiceAccount)
	if err != nil {
		return err
	}
	if r.forServiceAccount {
		return r.printAccountRoles(kinds)
	}
	return r.printOperatorRole(kinds)
}

// readReplikas reads the Replikas with the names, or all of the namespace or the cluster.
func (r *rbacCommand) readReplikas(ctx context.Context, names []string) ([]*v1alpha1.Replika, error) {
	var replikas []*v1alpha1.Replika
	for _, name := range names {
		replika, err := r.getReplika(ctx, name)
		if err != nil {
			return nil, err
		}
		replikas = append(replikas, replika)
	}
	if len(names) > 0 {
		return replikas, nil
	}
	namespace, err := r.namespace()
	if r.allNamespaces {
		namespace = metav1.NamespaceAll
	}
	if err != nil {
		return nil, err
	}
	err = r.forEachReplika(ctx, namespace, func(replika *v1alpha1.Replika) {
		reduced := &v1alpha1.Replika{Spec: replika.Spec}
		reduced.Namespace, reduced.Name = replika.Namespace, replika.Name
		replikas = append(replikas, reduced)
	})
	return replikas, err
}

// resolveKinds finds the resource of each Replika. It notes those that have none.
func (r *rbacCommand) resolveKinds(replikas []*v1alpha1.Replika, defaultAccount string) ([]replikaKind, error) {
	mapper, err := r.mapper()
	if err != nil {
		return nil, err
	}
	var kinds []replikaKind
	for _, replika := range replikas {
		source := &replika.Spec.Source
		name := client.ObjectKeyFromObject(replika)
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: source.Group, Kind: source.Kind}, source.Version)
		switch {
		case meta.IsNoMatchError(err):
			r.note("Replika %s is left out: the API server does not serve kind %s in %s.", name, source.Kind,
				schema.GroupVersion{Group: source.Group, Version: source.Version})
			continue
		case err != nil:
			return nil, fmt.Errorf("finding the resource of Replika %s: %w", name, err)
		case mapping.Scope.Name() != meta.RESTScopeNameNamespace:
			r.note("Replika %s is left out: kind %s is cluster-scoped, and only objects in namespaces are copied.", name, source.Kind)
			continue
		}
		account := replika.Spec.ServiceAccountName
		if account == "" {
			account = defaultAccount
		}
		resource := mapping.Resource.GroupResource()
		if resource.Group == "rbac.authorization.k8s.io" {
			r.note("Replika %s copies %s: who writes them also needs the permissions in them, or the verb bind or escalate.", name, resource.Resource)
		}
		kinds = append(kinds, replikaKind{replika: replika, resource: resource, account: account})
	}
	return kinds, nil
}

// printObjects prints objects as YAML documents.
func printObjects(out io.Writer, objects []any) error {
	var errs []error
	for i, object := range objects {
		if i > 0 {
			_, err := fmt.Fprintln(out, "---")
			errs = append(errs, err)
		}
		errs = append(errs, printYAML(out, object))
	}
	return errors.Join(errs...)
}
