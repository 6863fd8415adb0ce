package controllers

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/identity"
	"github.com/prosimcorp/replika/controllers/planner"
	"github.com/prosimcorp/replika/controllers/tracking"
)

// Client reads sources and writes copies, as one account.
type Client struct {
	objects dynamic.Interface
	writer  *executor.Executor
}

// newClients makes clients by account that share the writer's limit.
func newClients(config *rest.Config, cleaner *planner.Cleaner, limit *executor.FairSemaphore) *identity.Clients[*Client] {
	return identity.NewClients(config, func(config *rest.Config, httpClient *http.Client) (*Client, error) {
		objects, err := dynamic.NewForConfigAndClient(config, httpClient)
		if err != nil {
			return nil, err
		}
		requests, err := executor.NewClient(config, httpClient)
		if err != nil {
			return nil, err
		}
		return &Client{objects: objects, writer: executor.New(requests, cleaner, limit)}, nil
	})
}

// refuseWithoutAccount tells whether the administrator wants every Replika to have an account, and this one has none.
func (p *pass) refuseWithoutAccount() bool {
	if !p.Policy.RequireServiceAccount || p.account != identity.Operator {
		return false
	}
	p.hinder(obstacle{
		Reason: v1alpha1.ReasonServiceAccountRequired,
		Message: "spec.serviceAccountName is empty, and the administrator requires it (--require-service-account): " +
			"name a ServiceAccount of this namespace that may read the source and write the copies",
		Stalled: true,
	})
	return true
}

// send carries an action out as the one whose rights it takes: the heir's for a hand-over, so that nobody inherits what
// they might not write; else those of the Replika's account. When the Replika's namespace is being deleted, the account's
// rights may have gone first. Then the operator clears up what bears the Replika's marks.
func (p *pass) send(ctx context.Context, kind tracking.Mapping, action *planner.Action) executor.Result {
	writer := p.as.writer
	if action.Type == planner.HandOver {
		heir, err := p.clientOf(ctx, action.NewOwner)
		if err != nil {
			return executor.Result{Outcome: planner.Unavailable, Err: fmt.Errorf("act for Replika %s: %w", action.NewOwner, err)}
		}
		writer = heir.writer
	}
	result := writer.Execute(ctx, kind.Resource, p.name, action)
	if result.Outcome != planner.Forbidden || action.Desired || !p.homeless(ctx) {
		return result
	}
	operator, err := p.Clients.As(identity.Operator)
	if err != nil {
		return result
	}
	return operator.writer.Execute(ctx, kind.Resource, p.name, action)
}

// clientOf returns the client that acts for another Replika.
func (p *pass) clientOf(ctx context.Context, replika types.NamespacedName) (*Client, error) {
	other := &v1alpha1.Replika{}
	if err := p.Get(ctx, replika, other); err != nil {
		return nil, err
	}
	return p.Clients.As(identity.Of(other, p.Policy.DefaultServiceAccount))
}

// homeless tells whether the Replika acts as an account whose namespace is being deleted.
func (p *pass) homeless(ctx context.Context) bool {
	if p.account == identity.Operator || p.replika.DeletionTimestamp == nil {
		return false
	}
	home := namespaceMetadata()
	return p.Get(ctx, types.NamespacedName{Name: p.name.Namespace}, home) == nil && home.DeletionTimestamp != nil
}

// explainForbidden says who may not read the source, and what to give them.
func (p *pass) explainForbidden(kind tracking.Mapping, title string, err error) string {
	resource := kind.Resource.GroupResource()
	switch {
	case p.account == identity.Operator:
		return fmt.Sprintf("the operator may not read the %s: give it get, list, watch, create, patch and delete on %s", title, resource)
	case identity.MayNotImpersonate(err):
		return fmt.Sprintf("the operator may not act as %s: give it the verb impersonate on serviceaccounts", p.account)
	default:
		return fmt.Sprintf("%s may not read the %s: give it get on %s in namespace %s", p.account, title, resource, p.replika.SourceNamespace())
	}
}
