package identity

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

// caller is a client that only knows where to call.
type caller struct {
	config *rest.Config
	http   *http.Client
}

func newCallers(t *testing.T) (clients *Clients[*caller], impersonated func() []string) {
	t.Helper()
	var users []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		users = append(users, request.Header.Get("Impersonate-User"))
	}))
	t.Cleanup(server.Close)
	build := func(config *rest.Config, client *http.Client) (*caller, error) { return &caller{config, client}, nil }
	return NewClients(&rest.Config{Host: server.URL}, build), func() []string { return users }
}

func TestClientsActAsTheirAccount(t *testing.T) {
	clients, impersonated := newCallers(t)
	want := []string{"", "system:serviceaccount:team:copier", "system:serviceaccount:other:copier", ""}
	for _, account := range []Account{Operator, {"team", "copier"}, {"other", "copier"}, Operator} {
		client, err := clients.As(account)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.http.Get(client.config.Host)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	for i, got := range impersonated() {
		if got != want[i] {
			t.Errorf("request %d was made as %q, want %q", i, got, want[i])
		}
	}
}

func TestAClientIsMadeOnce(t *testing.T) {
	clients, _ := newCallers(t)
	first, _ := clients.As(Account{"team", "copier"})
	again, _ := clients.As(Account{"team", "copier"})
	other, _ := clients.As(Account{"team", "other"})
	if first != again || first == other {
		t.Errorf("got %p, then %p; of another account %p", first, again, other)
	}
}
