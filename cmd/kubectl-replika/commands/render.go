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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// renderCommand prints copies as the operator would create them.
type renderCommand struct {
	*environment
	file       string
	in         string
	source     string
	format     string
	showValues bool
}

func newRenderCommand(env *environment) *cobra.Command {
	c := &renderCommand{environment: env}
	command := &cobra.Command{
		Use:   "render (NAME | -f FILE) --in NAMESPACE",
		Short: "Print a copy as the operator would create it",
		Long: "Print a copy as the operator would create it, with all labels and annotations.\n\n" +
			"The Replika is one of the cluster, or one in a file that is not applied yet. The source is read from the cluster. " +
			"The namespace does not have to be selected, or to exist. Values of Secrets are replaced by " + maskedValue + ".",
		Example: example(
			"# Print the copy of the sample for a namespace",
			"kubectl replika render replika-sample -n default --in team-blue",
			"",
			"# Print the copy of a Replika that is not applied yet",
			"kubectl replika render -f config/samples/replika_v1beta1_replika.yaml -n default --in team-blue",
			"",
			"# Compare the copy with what is in the cluster",
			"kubectl replika render replika-sample -n default --in team-blue | kubectl diff -f -",
		),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: env.completeReplikas,
		RunE: func(command *cobra.Command, args []string) error {
			name, err := c.validate(command, args)
			if err != nil {
				return err
			}
			return c.run(command.Context(), name)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&c.file, "filename", "f", "", "Read the Replika from this `file`, or from stdin if it is a hyphen.")
	flags.StringVar(&c.in, "in", "", "Create the copy for this `namespace`.")
	env.completeNamespaces(command)
	flags.StringVar(&c.source, "source", "", "Render only the copy of this one of many sources, by its `name`.")
	flags.StringVarP(&c.format, "output", "o", formatYAML, "Output format: yaml or json.")
	flags.BoolVar(&c.showValues, "show-values", false, "Print the values of Secrets.")
	return command
}

// validate checks the command line, and returns the name of the Replika, which is empty if it is in a file.
func (c *renderCommand) validate(command *cobra.Command, args []string) (name string, err error) {
	switch {
	case c.file != "" && len(args) > 0:
		return "", usageError(command, "NAME and --filename exclude each other")
	case c.in == "":
		return "", usageError(command, "--in is required")
	case c.format != formatYAML && c.format != formatJSON:
		return "", usageError(command, fmt.Sprintf("--output: %q: must be yaml or json", c.format))
	case c.file != "":
		return "", nil
	}
	if err := oneArgument("NAME of a Replika, or --filename,")(command, args); err != nil {
		return "", err
	}
	return args[0], nil
}

func (c *renderCommand) run(ctx context.Context, name string) error {
	replika, err := c.readReplika(ctx, name)
	if err != nil {
		return err
	}
	operator, err := c.findOperator(ctx)
	if err != nil {
		return err
	}
	options := &operator.options
	if err := options.Policy.Check(replika, 0); err != nil {
		return err
	}
	inspector, err := c.inspector(options)
	if err != nil {
		return err
	}
	mapping, err := inspector.Resolve(ctx, replika)
	if err != nil {
		return err
	}
	base, err := planner.NewSelection(replika)
	if err != nil {
		return err
	}
	namespace, excluded, err := c.readTarget(ctx, options)
	if err != nil {
		return err
	}
	return c.render(ctx, inspector, replika, mapping, func(source *controllers.InspectedSource) {
		if decided := base.Restrict(source.Allowed).Explain(namespace, excluded); !decided.Selected {
			c.note("Namespace %s does not receive this copy of %s: %s.", c.in, source.Replika.Spec.Source.Name, decided)
		}
	})
}

// readReplika reads the Replika from the cluster, or the one in the file.
func (c *renderCommand) readReplika(ctx context.Context, name string) (*v1alpha1.Replika, error) {
	if c.file == "" {
		return c.getReplika(ctx, name)
	}
	replikas, err := c.readReplikaFiles(ctx, &resource.FilenameOptions{Filenames: []string{c.file}})
	switch {
	case err != nil:
		return nil, err
	case len(replikas) > 1:
		return nil, fmt.Errorf("%s: it has %d Replikas: give one", c.file, len(replikas))
	}
	return replikas[0], nil
}

// readTarget reads the namespace of the copy, and returns the patterns by which the administrator excludes namespaces.
func (c *renderCommand) readTarget(ctx context.Context, options *controllers.Options) (planner.Namespace, *planner.Patterns, error) {
	namespaces := &clusterNamespaces{excluded: planner.NewPatterns(options.Policy.ExcludedNamespaces)}
	if err := c.getNamespaces(ctx, []string{c.in}, namespaces); err != nil {
		return planner.Namespace{}, nil, err
	}
	if len(namespaces.list) == 0 {
		c.note("There is no namespace %s yet.", c.in)
		namespaces.add(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: c.in}})
	}
	return namespaces.list[0], namespaces.excluded, nil
}

// render prints the copies of the sources that are copied, and returns an error if one is not. explain is called for each copy.
func (c *renderCommand) render(
	ctx context.Context, inspector *controllers.Inspector, replika *v1alpha1.Replika, mapping tracking.Mapping,
	explain func(*controllers.InspectedSource),
) error {
	var copies []*unstructured.Unstructured
	var refused []*controllers.InspectedSource
	visit := func(source *controllers.InspectedSource) error {
		if !source.Copied() {
			refused = append(refused, source)
			return nil
		}
		copied, err := c.renderCopy(source.Template)
		copies = append(copies, copied)
		explain(source)
		return err
	}
	var notCopied, err error
	if c.source == "" {
		notCopied, err = inspector.EachSource(ctx, replika, mapping, visit)
	} else {
		notCopied, err = inspector.OneSource(ctx, replika, mapping, c.source, visit)
	}
	if err = firstError(err, notCopied); err != nil {
		return err
	}
	if err := c.printCopies(copies, replika.HasManySources() && c.source == ""); err != nil {
		return err
	}
	if len(refused) == 1 {
		return refused[0].NotCopied
	}
	for _, source := range refused {
		c.note("%s", oneLine(source.NotCopied))
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d of %d sources are not copied", len(refused), len(refused)+len(copies))
	}
	return nil
}

// renderCopy returns the copy of the template.
func (c *renderCommand) renderCopy(template *planner.Template) (*unstructured.Unstructured, error) {
	rendered, err := template.Render(c.in)
	if err != nil {
		return nil, err
	}
	copied := &unstructured.Unstructured{}
	if err := copied.UnmarshalJSON(rendered); err != nil {
		return nil, err
	}
	if !c.showValues {
		maskSecret(copied)
	}
	return copied, nil
}

// printCopies prints the copies: as documents of YAML, or as a list in JSON if there can be several.
func (c *renderCommand) printCopies(copies []*unstructured.Unstructured, many bool) error {
	if c.format == formatJSON && many {
		list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
		for _, copied := range copies {
			list.Items = append(list.Items, *copied)
		}
		return printJSON(c.Out, json.Marshaler(list))
	}
	for i, copied := range copies {
		if c.format == formatJSON {
			return printJSON(c.Out, copied.Object)
		}
		if i > 0 {
			fmt.Fprintln(c.Out, "---")
		}
		if err := printYAML(c.Out, copied.Object); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
