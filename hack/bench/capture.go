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

// rawRequest is one HTTP request to the API server.
type rawRequest struct {
	method, path string
	header       http.Header
	body         []byte
}

// captureTransport is an http.RoundTripper that keeps each request instead of sending it.
type captureTransport struct {
	requests []rawRequest
	// response is the body of the response: what the API server would store. With another one, the operator would send further requests.
	response []byte
}

// captureRequests returns the requests that the operator sends for the actions. The operator's own executor builds them.
func captureRequests(ctx context.Context, cleaner *planner.Cleaner, actions []planner.Action) ([]rawRequest, error) {
	transport := &captureTransport{}
	client, err := executor.NewClient(&rest.Config{Host: "http://capture"}, &http.Client{Transport: transport})
	if err != nil {
		return nil, err
	}
	exec := executor.New(client, cleaner, executor.NewFairSemaphore(1, 0))
	for i := range actions {
		if transport.response, err = actions[i].Template.Render(actions[i].Namespace); err != nil {
			return nil, err
		}
		result := exec.Execute(ctx, corev1.SchemeGroupVersion.WithResource("configmaps"), types.NamespacedName{}, &actions[i])
		if result.Err != nil {
			return nil, result.Err
		}
		if len(transport.requests) != i+1 {
			return nil, fmt.Errorf("the operator sends %d requests for %d copies", len(transport.requests), i+1)
		}
	}
	return transport.requests, nil
}

// RoundTrip implements http.RoundTripper.
func (t *captureTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	t.requests = append(t.requests, rawRequest{
		method: request.Method, path: request.URL.RequestURI(), header: request.Header.Clone(), body: body,
	})
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(t.response)),
		Request:    request,
	}, nil
}
