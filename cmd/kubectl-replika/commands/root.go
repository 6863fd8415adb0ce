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

// Package commands has the commands of the kubectl plugin. They read with the permissions of their caller, and decide with the
// packages of the operator.
package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Exit codes, those of kubectl diff.
const (
	exitOK      = 0
	exitError   = 1
	exitChanges = 2
)

// errChanges is returned by a command that succeeded and found something that would change.
var errChanges = errors.New("there are changes")

// Run runs the command line, and returns the exit code: 0, or 1 after an error, which it prints in one line, or 2 if the
// command succeeded and found something that would change.
func Run(ctx context.Context, version string, args []string, streams genericiooptions.IOStreams) int {
	root := newRootCommand(version, streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errChanges):
		return exitChanges
	}
	fmt.Fprintf(streams.ErrOut, "error: %s\n", oneLine(err))
	return exitError
}

// newRootCommand returns the command with all subcommands.
func newRootCommand(version string, streams genericiooptions.IOStreams) *cobra.Command {
	env := newEnvironment(version, streams)
	root := &cobra.Command{
		Use:   "kubectl-replika",
		Short: "Show what Replikas do, and why",
		Long: "Show what Replikas do, and why.\n\n" +
			"All commands read with your own permissions, and say what they could not read.",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl replika"},
		Version:       version,
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error { return usageError(command, err.Error()) })
	env.config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&env.operatorNamespace, "operator-namespace", "",
		"Namespace of the operator's Deployment. If empty, it is found by its labels.")
	root.AddCommand(
		newExplainCommand(env),
		newRenderCommand(env),
		newSuspendCommand(env),
		newResumeCommand(env),
		newSyncCommand(env),
		newWhoCommand(env),
		newOrphansCommand(env),
		newRBACCommand(env),
		newPlanCommand(env),
		newOptionsCommand(),
	)
	return root
}

// newOptionsCommand returns the command that prints the flags that all commands have, as kubectl does.
func newOptionsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "options",
		Short: "Print the flags that all commands have",
		Args:  noArguments,
		Run: func(command *cobra.Command, _ []string) {
			command.Printf("The following flags can be passed to any command:\n\n%s",
				command.InheritedFlags().FlagUsages())
		},
	}
	return command
}

// usageTemplate shows the flags of a command, but not those that all commands have.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} [command]{{else}}{{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}

Available Commands:
{{- range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if and .HasParent .HasAvailableLocalFlags}}

Options:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

Use "{{.CommandPath}} [command] --help" for more information about a command.{{end}}

Use "{{.Root.CommandPath}} options" for a list of the flags that all commands have.
`

// usageError returns the error of a wrong command line, with where to look.
func usageError(command *cobra.Command, problem string) error {
	return fmt.Errorf("%s: see %s --help", problem, command.CommandPath())
}

// noArguments is for commands without arguments.
func noArguments(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(command, fmt.Sprintf("unexpected argument %q", args[0]))
	}
	return nil
}

// oneArgument is for commands with exactly one argument, such as NAME.
func oneArgument(name string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usageError(command, name+" is required")
		case 1:
			return nil
		}
		return usageError(command, fmt.Sprintf("unexpected argument %q", args[1]))
	}
}

// example returns the example of a command: one command per line, indented for the help.
func example(lines ...string) string {
	return "  " + strings.Join(lines, "\n  ")
}

// oneLine returns the message of an error in one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
