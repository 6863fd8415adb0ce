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
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

func TestIdentityOf(t *testing.T) {
	cases := map[string]struct {
		named, defaultName string
		want               identity
		wantName           string
	}{
		"operator":           {"", "", operatorIdentity, "the operator"},
		"spec":               {"copier", "", identity{"team", "copier"}, "ServiceAccount team/copier"},
		"default":            {"", "replika", identity{"team", "replika"}, "ServiceAccount team/replika"},
		"spec_overrides":     {"copier", "replika", identity{"team", "copier"}, "ServiceAccount team/copier"},
		"default_in_own_ns":  {"", "admin", identity{"team", "admin"}, "ServiceAccount team/admin"},
		"spec_is_namespaced": {"system", "", identity{"team", "system"}, "ServiceAccount team/system"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			replika := &v1alpha1.Replika{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "sync"},
				Spec:       v1alpha1.ReplikaSpec{ServiceAccountName: tc.named},
			}
			if got := identityOf(replika, tc.defaultName); got != tc.want || got.String() != tc.wantName {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func newTestClients(t *testing.T) (clients *Clients, users func() []string) {
	t.Helper()
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		seen = append(seen, request.Header.Get("Impersonate-User"))
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	return newClients(config, planner.NewCleaner(), executor.NewFairSemaphore(1, 0)), func() []string { return seen }
}

func TestClients_Impersonate(t *testing.T) {
	clients, users := newTestClients(t)
	for _, as := range []identity{operatorIdentity, {"team", "copier"}, {"other", "copier"}, operatorIdentity} {
		config, httpClient, err := clients.impersonate(as)
		if err != nil {
			t.Fatal(err)
		}
		response, err := httpClient.Get(config.Host)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	want := []string{"", "system:serviceaccount:team:copier", "system:serviceaccount:other:copier", ""}
	if diff := cmp.Diff(want, users()); diff != "" {
		t.Errorf("impersonated users (-want +got):\n%s", diff)
	}
}

func TestClients_ClientForIsCached(t *testing.T) {
	clients, _ := newTestClients(t)
	first, _ := clients.clientFor(identity{"team", "copier"})
	again, _ := clients.clientFor(identity{"team", "copier"})
	other, _ := clients.clientFor(identity{"team", "other"})
	if first == nil || first != again || first == other {
		t.Errorf("got %p, then %p; %p for another ServiceAccount", first, again, other)
	}
}
