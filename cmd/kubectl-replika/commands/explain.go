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

	"github.com/spf13/cobra"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// explainCommand explains which namespaces are targets of a Replika.
type explainCommand struct {
	*environment
	printer
	in  string
	all bool
}

func newExplainCommand(env *environment) *cobra.Command {
	c := &explainCommand{environment: env}
	command := &cobra.Command{
		Use:   "explain NAME",
		Short: "Show which namespaces receive a copy, and which rule decided that",
		Long: "Show which namespaces receive a copy, and which rule decided that.\n\n" +
			"The rules are: a name or a glob of replicateIn, the label selector, matchAll, excludeFrom, the source's own namespace, " +
			"--excluded-namespaces of the operator, the opt-out label of a namespace, and the source's annotation " +
			v1alpha1.AnnotationAllowedNamespaces + ".\n\n" +
			"Problems are what keeps a copy out of a namespace that is selected: a ServiceAccount without permissions, another Replika " +
			"that has the object, and what the operator reported. Many namespaces are grouped by the reason.",
		Example: example(
			"# Show which namespaces receive a copy of the sample",
			"kubectl replika explain replika-sample -n default",
			"",
			"# Show why one namespace does not receive a copy",
			"kubectl replika explain replika-sample -n default --in kube-system",
			"",
			"# List the namespaces that receive a copy",
			"kubectl replika explain replika-sample -n default -o name",
		),
		Args:              oneArgument("NAME of a Replika"),
		ValidArgsFunction: env.completeReplikas,
		RunE: func(command *cobra.Command, args []string) error {
			if err := c.validate(command); err != nil {
				return err
			}
			return c.run(command.Context(), args[0])
		},
	}
	c.bind(command)
	command.Flags().StringVar(&c.in, "in", "", "Explain only this `namespace`.")
	env.completeNamespaces(command)
	command.Flags().BoolVar(&c.all, "all", false, "List all namespaces, instead of groups.")
	return command
}

func (c *explainCommand) run(ctx context.Context, name string) error {
	replika, err := c.getReplika(ctx, name)
	if err != nil {
		return err
	}
	operator, err := c.findOperator(ctx)
	if err != nil {
		return err
	}
	explained, err := c.explain(ctx, replika, &operator.options)
	if err != nil {
		return err
	}
	if c.isTable() {
		explained.printNotes(c.Out)
	}
	return c.print(c.Out, explained.view(c.all || c.in != ""))
}

// explain reads everything that the answer depends on.
func (c *explainCommand) explain(ctx context.Context, replika *v1alpha1.Replika, options *controllers.Options) (*explanation, error) {
	inspector, err := c.inspector(options)
	if err != nil {
		return nil, err
	}
	explained := &explanation{Replika: replika.Namespace + "/" + replika.Name, Notes: stateNotes(replika)}
	mapping, err := inspector.Resolve(ctx, replika)
	served := err == nil
	if !served {
		explained.note("Nothing is copied: %s.", err)
	}
	base, err := planner.NewSelection(replika)
	if err != nil {
		return nil, err
	}
	consents := []consent{{selection: base}}
	if served {
		if consents, err = c.readConsents(ctx, inspector, replika, mapping, base, explained); err != nil {
			return nil, err
		}
	}
	namespaces, err := c.readNamespaces(ctx, replika, planner.NewPatterns(options.Policy.ExcludedNamespaces))
	if err != nil {
		return nil, err
	}
	if explained.Namespaces, err = c.explainNamespaces(consents, namespaces); err != nil {
		return nil, err
	}
	if err := options.Policy.Check(replika, explained.copies(consents)); err != nil {
		explained.note("Nothing is copied: %s.", err)
	}
	explained.addFailures(replika)
	if !served {
		return explained, nil
	}
	if account, found := options.Policy.ServiceAccountOf(replika); found {
		if err := c.addRights(ctx, replika, mapping, account, explained); err != nil {
			return nil, err
		}
	}
	return explained, c.addHolders(ctx, replika, mapping, consents, explained)
}

// inspector returns what reads sources as an operator with the options does.
func (e *environment) inspector(options *controllers.Options) (*controllers.Inspector, error) {
	config, err := e.restConfig()
	if err != nil {
		return nil, err
	}
	return controllers.NewInspector(config, *options)
}

// stateNotes are notes on a Replika whose copies are not kept in sync, whatever namespaces are selected.
func stateNotes(replika *v1alpha1.Replika) []string {
	switch {
	case replika.DeletionTimestamp != nil:
		return []string{"The Replika is being deleted: its copies are cleaned up, and none is created."}
	case replika.Spec.Suspend:
		return []string{"The Replika is suspended: copies are not created, updated or deleted, unless consent is withdrawn."}
	case replika.Spec.Mode == v1alpha1.ModeDryRun:
		return []string{"The Replika is in mode DryRun: no copy is written."}
	default:
		return nil
	}
}

// readConsents reads the sources, and returns what their owners allow. What keeps sources from being copied is added to the notes.
func (c *explainCommand) readConsents(
	ctx context.Context, inspector *controllers.Inspector, replika *v1alpha1.Replika, mapping tracking.Mapping,
	base *planner.Selection, explained *explanation,
) ([]consent, error) {
	progress := c.startProgress("Reading sources")
	defer progress.done()
	var consents consentGroups
	refused := 0
	notCopied, err := inspector.EachSource(ctx, replika, mapping, func(source *controllers.InspectedSource) error {
		progress.add(1)
		consents.add(base, source, replika.HasManySources())
		if !replika.HasManySources() || source.Copied() {
			return nil
		}
		if refused++; refused <= maxRefusedNotes {
			explained.note("The source %s is not copied: %s.", source.Replika.Spec.Source.Name, source.NotCopied)
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.note("%s: what its owner allows is taken from the Replika's status.", oneLine(err))
		return []consent{{selection: base}}, nil
	}
	if refused > maxRefusedNotes {
		explained.note("%d more sources are not copied.", refused-maxRefusedNotes)
	}
	if notCopied != nil {
		explained.note("Nothing is copied: %s.", notCopied)
	}
	if len(consents.list) == 0 {
		return []consent{{selection: base}}, nil
	}
	return consents.list, nil
}

// maxRefusedNotes is the number of refused sources that are named.
const maxRefusedNotes = 20
