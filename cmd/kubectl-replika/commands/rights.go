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

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// maxAskedNamespaces is the number of namespaces above which the permissions in each are asked for only with --all.
const maxAskedNamespaces = 100

// rights asks the API server what a ServiceAccount may do with objects of a resource.
type rights struct {
	client  client.Client
	account types.NamespacedName
	mapping tracking.Mapping
}

// addRights adds the permissions of the ServiceAccount that are missing. Those that it has in all namespaces take one request
// each; the others are asked for in each namespace that is selected.
func (c *explainCommand) addRights(
	ctx context.Context, replika *v1alpha1.Replika, mapping tracking.Mapping, account types.NamespacedName, explained *explanation,
) error {
	reviewer, err := c.client()
	if err != nil {
		return err
	}
	asked := &rights{client: reviewer, account: account, mapping: mapping}
	err = c.askRights(ctx, replika, asked, explained)
	if apierrors.IsForbidden(err) {
		c.note("You may not create SubjectAccessReviews: the permissions of ServiceAccount %s are unknown.", account)
		return nil
	}
	return err
}

func (c *explainCommand) askRights(ctx context.Context, replika *v1alpha1.Replika, asked *rights, explained *explanation) error {
	if err := asked.checkSource(ctx, replika, explained); err != nil {
		return err
	}
	selected, name := explained.selected(), ""
	if !replika.HasManySources() {
		name = replika.TargetName()
	}
	verbs, err := asked.missing(ctx, "", name, copyVerbs)
	if err != nil || len(verbs) == 0 || len(selected) == 0 {
		return err
	}
	if len(selected) > maxAskedNamespaces && !c.all {
		c.note("ServiceAccount %s may not %s in all namespaces. What it may do in each of %d namespaces is asked for only with --all or --in.",
			asked.account, strings.Join(verbs, ", "), len(selected))
		return nil
	}
	progress := c.startProgress("Asking for permissions")
	defer progress.done()
	reviews, ctx := errgroup.WithContext(ctx)
	reviews.SetLimit(concurrentReads)
	for namespace, answers := range selected {
		reviews.Go(func() error {
			missing, err := asked.missing(ctx, namespace, name, verbs)
			for _, answer := range answers {
				answer.MissingRights = missing
			}
			return err
		})
	}
	return reviews.Wait()
}

// checkSource adds a note if the ServiceAccount may not read the sources.
func (r *rights) checkSource(ctx context.Context, replika *v1alpha1.Replika, explained *explanation) error {
	verbs := sourceVerbs
	if replika.HasManySources() {
		verbs = manySourcesVerbs
	}
	missing, err := r.missing(ctx, replika.SourceNamespace(), replika.Spec.Source.Name, verbs)
	if len(missing) > 0 {
		explained.note("Nothing is copied: ServiceAccount %s may not %s %s in namespace %s, where the source is.",
			r.account, strings.Join(missing, ", "), r.mapping.Resource.GroupResource(), replika.SourceNamespace())
	}
	return err
}

// missing returns those verbs that the ServiceAccount may not use on the object in the namespace, or in every namespace if that is
// empty. Without a name, it is every object.
func (r *rights) missing(ctx context.Context, namespace, name string, verbs []string) ([]string, error) {
	var missing []string
	for _, verb := range verbs {
		review := &authorizationv1.SubjectAccessReview{Spec: controllers.ServiceAccountSubject(r.account)}
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Name: name,
			Group: r.mapping.Resource.Group, Version: r.mapping.Resource.Version, Resource: r.mapping.Resource.Resource,
		}
		if slices.Contains([]string{"create", "list"}, verb) {
			review.Spec.ResourceAttributes.Name = "" // such a request has none
		}
		if err := r.client.Create(ctx, review); err != nil {
			return nil, fmt.Errorf("asking for the permissions of ServiceAccount %s: %w", r.account, err)
		}
		if !review.Status.Allowed {
			missing = append(missing, verb)
		}
	}
	return missing, nil
}
