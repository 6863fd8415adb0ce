package identity

import (
	"fmt"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/utils/lru"
)

// mostClients bounds how many clients are kept. One that is needed again is made again, which costs no request: all share
// the operator's connection.
const mostClients = 1000

// Clients hands out clients by account, each made once.
type Clients[Client any] struct {
	config *rest.Config
	build  func(*rest.Config, *http.Client) (Client, error)
	made   *lru.Cache
}

// NewClients returns clients of the operator's access. build makes one of the access that it is given.
func NewClients[Client any](config *rest.Config, build func(*rest.Config, *http.Client) (Client, error)) *Clients[Client] {
	return &Clients[Client]{config: config, build: build, made: lru.New(mostClients)}
}

// As returns the client that acts as the account.
func (c *Clients[Client]) As(account Account) (Client, error) {
	if known, found := c.made.Get(account); found {
		return known.(Client), nil
	}
	client, err := c.make(account)
	if err != nil {
		return client, fmt.Errorf("make the client that acts as %s: %w", account, err)
	}
	c.made.Add(account, client)
	return client, nil
}

func (c *Clients[Client]) make(account Account) (Client, error) {
	config := rest.CopyConfig(c.config)
	if account != Operator {
		config.Impersonate = account.impersonation()
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		var none Client
		return none, err
	}
	return c.build(config, httpClient)
}
