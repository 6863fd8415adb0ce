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

package proxy

import (
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

func TestDescribe(t *testing.T) {
	tests := map[string]struct {
		method, target, body string
		want                 Request
		wantWrites           bool
	}{
		"list in a namespace": {
			method: "GET", target: "/api/v1/namespaces/blue/secrets?limit=5",
			want: Request{Verb: "list", Version: "v1", Resource: "secrets", Namespace: "blue"},
		},
		"list in all namespaces, with a group": {
			method: "GET", target: "/apis/apps/v1/deployments",
			want: Request{Verb: "list", Group: "apps", Version: "v1", Resource: "deployments"},
		},
		"watch": {
			method: "GET", target: "/api/v1/secrets?watch=true",
			want: Request{Verb: "watch", Version: "v1", Resource: "secrets"},
		},
		"get a namespace": {
			method: "GET", target: "/api/v1/namespaces/blue",
			want: Request{Verb: "get", Version: "v1", Resource: "namespaces", Namespace: "blue", Name: "blue"},
		},
		"finalize a namespace": {
			method: "PUT", target: "/api/v1/namespaces/blue/finalize", wantWrites: true,
			want: Request{Verb: "update", Version: "v1", Resource: "namespaces", Namespace: "blue", Name: "blue", Subresource: "finalize"},
		},
		"patch the status of a custom resource": {
			method: "PATCH", target: "/apis/example.com/v1beta1/namespaces/blue/widgets/one/status", wantWrites: true,
			want: Request{
				Verb: "patch", Group: "example.com", Version: "v1beta1", Resource: "widgets", Namespace: "blue", Name: "one",
				Subresource: "status",
			},
		},
		"create": {
			method: "POST", target: "/api/v1/namespaces/blue/secrets", body: `{"metadata":{"name":"one"}}`, wantWrites: true,
			want: Request{Verb: "create", Version: "v1", Resource: "secrets", Namespace: "blue", Name: "one"},
		},
		"dry-run create": {
			method: "POST", target: "/api/v1/namespaces/blue/secrets?dryRun=All", body: "\x00protobuf",
			want: Request{Verb: "create", Version: "v1", Resource: "secrets", Namespace: "blue", DryRun: true},
		},
		"delete": {
			method: "DELETE", target: "/api/v1/namespaces/blue/secrets/one", body: `{"kind":"DeleteOptions"}`, wantWrites: true,
			want: Request{Verb: "delete", Version: "v1", Resource: "secrets", Namespace: "blue", Name: "one"},
		},
		"dry-run delete": {
			method: "DELETE", target: "/api/v1/namespaces/blue/secrets/one", body: `{"dryRun":["All"]}`,
			want: Request{Verb: "delete", Version: "v1", Resource: "secrets", Namespace: "blue", Name: "one", DryRun: true},
		},
		"delete a collection": {
			method: "DELETE", target: "/api/v1/namespaces/blue/secrets", wantWrites: true,
			want: Request{Verb: "deletecollection", Version: "v1", Resource: "secrets", Namespace: "blue"},
		},
		"discovery": {method: "GET", target: "/apis/apps/v1", want: Request{Verb: "get"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, err := describe(httptest.NewRequest(test.method, test.target, strings.NewReader(test.body)))
			g.Expect(err).NotTo(HaveOccurred())
			test.want.URI, test.want.Received = test.target, got.Received
			g.Expect(got).To(Equal(test.want))
			g.Expect(got.Writes()).To(Equal(test.wantWrites))
		})
	}
}
