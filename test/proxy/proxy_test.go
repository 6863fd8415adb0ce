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

// stand is a proxy between a client and a backend that stands for the API
// server.
type testEnv struct {
	*Proxy
	client *http.Client
	// arrived gets every request that the backend sees.
	received chan *http.Request
	// release lets the backend end a watch's answer.
	release chan struct{}
}

func newTestEnv(t *testing.T, oneWriteAtATime bool) (*WithT, *testEnv) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(20 * time.Second)
	s := &testEnv{received: make(chan *http.Request, 100), release: make(chan struct{})}
	backend := httptest.NewUnstartedServer(http.HandlerFunc(s.backend))
	backend.EnableHTTP2 = true
	backend.StartTLS()
	t.Cleanup(backend.Close)

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: backend.Certificate().Raw})
	config := &rest.Config{Host: backend.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	var err error
	s.Proxy, err = Start(Options{Config: config, SerializeWrites: oneWriteAtATime})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = s.Close() })
	s.client = s.newClient(g)
	return g, s
}

// newClient returns a client with a connection of its own.
func (s *testEnv) newClient(g *WithT) *http.Client {
	config := s.Config()
	config.Proxy = http.ProxyURL(nil) // a transport of its own: those without are shared
	transport, err := rest.TransportFor(config)
	g.Expect(err).NotTo(HaveOccurred())
	return &http.Client{Transport: transport}
}

// backend answers 200, and a watch in two halves.
func (s *testEnv) backend(w http.ResponseWriter, r *http.Request) {
	s.received <- r
	_, _ = io.WriteString(w, "first\n")
	if r.URL.Query().Has("watch") {
		_ = http.NewResponseController(w).Flush()
		<-s.release
	}
	_, _ = io.WriteString(w, "second\n")
}

// send sends a request; who calls it closes the answer.
func (s *testEnv) send(ctx context.Context, method, path, body string, header ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.Config().Host+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "tester/1")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return s.client.Do(request)
}

// answer is what the client gets.
type clientResponse struct {
	status, protocol int
	header           http.Header
	body             string
}

// do sends a request and reads the whole answer.
func (s *testEnv) do(ctx context.Context, method, path, body string, header ...string) (clientResponse, error) {
	response, err := s.send(ctx, method, path, body, header...)
	if err != nil {
		return clientResponse{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return clientResponse{response.StatusCode, response.ProtoMajor, response.Header, string(content)}, err
}

func TestProxy_ForwardsAndRecords(t *testing.T) {
	g, s := newTestEnv(t, false)
	mark := s.Mark()
	got, err := s.do(t.Context(), http.MethodPost, configMaps, `{"metadata":{"name":"made"}}`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.body).To(Equal("first\nsecond\n"))
	g.Expect(got.protocol).To(Equal(2), "between client and proxy")

	arrived := <-s.received
	g.Expect(arrived.ProtoMajor).To(Equal(2), "between proxy and server")
	g.Expect(arrived.Header.Get("Authorization")).To(Equal("Bearer admin"))
	g.Expect(arrived.ContentLength).To(BeNumerically(">", 0), "the body was put back")

	requests := s.Requests(mark, Request.TookEffect)
	g.Expect(requests).To(HaveLen(1))
	requests[0].Received = time.Time{}
	g.Expect(requests[0]).To(Equal(Request{
		Verb: "create", Version: "v1", Resource: "configmaps", Namespace: "blue", Name: "made", UserAgent: "tester/1",
		URI: configMaps, Status: http.StatusOK,
	}))
	g.Expect(s.Requests(s.Mark())).To(BeEmpty())
}

func TestProxy_KeepsBearerToken(t *testing.T) {
	g, s := newTestEnv(t, false)
	_, err := s.do(t.Context(), http.MethodGet, configMaps, "", "Authorization", "Bearer mine")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect((<-s.received).Header.Values("Authorization")).To(ConsistOf("Bearer mine"))
}

func TestProxy_StreamsWatch(t *testing.T) {
	g, s := newTestEnv(t, false)
	response, err := s.send(t.Context(), http.MethodGet, configMaps+"?watch=true", "")
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	first := make([]byte, len("first\n"))
	_, err = io.ReadFull(response.Body, first)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(first)).To(Equal("first\n"), "while the server has not ended its answer")
	close(s.release)
	remainder, err := io.ReadAll(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(remainder)).To(Equal("second\n"))
}

// What OnAnswer is for: the client dies between the server's answer and its
// arrival, and of what it sent at the same time nothing goes on.
func TestProxy_DropsWritesOfKilledClient(t *testing.T) {
	g, s := newTestEnv(t, true)
	closed := make(chan int, 1)
	s.OnResponse(func(Request) { closed <- s.Disconnect() })

	failures := make(chan error)
	for range 5 {
		go func() {
			_, err := s.do(t.Context(), http.MethodPost, configMaps, "{}")
			failures <- err
		}()
	}
	for range 5 {
		g.Eventually(failures).Should(Receive(HaveOccurred()))
	}
	// The five may have dialled more than one connection before they shared it.
	g.Expect(closed).To(Receive(BeNumerically(">=", 1)))
	g.Expect(s.received).To(HaveLen(1))
	g.Expect(s.Requests(0, Request.TookEffect)).To(HaveLen(1))

	s.OnResponse(nil)
	_, err := s.do(t.Context(), http.MethodPost, configMaps, "{}")
	g.Expect(err).NotTo(HaveOccurred(), "a new connection works")
}

func TestProxy_Intercept(t *testing.T) {
	tests := map[string]struct {
		fault       *Fault
		kind        FaultKind
		wantStatus  int // 0: no answer
		wantArrived int
	}{
		"conflict":       {fault: Respond(http.StatusConflict), kind: Responded, wantStatus: http.StatusConflict},
		"slow down":      {fault: TooManyRequests(7), kind: Responded, wantStatus: http.StatusTooManyRequests},
		"dropped before": {fault: DropBefore(), kind: DroppedBefore},
		"dropped after":  {fault: DropAfter(), kind: DroppedAfter, wantArrived: 1},
		"delayed":        {fault: Delay(time.Millisecond), kind: Delayed, wantStatus: http.StatusOK, wantArrived: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g, s := newTestEnv(t, false)
			s.Intercept(func(r Request) *Fault {
				if r.Verb == "patch" {
					return test.fault
				}
				return nil
			})
			_, err := s.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect((<-s.received).Method).To(Equal(http.MethodGet))
			g.Expect(s.Injected(test.kind)).To(Equal(0), "a get is none of the fault's")

			got, err := s.do(t.Context(), http.MethodPatch, configMaps+"/one", "{}")
			if test.wantStatus == 0 {
				g.Expect(err).To(HaveOccurred())
			} else {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(got.status).To(Equal(test.wantStatus))
			}
			g.Expect(s.received).To(HaveLen(test.wantArrived))
			// A client whose connection is cut may know sooner than the record.
			g.Eventually(func() int { return s.Injected(test.kind) }).Should(Equal(1))
			faulty := s.Requests(0, func(r Request) bool { return r.Fault == test.kind })
			g.Expect(faulty).To(HaveLen(1))
			g.Expect(faulty[0].TookEffect()).To(Equal(test.wantArrived == 1))
		})
	}
}

func TestProxy_RespondsWithStatusObject(t *testing.T) {
	g, s := newTestEnv(t, false)
	s.Intercept(func(Request) *Fault { return TooManyRequests(7) })
	got, err := s.do(t.Context(), http.MethodPost, configMaps, "{}")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.header.Get("Retry-After")).To(Equal("7"))
	g.Expect(got.body).To(And(ContainSubstring(`"reason":"TooManyRequests"`), ContainSubstring(`"retryAfterSeconds":7`),
		ContainSubstring(`"kind":"Status"`)))
}

// Half-open is worse than closed: nobody is told, and what shares the
// connection hangs too.
func TestProxy_HungConnection(t *testing.T) {
	hang := map[string]func(*WithT, *testEnv){
		"by a request": func(g *WithT, s *testEnv) {
			s.Intercept(func(Request) *Fault { return Hang() })
			g.Expect(getWithTimeout(s)).To(MatchError(context.DeadlineExceeded))
			g.Expect(s.Injected(Hung)).To(Equal(1))
			s.Intercept(nil)
		},
		"all of them": func(g *WithT, s *testEnv) { g.Expect(s.Freeze()).To(Equal(1)) },
	}
	for name, hang := range hang {
		t.Run(name, func(t *testing.T) {
			g, s := newTestEnv(t, false)
			_, err := s.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred())
			<-s.received
			hang(g, s)
			g.Expect(getWithTimeout(s)).To(MatchError(context.DeadlineExceeded))
			g.Expect(s.received).To(BeEmpty())

			s.client = s.newClient(g)
			_, err = s.do(t.Context(), http.MethodGet, configMaps, "")
			g.Expect(err).NotTo(HaveOccurred(), "a new connection works")
		})
	}
}

// impatient asks once, and not for long.
func getWithTimeout(s *testEnv) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := s.do(ctx, http.MethodGet, configMaps, "")
	return err
}
