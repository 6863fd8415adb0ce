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

// FaultKind is what goes wrong.
type FaultKind string

const (
	// Answered: the proxy answered in the API server's place, which never heard of
	// the request.
	Responded FaultKind = "answered"
	// DroppedBefore: the connection was closed before the request reached the API
	// server.
	DroppedBefore FaultKind = "dropped before"
	// DroppedAfter: the connection was closed when the API server had answered.
	DroppedAfter FaultKind = "dropped after"
	// Delayed: the request was passed on late.
	Delayed FaultKind = "delayed"
	// Hung: the connection went half-open before the request reached the API
	// server, as if a cable was pulled. What shares the connection hangs too.
	Hung FaultKind = "hung"
)

// Fault is what to do to a request. Its kind is counted, see Proxy.Injected,
// when it has happened.
type Fault struct {
	kind       FaultKind
	status     int
	retryAfter int
	delay      time.Duration
}

// Answer answers with the status, in the form that the API server gives to it.
func Respond(status int) *Fault {
	return &Fault{kind: Responded, status: status}
}

// TooManyRequests answers 429, and tells to come again after so many seconds.
func TooManyRequests(retryAfterSeconds int) *Fault {
	return &Fault{kind: Responded, status: http.StatusTooManyRequests, retryAfter: retryAfterSeconds}
}

// DropBefore closes the client's connection instead of passing the request on.
func DropBefore() *Fault { return &Fault{kind: DroppedBefore} }

// DropAfter passes the request on, and closes the client's connection instead
// of passing the answer back.
func DropAfter() *Fault { return &Fault{kind: DroppedAfter} }

// Delay passes the request on after so long.
func Delay(delay time.Duration) *Fault { return &Fault{kind: Delayed, delay: delay} }

// Hang lets nothing more through the client's connection, and does not say so.
func Hang() *Fault { return &Fault{kind: Hung} }

// inject does to the request what the fault says.
func (p *Proxy) inject(client *connection, request Request, fault *Fault, out *http.Request) (*http.Response, error) {
	request.Fault = fault.kind
	switch fault.kind {
	case Delayed:
		if err := wait(out, fault.delay); err != nil {
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
		_ = response.Body.Close() // nobody will read it
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

// pause waits, unless the client hangs up first.
func wait(out *http.Request, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-out.Context().Done():
		return out.Context().Err()
	}
}

// answer is the API server's answer of that status.
func (f *Fault) response(request *Request, out *http.Request) (*http.Response, error) {
	resource := schema.GroupResource{Group: request.Group, Resource: request.Resource}
	status := apierrors.NewGenericServerResponse(f.status, out.Method, resource, request.Name,
		"injected by the proxy", f.retryAfter, false).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	body, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("make up an answer: %w", err)
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
