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
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/controllers"
)

// operatorLabels are the labels of the operator's Deployment, however it was installed.
var operatorLabels = client.MatchingLabels{"app.kubernetes.io/name": "replika", "control-plane": "controller-manager"}

// operatorContainer is the name of the operator's container in its Deployment.
const operatorContainer = "manager"

// installation is the operator of the cluster, as its Deployment describes it.
type installation struct {
	// known is false if the Deployment could not be read. Then options are the defaults, and the other fields are empty.
	known bool
	// options are those of its flags.
	options controllers.Options
	// version is the tag of its image.
	version string
	// serviceAccount is its identity.
	serviceAccount types.NamespacedName
}

// findOperator reads the flags of the operator from its Deployment. If that is not possible, it returns the defaults, and notes
// on stderr that the flags are unknown.
func (e *environment) findOperator(ctx context.Context) (*installation, error) {
	deployment, err := e.operatorDeployment(ctx)
	if err == nil {
		found, problem := parseOperator(deployment)
		if problem == nil {
			e.noteVersion(found)
			return found, nil
		}
		err = problem
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	e.note("The operator's flags are unknown, so the defaults are assumed: %s", oneLine(err))
	options, err := parseOptions(nil)
	return &installation{options: options}, err
}

// noteVersion notes on stderr that the operator is of another version than the plugin: it may decide otherwise.
func (e *environment) noteVersion(operator *installation) {
	if operator.version != "" && operator.version != e.version {
		e.note("The operator has the version %s, and this plugin %s: their answers can differ.", operator.version, e.version)
	}
}

// operatorDeployment finds the Deployment by its labels.
func (e *environment) operatorDeployment(ctx context.Context) (*appsv1.Deployment, error) {
	reader, err := e.client()
	if err != nil {
		return nil, err
	}
	deployments := &appsv1.DeploymentList{}
	if err := reader.List(ctx, deployments, client.InNamespace(e.operatorNamespace), operatorLabels); err != nil {
		return nil, err
	}
	switch len(deployments.Items) {
	case 0:
		return nil, errors.New("there is no Deployment with the operator's labels")
	case 1:
		return &deployments.Items[0], nil
	}
	return nil, errors.New("there are several Deployments with the operator's labels: choose one with --operator-namespace")
}

// parseOperator returns what a Deployment says about the operator.
func parseOperator(deployment *appsv1.Deployment) (*installation, error) {
	pod := &deployment.Spec.Template.Spec
	index := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == operatorContainer })
	if index < 0 {
		return nil, fmt.Errorf("Deployment %s/%s has no container %s", deployment.Namespace, deployment.Name, operatorContainer) //nolint:staticcheck // a kind begins the message
	}
	container := &pod.Containers[index]
	options, err := parseOptions(expandAll(container, deployment.Namespace))
	if err != nil {
		return nil, fmt.Errorf("Deployment %s/%s: %w", deployment.Namespace, deployment.Name, err) //nolint:staticcheck // a kind begins the message
	}
	return &installation{
		known:          true,
		options:        options,
		version:        imageTag(container.Image),
		serviceAccount: types.NamespacedName{Namespace: deployment.Namespace, Name: pod.ServiceAccountName},
	}, nil
}

// parseOptions parses the command line of the operator as the operator does, without the flags of the manager.
func parseOptions(args []string) (controllers.Options, error) {
	options := controllers.Options{}
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	options.BindFlags(flags)
	err := flags.Parse(knownFlags(flags, args))
	return options, err
}

// knownFlags returns the arguments that are flags of the set, with their values.
func knownFlags(flags *flag.FlagSet, args []string) (known []string) {
	for i, arg := range args {
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		found := flags.Lookup(name)
		if found == nil || !strings.HasPrefix(arg, "-") {
			continue
		}
		known = append(known, arg)
		boolean, isBoolean := found.Value.(interface{ IsBoolFlag() bool })
		if takesNext := !hasValue && (!isBoolean || !boolean.IsBoolFlag()); takesNext && i+1 < len(args) {
			known = append(known, args[i+1])
		}
	}
	return known
}

// variable is a reference to a variable in an argument of a container; two $ stand for one.
var variable = regexp.MustCompile(`\$\$|\$\([-._a-zA-Z][-._a-zA-Z0-9]*\)`)

// expandAll returns the arguments of a container in a namespace, with the values of the variables that are known without a Pod.
func expandAll(container *corev1.Container, namespace string) []string {
	values := map[string]string{}
	for _, env := range container.Env {
		switch {
		case env.ValueFrom == nil:
			values[env.Name] = env.Value
		case env.ValueFrom.FieldRef != nil && env.ValueFrom.FieldRef.FieldPath == "metadata.namespace":
			values[env.Name] = namespace
		}
	}
	expand := func(reference string) string {
		if reference == "$$" {
			return "$"
		}
		if value, found := values[strings.Trim(reference, "$()")]; found {
			return value
		}
		return reference // as the kubelet does
	}
	var expanded []string
	for _, arg := range slices.Concat(container.Command, container.Args) {
		expanded = append(expanded, variable.ReplaceAllStringFunc(arg, expand))
	}
	return expanded
}

// imageTag returns the tag of an image, or "" if it has none.
func imageTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	colon := strings.LastIndex(image, ":")
	if colon < 0 || strings.Contains(image[colon:], "/") {
		return ""
	}
	return image[colon+1:]
}
