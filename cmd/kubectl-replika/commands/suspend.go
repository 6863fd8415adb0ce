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

func newSuspendCommand(env *environment) *cobra.Command {
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
		RunE: func(command *cobra.Command, args []string) error {
			return setSuspend(command.Context(), env, args[0], true)
		},
	}
}

func newResumeCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME",
		Short: "Resume a suspended Replika",
		Example: example(
			"# Resume the Replika replika-sample of the current namespace",
			"kubectl replika resume replika-sample",
		),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: env.completeReplikas,
		RunE: func(command *cobra.Command, args []string) error {
			return setSuspend(command.Context(), env, args[0], false)
		},
	}
}

// setSuspend sets spec.suspend, whatever it was.
func setSuspend(ctx context.Context, env *environment, name string, suspend bool) error {
	patch := map[string]any{"spec": map[string]any{"suspend": suspend}}
	if err := env.patchReplika(ctx, name, patch); err != nil {
		return err
	}
	done := "resumed"
	if suspend {
		done = "suspended"
	}
	_, err := fmt.Fprintf(env.Out, "%s/%s %s\n", resourceTitle, name, done)
	return err
}
