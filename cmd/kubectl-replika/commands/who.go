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
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/prosimcorp/replika/controllers/planner"
)

// whoCommand shows where the copies of a source are, or where a copy comes from.
type whoCommand struct {
	*environment
	printer

	all bool
	// cleaner strips what the operator strips.
	cleaner *planner.Cleaner
}

// namedObject is the object that the user asks about.
type namedObject struct {
	*unstructured.Unstructured
	mapping *meta.RESTMapping
}

func newWhoCommand(env *environment) *cobra.Command {
	w := &whoCommand{environment: env}
	command := &cobra.Command{
		Use:   "who KIND/NAME",
		Short: "Show which namespaces have copies of an object, or where a copy comes from",
		Long: "Show which namespaces have copies of an object, by which Replika, and whether they are in sync. Of a copy, show its Replika\n" +
			"and its source, and whether they still exist.\n\n" +
			"Copies are compared with the source as it is now. One that an admission webhook changes differs from it, although the\n" +
			"operator accepts that.",
		Example: example(
			"# Show which namespaces have a copy of a ConfigMap",
			"kubectl replika who configmap/sample-configmap -n default",
			"",
			"# Show where a copy comes from",
			"kubectl replika who cm/sample-configmap -n team-blue",
			"",
			"# Any kind, in JSON",
			"kubectl replika who deployments.apps/web -n default -o json",
		),
		Args: oneArgument("KIND/NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := w.validate(command); err != nil {
				return err
			}
			if kind, name, found := strings.Cut(args[0], "/"); !found || kind == "" || name == "" {
				return usageError(command, fmt.Sprintf("%q: must be KIND/NAME, such as configmap/settings", args[0]))
			}
			return w.run(command.Context(), args[0])
		},
	}
	w.bind(command)
	command.Flags().BoolVar(&w.all, "all", false, "List all namespaces, instead of groups.")
	return command
}

func (w *whoCommand) run(ctx context.Context, name string) error {
	object, err := w.getNamed(name)
	if err != nil {
		return err
	}
	operator, err := w.findOperator(ctx)
	if err != nil {
		return err
	}
	w.cleaner = planner.NewCleaner(operator.options.DropKeys...)
	observed, err := w.cleaner.Observe(object.mapping.Resource.GroupResource(), object.Unstructured)
	if err != nil {
		return err
	}
	if observed.Marks == planner.MarksNewer {
		return fmt.Errorf("%s is managed by a newer version of the operator: upgrade this plugin", object.title())
	}
	if observed.Marks == planner.MarksValid {
		return w.showOrigin(ctx, object, observed)
	}
	if observed.HasAnyMark {
		w.note("%s has annotations of a copy, but they are not its own: it was duplicated, or has another controller.", object.title())
	}
	return w.showHolders(ctx, object)
}

// getNamed reads the object, by any name of its kind that kubectl accepts.
func (w *whoCommand) getNamed(name string) (*namedObject, error) {
	namespace, err := w.namespace()
	if err != nil {
		return nil, err
	}
	infos, err := resource.NewBuilder(w.config).Unstructured().NamespaceParam(namespace).DefaultNamespace().
		ResourceTypeOrNameArgs(false, name).Do().Infos()
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no %s in namespace %s: name another one, or another namespace with -n", name, namespace)
	case err != nil:
		return nil, fmt.Errorf("reading %s in namespace %s: %w", name, namespace, err)
	case len(infos) != 1:
		return nil, errors.New("name exactly one object")
	}
	object, ok := infos[0].Object.(*unstructured.Unstructured)
	if !ok || infos[0].Mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return nil, fmt.Errorf("%s is cluster-scoped: only objects in namespaces are copied", name)
	}
	return &namedObject{Unstructured: object, mapping: infos[0].Mapping}, nil
}

// title names the object in a message.
func (o *namedObject) title() string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// key is the namespace and name.
func (o *namedObject) key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// resourceName is the resource and its group, as in the names that kubectl prints.
func (o *namedObject) resourceName() string { return o.mapping.Resource.GroupResource().String() }
