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
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// FaultKind is a kind of fault.
type FaultKind string

const (
	// Responded: the proxy responded itself. The API server did not receive the
	// request.
	Responded FaultKind = "responded"
	// DroppedBefore: the connection was closed before the request reached the API
	// server.
	DroppedBefore FaultKind = "dropped before"
	// DroppedAfter: the connection was closed after the API server had responded.
	DroppedAfter FaultKind = "dropped after"
	// Delayed: the request was forwarded with a delay.
	Delayed FaultKind = "delayed"
	// Hung: the connection became half-open before the request reached the API
	// server, as after an unplugged cable. All requests on the connection hang.
	Hung FaultKind = "hung"
)

// Fault is a fault to inject into a request. Proxy.Injected counts it once it is
// injected.
type Fault struct {
	kind       FaultKind
	status     int
	retryAfter int
	delay      time.Duration
	until      <-chan struct{}
}

// Respond responds with the HTTP status, and with a body like the API server's.
func Respond(status int) *Fault {
	return &Fault{kind: Responded, status: status}
}

// TooManyRequests responds with the HTTP status 429 and a Retry-After header.
func TooManyRequests(retryAfterSeconds int) *Fault {
	return &Fault{kind: Responded, status: http.StatusTooManyRequests, retryAfter: retryAfterSeconds}
}

// DropBefore closes the client's connection instead of forwarding the request.
func DropBefore() *Fault { return &Fault{kind: DroppedBefore} }

// DropAfter forwards the request, and closes the client's connection instead of
// returning the response.
func DropAfter() *Fault { return &Fault{kind: DroppedAfter} }

// Delay forwards the request after the delay.
func Delay(delay time.Duration) *Fault { return &Fault{kind: Delayed, delay: delay} }

// Hold forwards the request once the channel is closed. It counts as delayed.
func Hold(until <-chan struct{}) *Fault { return &Fault{kind: Delayed, until: until} }

// Hang makes the client's connection half-open: it transmits nothing more, and
// stays open.
func Hang() *Fault { return &Fault{kind: Hung} }

// inject injects the fault into the request.
func (p *Proxy) inject(client *connection, request Request, fault *Fault, out *http.Request) (*http.Response, error) {
	request.Fault = fault.kind
	switch fault.kind {
	case Delayed:
		if err := fault.wait(out); err != nil {
			p.add(request)
			return nil, err
		}
		p.addFault(Delayed)
		return p.forward(client, request, out)
	case DroppedAfter:
		response, err := p.forward(client, request, out)
		if err != nil {
			return nil, err
		}
		_ = response.Body.Close() // the client does not get it
		client.drop()
		p.addFault(DroppedAfter)
		return nil, errDropped
	case Responded:
		request.Status = fault.status
		p.addFault(Responded)
		p.add(request)
		return fault.response(&request, out)
	case Hung:
		client.freeze()
	default:
		client.drop()
	}
	p.addFault(fault.kind)
	p.add(request)
	return nil, errDropped
}

// wait waits for the delay, or until the channel is closed. It returns an error if
// the client cancels the request.
func (f *Fault) wait(out *http.Request) error {
	var elapsed <-chan time.Time
	if f.until == nil {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
		return nil
	case <-f.until:
		return nil
	case <-out.Context().Done():
		return out.Context().Err()
	}
}

// response returns a response with the fault's status, like the API server's.
func (f *Fault) response(request *Request, out *http.Request) (*http.Response, error) {
	resource := schema.GroupResource{Group: request.Group, Resource: request.Resource}
	status := apierrors.NewGenericServerResponse(f.status, out.Method, resource, request.Name,
		"injected by the proxy", f.retryAfter, false).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	body, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encoding a response: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if f.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	return &http.Response{
		StatusCode: f.status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: out,
	}, nil
}
