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
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
)

const configMaps = "/api/v1/namespaces/blue/configmaps"

// testEnv is a proxy between a client and a fake API server.
type testEnv struct {
	*Proxy
	client *http.Client
	// received gets every request that reaches the backend.
	received chan *http.Request
	// release makes the backend complete a watch's response.
	release chan struct{}
}

func newTestEnv(t *testing.T, oneWriteAtATime bool) (*WithT, *testEnv) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	e := &testEnv{received: make(chan *http.Request, 100), release: make(chan struct{})}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(e.backend))
	backend.EnableHTTP2 = true
	backend.StartTLS()
	t.Cleanup(backend.Close)

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: backend.Certificate().Raw})
	config := &rest.Config{Host: backend.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	var err error
	e.Proxy, err = Start(Options{Config: config, SerializeWrites: oneWriteAtATime})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = e.Close() })
	e.client = e.newClient(g)
	return g, e
}

// newClient returns a client with its own connection.
func (e *testEnv) newClient(g *WithT) *http.Client {
	config := e.Config()
	config.Proxy = http.ProxyURL(nil) // a config with a function gets its own transport: others are shared
	transport, err := rest.TransportFor(config)
	g.Expect(err).NotTo(HaveOccurred())
	return &http.Client{Transport: transport}
}

// backend responds with the status 200, and to a watch in two parts.
func (e *testEnv) backend(w http.ResponseWriter, r *http.Request) {
	e.received <- r
	_, _ = io.WriteString(w, "first\n")
	if r.URL.Query().Has("watch") {
		_ = http.NewResponseController(w).Flush()
		<-e.release
	}
	_, _ = io.WriteString(w, "second\n")
}

// send sends a request. The caller closes the response.
func (e *testEnv) send(ctx context.Context, method, path, body string, header ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, e.Config().Host+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "tester/1")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return e.client.Do(request)
}

// clientResponse is the response that the client gets.
type clientResponse struct {
	status, protocol int
	header           http.Header
	body             string
}

// do sends a request and reads the whole response.
func (e *testEnv) do(ctx context.Context, method, path, body string, header ...string) (clientResponse, error) {
	response, err := e.send(ctx, method, path, body, header...)
	if err != nil {
		return clientResponse{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return clientResponse{response.StatusCode, response.ProtoMajor, response.Header, string(content)}, err
}

func TestProxy_ForwardsAndRecords(t *testing.T) {
	g, e := newTestEnv(t, false)
	mark := e.Mark()
	got, err := e.do(t.Context(), http.MethodPost, configMaps, `{"metadata":{"name":"new"}}`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.body).To(Equal("first\nsecond\n"))
	g.Expect(got.protocol).To(Equal(2), "between client and proxy")

	received := <-e.received
	g.Expect(received.ProtoMajor).To(Equal(2), "between proxy and server")
	g.Expect(received.Header.Get("Authorization")).To(Equal("Bearer admin"))
	g.Expect(received.ContentLength).To(BeNumerically(">", 0), "the body is forwarded")

	requests := e.Requests(mark, Request.TookEffect)
	g.Expect(requests).To(HaveLen(1))
	requests[0].Received = time.Time{}
	g.Expect(requests[0]).To(Equal(Request{
		Verb: "create", Version: "v1", Resource: "configmaps", Namespace: "blue", Name: "new", UserAgent: "tester/1",
		URI: configMaps, Status: http.StatusOK,
	}))
	g.Expect(e.Requests(e.Mark())).To(BeEmpty())
}

func TestProxy_KeepsBearerToken(t *testing.T) {
	g, e := newTestEnv(t, false)
	_, err := e.do(t.Context(), http.MethodGet, configMaps, "", "Authorization", "Bearer client")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect((<-e.received).Header.Values("Authorization")).To(ConsistOf("Bearer client"))
}

func TestProxy_StreamsWatch(t *testing.T) {
	g, e := newTestEnv(t, false)
	response, err := e.send(t.Context(), http.MethodGet, configMaps+"?watch=true", "")
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	first := make([]byte, len("first\n"))
	_, err = io.ReadFull(response.Body, first)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(first)).To(Equal("first\n"), "before the server has completed its response")
	close(e.release)
	remainder, err := io.ReadAll(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(remainder)).To(Equal("second\n"))
}

// This is the use of OnResponse: the client is killed before it gets the response
// to a write, and none of its concurrent writes is forwarded.
func TestProxy_DropsWritesOfKilledClient(t *testing.T) {
	g, e := newTestEnv(t, true)
	closed := make(chan int, 1)
	e.OnResponse(func(Request) { closed <- e.Disconnect() })

	failures := make(chan error)
	for range 5 {
		go func() {
			_, err := e.do(t.Context(), http.MethodPost, configMaps, "{}")
			failures <- err
		}()
	}
	for range 5 {
		g.Eventually(failures).Should(Receive(HaveOccurred()))
	}
	// The five requests may have dialled more than one connection before they shared one.
	g.Expect(closed).To(Receive(BeNumerically(">=", 1)))
	g.Expect(e.received).To(HaveLen(1))
	g.Expect(e.Requests(0, Request.TookEffect)).To(HaveLen(1))

	e.OnResponse(nil)
	_, err := e.do(t.Context(), http.MethodPost, configMaps, "{}")
	g.Expect(err).NotTo(HaveOccurred(), "a new connection works")
}

func TestProxy_Intercept(t *testing.T) {
	tests := map[string]struct {
		fault        *Fault
		kind         FaultKind
		wantStatus   int // 0 for no response
		wantReceived int
	}{
		"409":            {fault: Respond(http.StatusConflict), kind: Responded, wantStatus: http.StatusConflict},
		"429":            {fault: TooManyRequests(7), kind: Responded, wantStatus: http.StatusTooManyRequests},
		"dropped before": {fault: DropBefore(), kind: DroppedBefore},
		"dropped after":  {fault: DropAfter(), kind: DroppedAfter, wantReceived: 1},
		"delayed":        {fault: Delay(time.Millisecond), kind: Delayed, wantStatus: http.StatusOK, wantReceived: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g, e := newTestEnv(t, false)
			e.Intercept(func(r Request) *Fault {
				if r.Verb == "patch" {
					return test.fault
				}
				return nil
			})
			_, err := e.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect((<-e.received).Method).To(Equal(http.MethodGet))
			g.Expect(e.Injected(test.kind)).To(Equal(0), "the fault is for patches only")

			got, err := e.do(t.Context(), http.MethodPatch, configMaps+"/one", "{}")
			if test.wantStatus == 0 {
				g.Expect(err).To(HaveOccurred())
			} else {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(got.status).To(Equal(test.wantStatus))
			}
			g.Expect(e.received).To(HaveLen(test.wantReceived))
			// A client may notice that its connection is closed before the fault is recorded.
			g.Eventually(func() int { return e.Injected(test.kind) }).Should(Equal(1))
			faulty := e.Requests(0, func(r Request) bool { return r.Fault == test.kind })
			g.Expect(faulty).To(HaveLen(1))
			g.Expect(faulty[0].TookEffect()).To(Equal(test.wantReceived == 1))
		})
	}
}

func TestProxy_Hold(t *testing.T) {
	g, e := newTestEnv(t, false)
	until, held := make(chan struct{}), make(chan struct{})
	e.Intercept(func(r Request) *Fault {
		if r.Verb == "patch" {
			close(held)
			return Hold(until)
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		_, err := e.do(t.Context(), http.MethodPatch, configMaps+"/one", "{}")
		ended <- err
	}()
	g.Eventually(held).Should(BeClosed())
	_, err := e.do(t.Context(), http.MethodGet, configMaps, "")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect((<-e.received).Method).To(Equal(http.MethodGet), "it overtakes the patch")

	close(until)
	g.Eventually(ended).Should(Receive(Succeed()))
	g.Expect((<-e.received).Method).To(Equal(http.MethodPatch))
	g.Expect(e.Injected(Delayed)).To(Equal(1))
}

func TestProxy_RespondsWithStatusObject(t *testing.T) {
	g, e := newTestEnv(t, false)
	e.Intercept(func(Request) *Fault { return TooManyRequests(7) })
	got, err := e.do(t.Context(), http.MethodPost, configMaps, "{}")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.header.Get("Retry-After")).To(Equal("7"))
	g.Expect(got.body).To(And(ContainSubstring(`"reason":"TooManyRequests"`), ContainSubstring(`"retryAfterSeconds":7`),
		ContainSubstring(`"kind":"Status"`)))
}

// On a half-open connection, clients get no error, and all requests hang.
func TestProxy_HungConnection(t *testing.T) {
	hang := map[string]func(*testing.T, *WithT, *testEnv){
		"Hang": func(t *testing.T, g *WithT, e *testEnv) {
			e.Intercept(func(Request) *Fault { return Hang() })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := e.do(ctx, http.MethodGet, configMaps, "")
				failed <- err
			}()
			g.Eventually(func() int { return e.Injected(Hung) }).Should(Equal(1))
			cancel()
			g.Eventually(failed).Should(Receive(MatchError(context.Canceled)), "no error before")
			e.Intercept(nil)
		},
		"Freeze": func(_ *testing.T, g *WithT, e *testEnv) { g.Expect(e.Freeze()).To(Equal(1)) },
	}
	for name, hang := range hang {
		t.Run(name, func(t *testing.T) {
			g, e := newTestEnv(t, false)
			_, err := e.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred())
			<-e.received
			hang(t, g, e)
			g.Expect(getWithTimeout(e)).To(MatchError(context.DeadlineExceeded))
			g.Expect(e.received).To(BeEmpty())

			e.client = e.newClient(g)
			_, err = e.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred(), "a new connection works")
		})
	}
}

// getWithTimeout sends one request with a short timeout.
func getWithTimeout(e *testEnv) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := e.do(ctx, http.MethodGet, configMaps, "")
	return err
}
