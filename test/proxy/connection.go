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
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
)

// listener keeps the open connections of clients.
type listener struct {
	net.Listener
	mu   sync.Mutex
	open map[*connection]struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: inner, listener: l, frozen: make(chan struct{}), closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
}

func (l *listener) connections() []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.open))
}

// connection is a client's connection below TLS, so that faults also affect
// HTTP/2 pings.
type connection struct {
	net.Conn
	listener              *listener
	freezeOnce, closeOnce sync.Once
	frozen, closed        chan struct{}
}

// Read implements net.Conn. On a frozen connection it drops what it receives,
// including the end of the stream.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.blockIfFrozen() {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *connection) Write(b []byte) (int, error) {
	if c.blockIfFrozen() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		delete(c.listener.open, c)
	})
	return c.Conn.Close()
}

// blockIfFrozen returns false at once if the connection is not frozen. Otherwise
// it blocks until the connection is closed and returns true.
func (c *connection) blockIfFrozen() bool {
	select {
	case <-c.frozen:
		<-c.closed
		return true
	default:
		return false
	}
}

func (c *connection) freeze() {
	c.freezeOnce.Do(func() { close(c.frozen) })
}

// drop closes the connection below TLS, without a TLS close notification.
func (c *connection) drop() {
	_ = c.Close() // it may be closed already
}

func (c *connection) isDropped() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

type connectionKey struct{}

// withConnection adds the connection to the context of its requests.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionOf returns the connection of a request's context. It panics if there
// is none, because withConnection adds one to every request.
func connectionOf(ctx context.Context) *connection {
	return ctx.Value(connectionKey{}).(*connection)
}
