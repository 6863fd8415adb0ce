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

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	corev1 "k8s.io/api/core/v1"

	"github.com/prosimcorp/replika/controllers/executor"
	"github.com/prosimcorp/replika/controllers/planner"
)

// rawRequest is what goes to the API server.
type rawRequest struct {
	method, path string
	header       http.Header
	body         []byte
}

// recorder stands in for an API server: it keeps each request, sends nothing, and answers something.
type recorder struct {
	requests []rawRequest
}

// recordRequests makes the requests that the operator sends for the actions, by asking the operator's own writer.
func recordRequests(ctx context.Context, cleaner *planner.Cleaner, actions []planner.Action) ([]rawRequest, error) {
	recorder := &recorder{}
	client, err := executor.NewClient(&rest.Config{Host: "http://recorder"}, &http.Client{Transport: recorder})
	if err != nil {
		return nil, err
	}
	writer := executor.NewWriter(client, cleaner, executor.NewLimit(1))
	for i := range actions {
		result := writer.Do(ctx, corev1.SchemeGroupVersion.WithResource("configmaps"), types.NamespacedName{}, &actions[i])
		if result.Err != nil {
			return nil, result.Err
		}
		if len(recorder.requests) != i+1 {
			return nil, fmt.Errorf("the operator sends %d requests for %d copies", len(recorder.requests), i+1)
		}
	}
	return recorder.requests, nil
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(sent *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(sent.Body)
	if err != nil {
		return nil, err
	}
	r.requests = append(r.requests, rawRequest{method: sent.Method, path: sent.URL.RequestURI(), header: sent.Header.Clone(), body: body})
	const answer = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}`
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader([]byte(answer))),
		Request:    sent,
	}, nil
}
