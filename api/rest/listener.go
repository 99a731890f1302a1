package rest

import (
	"net"
	"sync"
)

// LimitConns bounds how many connections a listener has open at the same time,
// in all and from one address. Those beyond are closed at once, so that a
// neighbour's flood costs nobody else a turn.
func LimitConns(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, perHost: make(map[string]int)}
}

type limitedListener struct {
	net.Listener

	mu      sync.Mutex
	total   int
	perHost map[string]int
}

// Accept returns the next connection within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := remoteHost(c)
		if l.enter(host, c) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		_ = c.Close()
	}
}

func remoteHost(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().Network()
	}
	return host
}

func (l *limitedListener) enter(host string, c net.Conn) bool {
	most := maxConnsRemote
	if c.RemoteAddr().Network() == "unix" || loopback(c.RemoteAddr().String()) {
		most = maxConnsLoopback
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.perHost[host] >= most {
		return false
	}
	l.total++
	l.perHost[host]++
	return true
}

func (l *limitedListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.perHost[host]--; l.perHost[host] <= 0 {
		delete(l.perHost, host)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room for another.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
