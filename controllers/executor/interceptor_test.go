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

package executor_test

import (
	"net/http"
	"slices"
	"sync"
)

// interceptor is a transport that records the requests to the API server. A spec can act before a request, or return a
// response in place of the API server.
type interceptor struct {
	transport http.RoundTripper
	// intercept, if set, handles each request. The number counts the requests, from 1.
	intercept func(number int, request *http.Request) (*http.Response, error)

	mu sync.Mutex
	// sent contains the method of each request, with "dry run" if it is one.
	sent []string
}

// RoundTrip implements http.RoundTripper.
func (i *interceptor) RoundTrip(request *http.Request) (*http.Response, error) {
	i.mu.Lock()
	description := request.Method
	if request.URL.Query().Has("dryRun") {
		description += " dry run"
	}
	i.sent = append(i.sent, description)
	number, intercept := len(i.sent), i.intercept
	i.mu.Unlock()
	if intercept != nil {
		return intercept(number, request)
	}
	return i.transport.RoundTrip(request)
}

// before calls the function before the request of that number is sent.
func (i *interceptor) before(number int, call func()) {
	i.intercept = func(current int, request *http.Request) (*http.Response, error) {
		if current == number {
			call()
		}
		return i.transport.RoundTrip(request)
	}
}

func (i *interceptor) reset() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sent = nil
}

// requests returns the requests of the last action.
func (i *interceptor) requests() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.sent)
}
