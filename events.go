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
	"net/http"
	"strings"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/rest"
)

// maxConcurrentEvents is the maximum number of requests about events at a time.
const maxConcurrentEvents = 4

// limitEvents lets the clients of the configuration send few events at a time. client-go sends every event at once. Those of a thousand
// Replikas could fill the queues that API Priority and Fairness has for the operator, and then the renewal of the Lease would be rejected.
func limitEvents(config *rest.Config) {
	permits := make(chan struct{}, maxConcurrentEvents)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &eventLimiter{next, permits} })
}

// eventLimiter sends a request about events when it has a permit, and every other request at once.
type eventLimiter struct {
	next    http.RoundTripper
	permits chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (l *eventLimiter) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.Contains(request.URL.Path, "/apis/"+eventsv1.GroupName+"/") {
		return l.next.RoundTrip(request)
	}
	select {
	case l.permits <- struct{}{}:
		defer func() { <-l.permits }()
		return l.next.RoundTrip(request)
	case <-request.Context().Done():
		if request.Body != nil {
			_ = request.Body.Close() // as the interface demands
		}
		return nil, request.Context().Err()
	}
}
