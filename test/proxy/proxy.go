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

// Package proxy is a reverse proxy between the operator and the API server. It
// records every request, and injects faults of networks and servers. It uses TLS
// and HTTP/2 on both sides, as the operator does without it: many requests share
// a connection, and fail with it.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

// Options configure a proxy.
type Options struct {
	// Config is the access to the API server. Its credentials are added to requests
	// that have no token.
	Config *rest.Config
	// SerializeWrites forwards a write only after the response to the previous
	// write, and after OnResponse's function has returned. So "after the k-th
	// write" is well defined although the operator writes in parallel.
	SerializeWrites bool
}

// Proxy is a running proxy.
type Proxy struct {
	server   *http.Server
	listener *listener
	upstream *url.URL
	ca       []byte
	// withCredentials adds the credentials of Options.Config.
	withCredentials, withoutCredentials http.RoundTripper
	serializeWrites                     bool
	writeMu                             sync.Mutex // with SerializeWrites: held while a write is forwarded

	record

	hooksMu    sync.Mutex
	intercept  func(Request) *Fault
	onResponse func(Request)
}

// errDropped is the result of a request whose client must get no response.
var errDropped = errors.New("the proxy dropped the request")

// Start starts a proxy on a free port of the loopback interface.
func Start(o Options) (*Proxy, error) {
	p := &Proxy{serializeWrites: o.SerializeWrites}
	var err error
	if p.upstream, _, err = rest.DefaultServerUrlFor(o.Config); err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	if p.withCredentials, err = rest.TransportFor(o.Config); err != nil {
		return nil, fmt.Errorf("creating the transport to the API server: %w", err)
	}
	if p.withoutCredentials, err = rest.TransportFor(rest.AnonymousClientConfig(o.Config)); err != nil {
		return nil, fmt.Errorf("creating the transport without credentials: %w", err)
	}
	if err := p.serve(); err != nil {
		return nil, fmt.Errorf("starting the proxy: %w", err)
	}
	return p, nil
}

func (p *Proxy) serve() error {
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.ca, p.listener = certificate, &listener{Listener: inner, open: map[*connection]struct{}{}}
	silent := log.New(io.Discard, "", 0) // broken connections are expected here
	p.server = &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(p.upstream) },
			Transport:     roundTripper(p.exchange),
			FlushInterval: -1, // forward each event of a watch at once
			ErrorLog:      silent,
			// An error of the connection to the API server breaks the client's connection, as it does without a proxy.
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ConnContext: withConnection,
		ErrorLog:    silent,
	}
	go func() { _ = p.server.ServeTLS(p.listener, "", "") }() // until the server is closed
	return nil
}

// Config returns the access to the API server through the proxy. It has no
// credentials, because the proxy adds them.
func (p *Proxy) Config() *rest.Config {
	return &rest.Config{
		Host:            "https://" + p.listener.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{CAData: p.ca},
		QPS:             -1,
	}
}

// Close closes the proxy and all its connections.
func (p *Proxy) Close() error {
	p.Disconnect()
	return p.server.Close()
}

// Intercept sets the function that selects the fault of each request before it is
// forwarded; nil for none. Requests call it concurrently.
func (p *Proxy) Intercept(intercept func(Request) *Fault) {
	p.hooksMu.Lock()
	defer p.hooksMu.Unlock()
	p.intercept = intercept
}

// OnResponse sets the function that is called after each response to a write,
// whatever its status, and before any of the response reaches the client: the
// write took effect, but the client does not know it yet. Nil for none.
func (p *Proxy) OnResponse(onResponse func(Request)) {
	p.hooksMu.Lock()
	defer p.hooksMu.Unlock()
	p.onResponse = onResponse
}

// Quiesce waits until no write is in progress: all writes that took effect are
// recorded, and OnResponse's function has returned. It requires
// Options.SerializeWrites, and OnResponse's function must not call it.
func (p *Proxy) Quiesce() {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
}

// Disconnect closes all connections of clients, and returns their number. No
// request from these connections is forwarded any more, not even one that the
// proxy has read already, so a killed client has no effect afterwards.
func (p *Proxy) Disconnect() int {
	connections := p.listener.connections()
	for _, c := range connections {
		c.drop()
	}
	return len(connections)
}

// Freeze makes all current connections of clients half-open, and returns their
// number: they transmit nothing in either direction, not even a close. New
// connections work.
func (p *Proxy) Freeze() int {
	connections := p.listener.connections()
	for _, c := range connections {
		c.freeze()
	}
	return len(connections)
}

func (p *Proxy) hooks() (func(Request) *Fault, func(Request)) {
	p.hooksMu.Lock()
	defer p.hooksMu.Unlock()
	return p.intercept, p.onResponse
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// exchange forwards one request, with the fault that Intercept's function selects.
func (p *Proxy) exchange(out *http.Request) (*http.Response, error) {
	request, err := describe(out)
	if err != nil {
		return nil, err
	}
	client := connectionOf(out.Context())
	if client.isDropped() {
		return nil, errDropped
	}
	var fault *Fault
	if intercept, _ := p.hooks(); intercept != nil {
		fault = intercept(request)
	}
	if fault == nil {
		return p.forward(client, request, out)
	}
	return p.inject(client, request, fault, out)
}

// forward forwards the request, and records it when its response starts.
func (p *Proxy) forward(client *connection, request Request, out *http.Request) (*http.Response, error) {
	if request.Writes() {
		return p.forwardWrite(client, request, out)
	}
	response, err := p.transport(out).RoundTrip(out)
	if err == nil {
		request.Status = response.StatusCode
	}
	p.add(request)
	return response, err
}

// forwardWrite forwards a write. It waits for the response even if the client
// cancels the request, so that the record shows which writes took effect.
func (p *Proxy) forwardWrite(client *connection, request Request, out *http.Request) (*http.Response, error) {
	if p.serializeWrites {
		p.writeMu.Lock()
		defer p.writeMu.Unlock()
	}
	if client.isDropped() {
		return nil, errDropped
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(out.Context()), writeTimeout)
	defer cancel()
	response, err := p.transport(out).RoundTrip(out.WithContext(ctx))
	if err == nil {
		request.Status = response.StatusCode
		err = keepBody(response)
	}
	p.add(request)
	if err != nil {
		return nil, err
	}
	if _, onResponse := p.hooks(); onResponse != nil {
		onResponse(request)
	}
	return response, nil
}

// transport returns the transport for a request. A request with a token gets no
// other credentials: the API server prefers a client certificate to a token.
func (p *Proxy) transport(out *http.Request) http.RoundTripper {
	if out.Header.Get("Authorization") != "" {
		return p.withoutCredentials
	}
	return p.withCredentials
}

// record is the record of requests and injected faults.
type record struct {
	mu       sync.Mutex
	requests []Request
	faults   map[FaultKind]int
}

func (r *record) add(request Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request)
}

func (r *record) addFault(kind FaultKind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults == nil {
		r.faults = map[FaultKind]int{}
	}
	r.faults[kind]++
}

// Mark returns the position in the record where the next request will be.
func (r *record) Mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// Requests returns the requests since the mark that all filters select. A request
// is recorded when its response starts, or when it fails.
func (r *record) Requests(since int, keep ...func(Request) bool) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.requests[since:]), func(request Request) bool {
		return slices.ContainsFunc(keep, func(keep func(Request) bool) bool { return !keep(request) })
	})
}

// Injected returns how many faults of the kind were injected, so that a test can
// check that its fault happened.
func (r *record) Injected(kind FaultKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults[kind]
}
