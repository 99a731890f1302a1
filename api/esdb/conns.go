package esdb

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/peer"
)

// limit bounds how many connections are open at once. Those beyond are closed, and
// so are those on which no call was admitted for a while: they need no key to be
// opened.
func limit(l net.Listener, n int, within time.Duration) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n), within: within}
}

type limited struct {
	net.Listener
	free   chan struct{}
	within time.Duration
}

// Accept implements [net.Listener].
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return l.admitted(c), nil
		default:
			_ = c.Close()
		}
	}
}

func (l *limited) admitted(c net.Conn) *counted {
	a := &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.free })}
	time.AfterFunc(l.within, func() {
		if !a.stays.Load() {
			_ = a.Close()
		}
	})
	return a
}

type counted struct {
	net.Conn
	stays atomic.Bool // a call was admitted
	leave func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// RemoteAddr implements [net.Conn]. It is how a call finds its connection.
func (c *counted) RemoteAddr() net.Addr { return remote{c.Conn.RemoteAddr(), c} }

type remote struct {
	net.Addr
	conn *counted
}

// stay keeps the connection of a call that was admitted.
func stay(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if r, ok := p.Addr.(remote); ok {
			r.conn.stays.Store(true)
		}
	}
}
