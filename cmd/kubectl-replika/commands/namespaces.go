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

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/planner"
)

// concurrentReads is the number of requests that one command sends at the same time.
const concurrentReads = 8

// namespaceResource is the resource of namespaces.
var namespaceResource = corev1.SchemeGroupVersion.WithResource("namespaces")

// clusterNamespaces are the namespaces that exist, as far as they could be read.
type clusterNamespaces struct {
	list []planner.Namespace
	// excluded are the patterns by which the administrator excludes namespaces.
	excluded *planner.Patterns
}

// add adds what the answer needs of a namespace.
func (n *clusterNamespaces) add(object *metav1.PartialObjectMetadata) {
	n.list = append(n.list, planner.Namespace{
		Name: object.Name, UID: object.UID, Labels: object.Labels,
		Terminating: object.DeletionTimestamp != nil, Excluded: n.excluded.Match(object.Name),
	})
}

// readNamespaces reads the namespaces: the one of the flag, or all, or those that the spec names if they cannot be listed.
func (c *explainCommand) readNamespaces(ctx context.Context, replika *v1alpha1.Replika, excluded *planner.Patterns) (*clusterNamespaces, error) {
	namespaces := &clusterNamespaces{excluded: excluded}
	if c.in != "" {
		return namespaces, c.getNamespaces(ctx, []string{c.in}, namespaces)
	}
	err := c.eachMetadata(ctx, namespaceResource, metav1.ListOptions{}, namespaces.add)
	switch {
	case apierrors.IsForbidden(err):
		c.note("You may not list namespaces: the answer covers only those that the spec names.")
		namespaces.list = nil
		return namespaces, c.getNamespaces(ctx, namedNamespaces(replika), namespaces)
	case err != nil:
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	return namespaces, nil
}

// completeNamespaces completes the flag --in with the names of namespaces.
func (e *environment) completeNamespaces(command *cobra.Command) {
	err := command.RegisterFlagCompletionFunc("in", func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		err := e.eachMetadata(command.Context(), namespaceResource, metav1.ListOptions{}, func(object *metav1.PartialObjectMetadata) {
			names = append(names, object.Name)
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag exists
	}
}

// namedNamespaces returns the names in the spec, without globs and duplicates.
func namedNamespaces(replika *v1alpha1.Replika) []string {
	targets := &replika.Spec.Target.Namespaces
	names := slices.Concat(planner.NamesAndGlobs(targets), targets.ExcludeFrom, []string{replika.SourceNamespace()})
	names = slices.DeleteFunc(names, planner.IsGlob)
	slices.Sort(names)
	return slices.Compact(names)
}

// getNamespaces reads the namespaces, and adds those that exist, or whose existence is not known.
func (e *environment) getNamespaces(ctx context.Context, names []string, namespaces *clusterNamespaces) error {
	client, err := e.metadata()
	if err != nil {
		return err
	}
	found := make([]*metav1.PartialObjectMetadata, len(names))
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(concurrentReads)
	for i, name := range names {
		reads.Go(func() (err error) {
			found[i], err = getNamespace(ctx, client, name)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return err
	}
	unknown := 0
	for _, object := range found {
		if object == nil {
			continue
		}
		namespaces.add(object)
		if object.UID == "" {
			unknown++
		}
	}
	if unknown > 0 {
		e.note("You may not read %s: the answer assumes that they exist, have no labels and are not being deleted.", plural(unknown, "namespace"))
	}
	return nil
}

// getNamespace reads a namespace. It is nil if there is none, and has only its name if it may not be read.
func getNamespace(ctx context.Context, client metadata.Interface, name string) (*metav1.PartialObjectMetadata, error) {
	object, err := client.Resource(namespaceResource).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
	case err != nil:
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return object, nil
}

// explainNamespaces returns an answer for each namespace, or several if the sources' owners do not allow the same. They are sorted by
// namespace.
func (c *explainCommand) explainNamespaces(consents []consent, namespaces *clusterNamespaces) ([]*explainedNamespace, error) {
	answers := []*explainedNamespace{} // an empty list in JSON, not null
	for _, namespace := range namespaces.list {
		answers = append(answers, explainNamespace(consents, namespace, namespaces.excluded)...)
	}
	missing := consents[0].selection.MissingNames(namespaces.list)
	if c.in != "" {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name != c.in })
	}
	for _, name := range missing {
		answers = append(answers, &explainedNamespace{
			Namespace: name, Rule: ruleNotFound, Entry: name, Reason: "replicateIn has its name, but there is no such namespace yet",
		})
	}
	if c.in != "" && len(answers) == 0 {
		return nil, fmt.Errorf("there is no namespace %s: name another one with --in", c.in)
	}
	slices.SortStableFunc(answers, (*explainedNamespace).compare)
	return answers, nil
}

// explainNamespace returns the answers for a namespace: one for all sources that have the same.
func explainNamespace(consents []consent, namespace planner.Namespace, excluded *planner.Patterns) []*explainedNamespace {
	var answers []*explainedNamespace
	byExplanation := map[planner.Explanation]*explainedNamespace{}
	for _, one := range consents {
		decided := one.selection.Explain(namespace, excluded)
		answer, found := byExplanation[decided]
		if !found {
			answer = &explainedNamespace{
				Namespace: namespace.Name, Copied: decided.Selected, Rule: decided.Rule, Entry: decided.Entry, Consent: decided.Consent,
				Reason: decided.String(),
			}
			byExplanation[decided] = answer
			answers = append(answers, answer)
		}
		answer.Sources = append(answer.Sources, one.sources...)
	}
	for _, answer := range answers {
		slices.Sort(answer.Sources)
		if len(answers) == 1 {
			answer.Sources = nil // all
		}
	}
	return answers
}
