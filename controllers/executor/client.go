package executor

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// NewClient returns a client for raw requests to any resource. It has no rate limit of its own: how much is too much, the
// API server's priority and fairness decides, and a 429 with Retry-After is obeyed.
func NewClient(config *rest.Config, httpClient *http.Client) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.GroupVersion = &schema.GroupVersion{}
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.ContentType = "application/json"
	// A warning of the API server would be logged once for each copy.
	config.WarningHandler = rest.NoWarnings{}
	client, err := rest.UnversionedRESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make the client that writes copies: %w", err)
	}
	return client, nil
}
