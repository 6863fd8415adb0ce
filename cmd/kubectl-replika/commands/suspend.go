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

	"github.com/spf13/cobra"
)

// suspendCommand sets spec.suspend.
type suspendCommand struct {
	*environment

	suspend bool
	// done is what is printed.
	done string
}

func newSuspendCommand(env *environment) *cobra.Command {
	s := &suspendCommand{environment: env, suspend: true, done: "suspended"}
	return &cobra.Command{
		Use:   "suspend NAME",
		Short: "Suspend a Replika: its copies stay as they are",
		Long: "Suspend a Replika: its copies stay as they are, until it is resumed.\n\n" +
			"Copies without consent are still removed, and the deletion of the Replika is not suspended.",
		Example: example(
			"# Suspend the Replika replika-sample of the current namespace",
			"kubectl replika suspend replika-sample",
		),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: env.completeReplikas,
		RunE:              func(command *cobra.Command, args []string) error { return s.run(command.Context(), args[0]) },
	}
}

func newResumeCommand(env *environment) *cobra.Command {
	s := &suspendCommand{environment: env, suspend: false, done: "resumed"}
	return &cobra.Command{
		Use:   "resume NAME",
		Short: "Resume a suspended Replika",
		Example: example(
			"# Resume the Replika replika-sample of the current namespace",
			"kubectl replika resume replika-sample",
		),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: env.completeReplikas,
		RunE:              func(command *cobra.Command, args []string) error { return s.run(command.Context(), args[0]) },
	}
}

// run sets spec.suspend, whatever it was.
func (s *suspendCommand) run(ctx context.Context, name string) error {
	patch := map[string]any{"spec": map[string]any{"suspend": s.suspend}}
	if err := s.patchReplika(ctx, name, patch); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.Out, "%s/%s %s\n", resourceTitle, name, s.done)
	return err
}
