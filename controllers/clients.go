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

package controllers

import (
	"context"
	"fmt"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/lru"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// identity is the ServiceAccount that requests are made as. The zero identity is the operator itself.
type identity struct {
	namespace, name string
}

// operatorIdentity is the operator itself.
var operatorIdentity = identity{}

// identityOf returns the identity for requests of the Replika: the ServiceAccount that its spec names, else the default
// that the administrator set, else the operator. The ServiceAccount is always one of the Replika's own namespace.
func identityOf(replika *v1alpha1.Replika, defaultName string) identity {
	name := replika.Spec.ServiceAccountName
	if name == "" {
		name = defaultName
	}
	if name == "" {
		return operatorIdentity
	}
	return identity{namespace: replika.Namespace, name: name}
}

// String implements fmt.Stringer.
func (i identity) String() string {
	if i == operatorIdentity {
		return "the operator"
	}
	return fmt.Sprintf("ServiceAccount %s/%s", i.namespace, i.name)
}

// user is the name under which the API server knows the ServiceAccount.
func (i identity) user() string { return "system:serviceaccount:" + i.namespace + ":" + i.name }

// ServiceAccountSubject returns a review of the permissions of a ServiceAccount, without what is asked for.
func ServiceAccountSubject(account types.NamespacedName) authorizationv1.SubjectAccessReviewSpec {
	return authorizationv1.SubjectAccessReviewSpec{
		User:   identity{namespace: account.Namespace, name: account.Name}.user(),
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + account.Namespace, "system:authenticated"},
	}
}

// Client reads sources and writes copies with the permissions of one identity.
type Client struct {
	objects dynamic.Interface
	// metadata lists many sources.
	metadata metadata.Interface
	// reviews asks for the client's own permissions.
	reviews  authorizationclient.AuthorizationV1Interface
	executor *executor.Executor
}

// maxClients is the number of clients that are cached. To build one again costs no request: all share the operator's
// connections.
const maxClients = 1000

// Clients returns clients by identity, each built once.
type Clients struct {
	// asCaller is true if every identity has the client of the operator: only what the caller may read is read.
	asCaller bool
	config   *rest.Config
	cleaner  *planner.Cleaner
	limit    *executor.FairSemaphore
	cache    *lru.Cache
}

// newClients returns clients that share the limit on concurrent writes.
func newClients(config *rest.Config, cleaner *planner.Cleaner, limit *executor.FairSemaphore) *Clients {
	return &Clients{config: config, cleaner: cleaner, limit: limit, cache: lru.New(maxClients)}
}

// clientFor returns the client that impersonates the identity.
func (c *Clients) clientFor(as identity) (*Client, error) {
	if c.asCaller {
		as = operatorIdentity
	}
	if cached, found := c.cache.Get(as); found {
		return cached.(*Client), nil
	}
	client, err := c.build(as)
	if err != nil {
		return nil, fmt.Errorf("building the client of %s: %w", as, err)
	}
	c.cache.Add(as, client)
	return client, nil
}

func (c *Clients) build(as identity) (*Client, error) {
	config, httpClient, err := c.impersonate(as)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	reviews, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	requests, err := executor.NewClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &Client{
		objects: objects, metadata: metadataClient, reviews: reviews, executor: executor.New(requests, c.cleaner, c.limit),
	}, nil
}

// impersonate returns the configuration and HTTP client for requests with the permissions of the identity. The API server
// adds the groups of a ServiceAccount.
func (c *Clients) impersonate(as identity) (*rest.Config, *http.Client, error) {
	config := rest.CopyConfig(c.config)
	if as != operatorIdentity {
		config.Impersonate = rest.ImpersonationConfig{UserName: as.user()}
	}
	httpClient, err := rest.HTTPClientFor(config)
	return config, httpClient, err
}

// requireServiceAccount returns an error if the administrator requires a ServiceAccount and the identity is none.
func (p *Policy) requireServiceAccount(as identity) error {
	if !p.RequireServiceAccount || as != operatorIdentity {
		return nil
	}
	return &notReadyError{
		Reason: v1alpha1.ReasonServiceAccountRequired,
		Message: "spec.serviceAccountName is required (--require-service-account): " +
			"set it to a ServiceAccount in this namespace that can read the source and write the copies",
		Stalled: true,
	}
}

// writeAs executes an action with the permissions of the identity that it needs: for a hand-over those of the new owner, so
// that no Replika inherits a copy that it is not allowed to write; else those of the Replika. When the Replika's namespace is
// being deleted, its ServiceAccount may have been deleted first. Then the operator cleans up the copies that have the
// Replika's marks.
func (r *ReplikaReconciler) writeAs(
	ctx context.Context, s *scope, mapping tracking.Mapping, action *planner.Action,
) executor.Result {
	client := s.client
	if action.Type == planner.HandOver {
		newOwner, err := r.clientForReplika(ctx, action.NewOwner)
		if err != nil {
			return executor.Result{Outcome: planner.Unavailable, Err: fmt.Errorf("getting client for Replika %s: %w", action.NewOwner, err)}
		}
		client = newOwner
	}
	result := client.executor.Execute(ctx, mapping.Resource, s.name, action)
	if result.Outcome != planner.Forbidden || !s.cleansUp(action) || r.terminatingNamespace(ctx, s) == nil {
		return result
	}
	operator, err := r.Clients.clientFor(operatorIdentity)
	if err != nil {
		return result
	}
	return operator.executor.Execute(ctx, mapping.Resource, s.name, action)
}

// cleansUp reports whether the action removes what a ServiceAccount has left. A hand-over does not: it gives the copy to
// another Replika, whose own permissions decide.
func (s *scope) cleansUp(action *planner.Action) bool {
	return s.identity != operatorIdentity && !action.Desired && action.Type != planner.HandOver
}

// clientForReplika returns the client with the permissions of another Replika.
func (r *ReplikaReconciler) clientForReplika(ctx context.Context, name types.NamespacedName) (*Client, error) {
	replika := &v1alpha1.Replika{}
	if err := r.Get(ctx, name, replika); err != nil {
		return nil, err
	}
	return r.Clients.clientFor(identityOf(replika, r.Policy.DefaultServiceAccount))
}

// forbiddenMessage returns who is not allowed to read the source, and which permission to grant.
func (s *scope) forbiddenMessage(mapping tracking.Mapping, err error) string {
	resource, title := mapping.Resource.GroupResource(), s.sourceTitle()
	switch {
	case s.identity == operatorIdentity:
		return fmt.Sprintf("the operator is not allowed to read %s: grant it get, list, watch, create, patch and delete on %s", title, resource)
	case executor.IsImpersonationForbidden(err):
		return fmt.Sprintf("the operator is not allowed to impersonate %s: grant it the verb impersonate on serviceaccounts", s.identity)
	case s.replika.HasManySources():
		return fmt.Sprintf("%s is not allowed to list %s: grant it get and list on %s in namespace %s",
			s.identity, title, resource, s.replika.SourceNamespace())
	default:
		return fmt.Sprintf("%s is not allowed to read %s: grant it get on %s in namespace %s",
			s.identity, title, resource, s.replika.SourceNamespace())
	}
}
