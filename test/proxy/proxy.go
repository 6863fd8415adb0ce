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

// Package proxy stands between the operator and the API server: it records
// every request, and does to it what networks and servers do on a bad day. It
// speaks TLS and HTTP/2 on both sides, because that is what the operator's
// watches live on: many requests share a connection, and fall with it.
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

// Options say what the proxy stands in front of.
type Options struct {
	// Config is the API server, and whose credentials the requests get that bring
	// no token of their own.
	Config *rest.Config
	// OneWriteAtATime lets a write through only when the one before was answered
	// and OnAnswer's function has returned, so that "after the k-th write" means
	// something although the operator writes in parallel.
	SerializeWrites bool
}

// Proxy is a running proxy.
type Proxy struct {
	server   *http.Server
	listener *listener
	upstream *url.URL
	ca       []byte
	// withCredentials adds those of Options.Config, asIs adds nothing.
	withCredentials, withoutCredentials http.RoundTripper
	serializeWrites       bool
	writeMu               sync.Mutex // held from a write's departure until its answer was dealt with

	record

	hooksMu   sync.Mutex
	intercept func(Request) *Fault
	onResponse  func(Request)
}

// errDropped ends a request whose client must get no answer.
var errDropped = errors.New("the proxy dropped the request")

// Start starts a proxy on a free port of the loopback interface.
func Start(o Options) (*Proxy, error) {
	p := &Proxy{serializeWrites: o.SerializeWrites}
	var err error
	if p.upstream, _, err = rest.DefaultServerUrlFor(o.Config); err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	if p.withCredentials, err = rest.TransportFor(o.Config); err != nil {
		return nil, fmt.Errorf("make the transport to the API server: %w", err)
	}
	if p.withoutCredentials, err = rest.TransportFor(rest.AnonymousClientConfig(o.Config)); err != nil {
		return nil, fmt.Errorf("make the transport without credentials: %w", err)
	}
	if err := p.serve(); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
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
	silent := log.New(io.Discard, "", 0) // broken connections are this package's trade
	p.server = &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(p.upstream) },
			Transport:     roundTripper(p.exchange),
			FlushInterval: -1, // a watch's events are passed on one by one
			ErrorLog:      silent,
			// Whatever went wrong behind us looks like a broken connection, as it would without us.
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ConnContext: withConnection,
		ErrorLog:    silent,
	}
	go func() { _ = p.server.ServeTLS(p.listener, "", "") }() // returns when the server is closed
	return nil
}

// Config is the way to the API server through the proxy. It holds no
// credentials: the proxy adds them.
func (p *Proxy) Config() *rest.Config {
	return &rest.Config{
		Host:            "https://" + p.listener.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{CAData: p.ca},
		QPS:             -1,
	}
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	p.Disconnect()
	return p.server.Close()
}

// Intercept has the function asked about each request before it is passed on;
// nil for none. It is called by many goroutines at once.
func (p *Proxy) Intercept(intercept func(Request) *Fault) {
	p.hooksMu.Lock()
	defer p.hooksMu.Unlock()
	p.intercept = intercept
}

// OnAnswer has the function called each time the API server has answered a
// write, with whatever status, and before any of the answer reaches the client:
// the write took effect, and the client does not know yet. Nil for none.
func (p *Proxy) OnResponse(onAnswer func(Request)) {
	p.hooksMu.Lock()
	defer p.hooksMu.Unlock()
	p.onResponse = onAnswer
}

// Quiesce returns when no write is under way: all that took effect are recorded,
// and OnAnswer's function was called for them. It means that only with
// Options.OneWriteAtATime, and must not be called by that function.
func (p *Proxy) Quiesce() {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
}

// Disconnect closes all connections of clients, and tells how many there were.
// No request that came over one of them is passed on any more, not even one
// that was read already: once the client is dead, nothing of it goes on.
func (p *Proxy) Disconnect() int {
	connections := p.listener.connections()
	for _, c := range connections {
		c.drop()
	}
	return len(connections)
}

// Freeze makes all present connections of clients half-open, and tells how many
// there were: nothing goes through them in either direction, not even the end,
// and nobody is told. New connections work.
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

// exchange is the way of one request: what is to go wrong with it does.
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

// forward passes the request on and records it when its answer begins.
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

// forwardWrite passes a write on. One that has left is brought to its end
// whoever hangs up meanwhile, so that what is recorded is what took effect.
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
	if _, onAnswer := p.hooks(); onAnswer != nil {
		onAnswer(request)
	}
	return response, nil
}

// transport leaves a request that brings a token alone: the API server would
// look at the certificate first, and never at the token.
func (p *Proxy) transport(out *http.Request) http.RoundTripper {
	if out.Header.Get("Authorization") != "" {
		return p.withoutCredentials
	}
	return p.withCredentials
}

// record is what the proxy saw and did.
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

// Mark is the place in the record where the next request will be.
func (r *record) Mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// Requests returns what was recorded since the mark, as far as all filters
// pick it. A request is recorded when its answer begins, or when it failed.
func (r *record) Requests(since int, keep ...func(Request) bool) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.requests[since:]), func(request Request) bool {
		return slices.ContainsFunc(keep, func(keep func(Request) bool) bool { return !keep(request) })
	})
}

// Injected tells how many faults of the kind were injected so far: a test of a
// fault that never happened tests nothing.
func (r *record) Injected(kind FaultKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults[kind]
}
