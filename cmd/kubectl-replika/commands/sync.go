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
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

const (
	// syncTimeout is the default of --timeout.
	syncTimeout = time.Minute
	// syncInterval is the time between two reads of a Replika that is waited for.
	syncInterval = 200 * time.Millisecond
)

// syncCommand requests a reconcile.
type syncCommand struct {
	*environment

	wait    bool
	timeout time.Duration
}

func newSyncCommand(env *environment) *cobra.Command {
	s := &syncCommand{environment: env}
	command := &cobra.Command{
		Use:   "sync NAME",
		Short: "Reconcile a Replika now",
		Long: "Reconcile a Replika now: the operator reads the source and all namespaces anew, and requests copies again that the API\n" +
			"server refused. The command waits until it has, and fails unless the Replika is ready then.",
		Example: example(
			"# Reconcile the Replika replika-sample of the current namespace",
			"kubectl replika sync replika-sample",
			"",
			"# Request it, and do not wait",
			"kubectl replika sync replika-sample --wait=false",
		),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: env.completeReplikas,
		RunE:              func(command *cobra.Command, args []string) error { return s.run(command.Context(), args[0]) },
	}
	command.Flags().BoolVar(&s.wait, "wait", true, "Wait until the operator has handled the request.")
	command.Flags().DurationVar(&s.timeout, "timeout", syncTimeout, "How long to wait.")
	return command
}

func (s *syncCommand) run(ctx context.Context, name string) error {
	replika, err := s.getReplika(ctx, name)
	switch {
	case err != nil:
		return err
	case replika.DeletionTimestamp != nil:
		return fmt.Errorf("Replika %s/%s is being deleted", replika.Namespace, name) //nolint:staticcheck // a kind begins the message
	case replika.Spec.Suspend:
		return fmt.Errorf("Replika %s/%s is suspended: resume it first, with kubectl replika resume", replika.Namespace, name) //nolint:staticcheck // a kind begins the message
	}
	request := time.Now().UTC().Format(time.RFC3339Nano)
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationRequestedAt: request}}}
	if err := s.patchReplika(ctx, name, patch); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.Out, "%s/%s sync requested\n", resourceTitle, name); err != nil || !s.wait {
		return err
	}
	if replika, err = s.waitUntilHandled(ctx, name, request); err != nil {
		return err
	}
	return s.report(replika)
}

// waitUntilHandled waits until the request, or one that took its place, is handled, and nothing is in progress. If only the
// progress takes too long, it returns the Replika as it is.
func (s *syncCommand) waitUntilHandled(ctx context.Context, name, request string) (*v1alpha1.Replika, error) {
	progress := s.startProgress("Waiting for the operator")
	defer progress.done()
	var last *v1alpha1.Replika
	err := wait.PollUntilContextTimeout(ctx, syncInterval, s.timeout, true, func(ctx context.Context) (bool, error) {
		progress.add(1)
		replika, err := s.getReplika(ctx, name)
		if err != nil {
			return false, err
		}
		last = replika
		ready := readyCondition(replika)
		return isHandled(replika, request) && ready != nil && ready.Reason != v1alpha1.ReasonProgressing, nil
	})
	switch {
	case err == nil, last != nil && isHandled(last, request) && errors.Is(err, context.DeadlineExceeded):
		return last, nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil, fmt.Errorf("the operator has not handled the request within %s: check that it runs, and that it is not older than this plugin",
			s.timeout)
	}
	return nil, err
}

// isHandled reports whether the operator has handled the request, or a later one.
func isHandled(replika *v1alpha1.Replika, request string) bool {
	handled := replika.Status.LastHandledRequest
	latest := replika.Annotations[v1alpha1.AnnotationRequestedAt]
	return handled == v1alpha1.HandledRequest(request) || latest != "" && handled == v1alpha1.HandledRequest(latest)
}

// readyCondition returns the condition Ready; nil before the first reconcile.
func readyCondition(replika *v1alpha1.Replika) *metav1.Condition {
	return meta.FindStatusCondition(replika.Status.Conditions, v1alpha1.ConditionReady)
}

// report prints the condition Ready, or returns it as an error.
func (s *syncCommand) report(replika *v1alpha1.Replika) error {
	ready := readyCondition(replika)
	switch {
	case ready == nil:
		return fmt.Errorf("Replika %s/%s has no condition Ready", replika.Namespace, replika.Name) //nolint:staticcheck // a kind begins the message
	case ready.Status != metav1.ConditionTrue && ready.Reason != v1alpha1.ReasonDryRun:
		return fmt.Errorf("Replika %s/%s is not ready: %s: %s", replika.Namespace, replika.Name, ready.Reason, ready.Message) //nolint:staticcheck // a kind begins the message
	}
	_, err := fmt.Fprintf(s.Out, "%s: %s\n", ready.Reason, ready.Message)
	return err
}
