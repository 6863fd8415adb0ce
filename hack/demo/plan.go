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

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/prosimcorp/replika/cmd/kubectl-replika/commands"
)

// planSamples runs `kubectl replika plan --kustomize config/samples`, and prints what it prints.
func planSamples(ctx context.Context, env *environment) error {
	var out, errOut bytes.Buffer
	// Stderr says that the operator's flags are unknown: the demo has no Deployment.
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
	code := commands.Run(ctx, "demo", []string{
		"plan", "--kustomize", env.samples, "--namespace", sourceKey.Namespace, "--kubeconfig", env.cluster.Kubeconfig,
	}, streams)
	if code == 1 {
		return fmt.Errorf("planning: %s", errOut.String())
	}
	env.timeline.log("You ran kubectl replika plan --kustomize config/samples:")
	for line := range strings.Lines(out.String()) {
		if _, err := io.WriteString(env.timeline.out, "           "+line); err != nil {
			return err
		}
	}
	return nil
}
