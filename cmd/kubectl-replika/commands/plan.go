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
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
)

// planCommand shows what the operator would do.
type planCommand struct {
	*environment
	printer
	files      resource.FilenameOptions
	all        bool
	diff       string
	showValues bool
}

func newPlanCommand(env *environment) *cobra.Command {
	c := &planCommand{environment: env}
	command := &cobra.Command{
		Use:   "plan (NAME | -f FILE | -k DIRECTORY)",
		Short: "Show what the operator would do with the copies of a Replika",
		Long: "Show what the operator would do with the copies of a Replika, without a write.\n\n" +
			"The Replika is one of the cluster, as if it were neither in a dry run nor waiting for its next reconcile, or one in a file that " +
			"is not applied yet. Admission webhooks, policies and quotas are not asked.\n\n" +
			"The exit code is 0 if there is nothing to do, 2 if copies would change, and 1 after an error, or if nothing can be copied.",
		Example: example(
			"# Show what applying the sample would do",
			"kubectl replika plan -f config/samples/replika_v1beta1_replika.yaml",
			"",
			"# Show what is left to do for a Replika of the cluster",
			"kubectl replika plan replika-sample -n default",
			"",
			"# Show how the copy in one namespace would change",
			"kubectl replika plan replika-sample -n default --diff team-blue",
		),
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: env.completeReplikas,
		RunE: func(command *cobra.Command, args []string) error {
			if err := c.validate(command, args); err != nil {
				return err
			}
			return c.run(command.Context(), args)
		},
	}
	flags := command.Flags()
	flags.StringSliceVarP(&c.files.Filenames, "filename", "f", nil, "File or directory with Replikas, URL, or - for stdin.")
	flags.StringVarP(&c.files.Kustomize, "kustomize", "k", "", "Kustomization directory with Replikas.")
	flags.BoolVarP(&c.files.Recursive, "recursive", "R", false, "Read the directory of --filename recursively.")
	flags.BoolVar(&c.all, "all", false, "List every copy, instead of grouping them when there are many.")
	flags.StringVar(&c.diff, "diff", "", "Show how the copies in this namespace would change.")
	flags.BoolVar(&c.showValues, "show-values", false, "Show the values of Secrets in --diff.")
	c.bind(command)
	return command
}

func (c *planCommand) validate(command *cobra.Command, args []string) error {
	fromFiles := len(c.files.Filenames) > 0 || c.files.Kustomize != ""
	switch {
	case fromFiles && len(args) > 0:
		return usageError(command, "NAME and --filename or --kustomize exclude each other")
	case !fromFiles && len(args) == 0:
		return usageError(command, "NAME of a Replika, --filename or --kustomize is required")
	}
	return c.printer.validate(command)
}

func (c *planCommand) run(ctx context.Context, args []string) error {
	replikas, err := c.readReplikas(ctx, args)
	if err != nil {
		return err
	}
	operator, err := c.findOperator(ctx)
	if err != nil {
		return err
	}
	config, err := c.restConfig()
	if err != nil {
		return err
	}
	previewer, err := controllers.NewPreviewer(config, operator.options, operator.subject())
	if err != nil {
		return err
	}
	cluster, err := c.readCluster(ctx, replikas)
	if err != nil {
		return err
	}
	plans := make([]*plan, 0, len(replikas))
	for _, replika := range replikas {
		preview, err := previewer.Plan(ctx, replika, cluster)
		if err != nil {
			return fmt.Errorf("planning Replika %s/%s: %w", replika.Namespace, replika.Name, err)
		}
		plans = append(plans, newPlan(replika, preview))
	}
	for _, note := range previewer.Notes() {
		c.note("%s%s.", strings.ToUpper(note[:1]), note[1:])
	}
	if err := c.printPlans(ctx, plans); err != nil {
		return err
	}
	return outcome(plans)
}

// outcome returns errChanges if copies would change, or the first reason why nothing would be copied.
func outcome(plans []*plan) error {
	if slices.ContainsFunc(plans, (*plan).changes) {
		return errChanges
	}
	for _, p := range plans {
		if p.NotReady != "" {
			return fmt.Errorf("Replika %s would not be ready: %s: %s", p.Replika, p.NotReady, p.Message) //nolint:staticcheck // a kind begins the message
		}
	}
	return nil
}

// readReplikas reads the Replika of that name, or those in the files.
func (c *planCommand) readReplikas(ctx context.Context, args []string) ([]*v1alpha1.Replika, error) {
	if len(args) > 0 {
		replika, err := c.getReplika(ctx, args[0])
		return []*v1alpha1.Replika{replika}, err
	}
	return c.readReplikaFiles(ctx, &c.files)
}

// plan is what the operator would do with the copies of one Replika.
type plan struct {
	Replika string `json:"replika"`
	// NotReady and Message say why nothing is copied.
	NotReady string                   `json:"notReady,omitempty"`
	Message  string                   `json:"message,omitempty"`
	Copies   v1alpha1.CopiesStatus    `json:"copies"`
	Counts   []v1alpha1.PlannedCount  `json:"counts"`
	Actions  []v1alpha1.PlannedAction `json:"actions"`
	Failures []v1alpha1.Failure       `json:"failures,omitempty"`

	replika *v1alpha1.Replika
	preview *controllers.Preview
}

func newPlan(replika *v1alpha1.Replika, preview *controllers.Preview) *plan {
	p := &plan{
		Replika: replika.Namespace + "/" + replika.Name, NotReady: preview.NotReady, Message: preview.Message,
		Counts: preview.Status.Planned.Counts, Actions: preview.Actions, Failures: preview.Status.Failures,
		replika: replika, preview: preview,
	}
	if copies := preview.Status.Copies; copies != nil {
		p.Copies = *copies
	}
	return p
}

// changes reports whether an object would change.
func (p *plan) changes() bool {
	return slices.ContainsFunc(p.Counts, func(count v1alpha1.PlannedCount) bool { return changes(count.Action) })
}

// changes reports whether the action changes an object.
func changes(action v1alpha1.PlannedActionType) bool {
	switch action {
	case v1alpha1.PlannedConflict, v1alpha1.PlannedWait, v1alpha1.PlannedFail:
		return false
	default:
		return true
	}
}

// summary is the last line about a plan.
func (p *plan) summary() string {
	summary := "Nothing to do"
	if p.preview.Summary != "" {
		summary = "Plan: " + p.preview.Summary
	}
	return fmt.Sprintf("%s. %d of %d copies are in sync.", summary, p.Copies.Synced, p.Copies.Desired)
}

// printPlans prints the plans in the order of the Replikas.
func (c *planCommand) printPlans(ctx context.Context, plans []*plan) error {
	if !c.isTable() {
		return c.print(c.Out, c.list(plans))
	}
	for i, p := range plans {
		if i > 0 {
			fmt.Fprintln(c.Out)
		}
		if err := c.printPlan(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *planCommand) printPlan(ctx context.Context, p *plan) error {
	fmt.Fprintf(c.Out, "Replika %s\n", p.Replika)
	if len(p.Actions) > 0 {
		if err := c.print(c.Out, c.table(p)); err != nil {
			return err
		}
		fmt.Fprintln(c.Out)
	}
	fmt.Fprintln(c.Out, p.summary())
	if c.diff == "" {
		return nil
	}
	return c.printDiff(ctx, p)
}

// list returns the plans as objects, and the names of their copies.
func (c *planCommand) list(plans []*plan) *view {
	v := &view{object: plans}
	for _, p := range plans {
		for _, action := range p.Actions {
			v.names = append(v.names, action.Namespace+"/"+action.Name)
		}
	}
	return v
}

// table returns a row for each copy or, if there are many, for those that differ only in the namespace.
func (c *planCommand) table(p *plan) *view {
	v := &view{}
	if !c.all && len(p.Actions) > maxRows {
		var rows [][]any
		for _, action := range p.Actions {
			rows = append(rows, []any{action.Namespace, action.Action, action.Name, action.Message})
		}
		v.setObjectRows([]metav1.TableColumnDefinition{column("Action"), column("Name"), column("Reason")}, rows, c.all)
		return v
	}
	v.columns = []metav1.TableColumnDefinition{column("Action"), column("Namespace"), column("Name"), column("Reason")}
	for _, action := range p.Actions {
		v.rows = append(v.rows, []any{action.Action, action.Namespace, action.Name, action.Message})
	}
	return v
}
