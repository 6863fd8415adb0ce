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
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// orphansCommand finds copies whose Replika is gone.
type orphansCommand struct {
	*environment
	printer

	all, release, remove, yes bool
	cleaner                   *planner.Cleaner
	replikas                  *existingReplikas
}

// orphan is a copy whose Replika is gone.
type orphan struct {
	resource schema.GroupVersionResource
	observed *planner.Observed
	// action is what a command with the flag does: delete, release or conflict.
	action planner.Action
}

func newOrphansCommand(env *environment) *cobra.Command {
	o := &orphansCommand{environment: env, cleaner: planner.NewCleaner()}
	command := &cobra.Command{
		Use:   "orphans [--release | --delete]",
		Short: "List copies whose Replika is gone, and release or delete them",
		Long: "List copies, of all kinds, whose Replika is gone: its finalizer was removed by hand, or the operator was uninstalled first.\n" +
			"All namespaces are searched, unless one is given.\n\n" +
			"Without a flag, nothing is changed. --release removes the operator's labels and annotations, and leaves everything else\n" +
			"as it is. --delete deletes the copies, but releases objects that were adopted and those that every namespace has. A copy\n" +
			"that changes meanwhile, or that another Replika can take over, is left alone.",
		Example: example(
			"# List the orphans of all namespaces",
			"kubectl replika orphans",
			"",
			"# Delete those of one namespace, after a question",
			"kubectl replika orphans -n team-blue --delete",
			"",
			"# Release all, without a question",
			"kubectl replika orphans --release --yes",
		),
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.validate(command); err != nil {
				return err
			}
			return o.run(command.Context())
		},
	}
	o.bind(command)
	flags := command.Flags()
	flags.BoolVar(&o.all, "all", false, "List all orphans, instead of groups.")
	flags.BoolVar(&o.release, "release", false, "Release the orphans: remove the operator's labels and annotations.")
	flags.BoolVar(&o.remove, "delete", false, "Delete the orphans.")
	flags.BoolVarP(&o.yes, "yes", "y", false, "Do not ask before a change.")
	command.MarkFlagsMutuallyExclusive("release", "delete")
	return command
}

func (o *orphansCommand) run(ctx context.Context) error {
	if o.changes() && !o.yes && !isTerminal(o.In) {
		return errors.New("nobody can be asked, because the input is no terminal: add --yes to change the orphans without a question")
	}
	replikas, err := o.readExistingReplikas(ctx)
	if err != nil {
		return err
	}
	o.replikas = replikas
	orphans, err := o.findOrphans(ctx)
	if err != nil {
		return err
	}
	if o.isTable() && len(orphans) == 0 {
		_, err := fmt.Fprintln(o.Out, "There are no orphans.")
		return err
	}
	if err := o.print(o.Out, o.view(orphans)); err != nil {
		return err
	}
	orphans = slices.DeleteFunc(orphans, func(orphan *orphan) bool { return !orphan.action.Type.Writes() })
	if !o.changes() || len(orphans) == 0 {
		return nil
	}
	if !o.yes {
		agreed, err := confirm(o.In, o.ErrOut, fmt.Sprintf("%s %d orphans?", o.verb(), len(orphans)))
		if err != nil || !agreed {
			return err
		}
	}
	return o.change(ctx, orphans)
}

// changes reports whether a flag asks for changes.
func (o *orphansCommand) changes() bool { return o.release || o.remove }

// verb is what the flag asks for.
func (o *orphansCommand) verb() string {
	if o.release {
		return "Release"
	}
	return "Delete"
}

// plan sets the action on an orphan: what the operator would do if its Replika were deleted now.
func (o *orphansCommand) plan(ctx context.Context, found *orphan, kind schema.GroupKind) error {
	owner, _ := found.observed.Owner()
	source := found.observed.Origin.Value().Source
	nextOwner, err := o.replikas.nextOwnerOf(ctx, kind, found)
	if err != nil {
		return err
	}
	if nextOwner != nil {
		found.action = planner.Action{
			Type: planner.Conflict, Namespace: found.observed.Namespace, Name: found.observed.Name,
			Message: "Replika " + nextOwner.String() + " can take it over",
		}
		return nil
	}
	in := &planner.Input{
		Replika: owner, Kind: kind, Name: found.observed.Name,
		SourceNamespace: source.Namespace, SourceName: source.Name,
		Observed: []*planner.Observed{found.observed}, DeletionPolicy: v1alpha1.DeletionPolicyDelete,
	}
	if o.release {
		in.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	found.action = planner.Action{Type: planner.Wait, Message: "it is being deleted"}
	if actions := planner.Plan(in); len(actions) == 1 {
		found.action = actions[0]
	}
	return nil
}

// orphanRow is an orphan in JSON and YAML.
type orphanRow struct {
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Replika   string `json:"replika"`
	Source    string `json:"source"`
	Adopted   bool   `json:"adopted"`
	// Action is what --release or, without a flag, --delete does.
	Action string `json:"action"`
	Reason string `json:"reason,omitempty"`
}

// view returns the answer in all formats.
func (o *orphansCommand) view(orphans []*orphan) *view {
	list := []orphanRow{}
	v := &view{}
	var rows [][]any
	for _, found := range orphans {
		origin := found.observed.Origin.Value()
		row := orphanRow{
			Resource: found.resource.GroupResource().String(), Namespace: found.observed.Namespace, Name: found.observed.Name,
			Replika: origin.Owner.String(), Source: origin.Source.String(), Adopted: found.observed.Adopted,
			Action: string(found.action.Type), Reason: found.action.Message,
		}
		action := row.Action
		if !found.action.Type.Writes() {
			row.Action, action = "none", "none: "+row.Reason
		}
		list = append(list, row)
		title := row.Resource + "/" + row.Name
		v.names = append(v.names, title)
		rows = append(rows, []any{row.Namespace, title, row.Replika, action, row.Source, yesOrNo(row.Adopted)})
	}
	v.object = map[string]any{"orphans": list}
	header := "With --delete"
	if o.changes() {
		header = "Action"
	}
	v.setObjectRows([]metav1.TableColumnDefinition{
		column("Object"), column("Replika"), column(header), wideColumn("Source"), wideColumn("Adopted"),
	}, rows, o.all)
	return v
}
