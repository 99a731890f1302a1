package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrEgress says that an address may not be reached from here.
var ErrEgress = errors.New("address is not allowed")

// maxRedirects is how many redirections a fetch follows.
const maxRedirects = 5

// special are the ranges that belong to this machine, its network or nobody.
var special = prefixes(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
	192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
	224.0.0.0/4 240.0.0.0/4 ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16
	3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8`)

func prefixes(list string) (out []netip.Prefix) {
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// closedPorts speak protocols that a fetch must not be made to speak.
var closedPorts = map[uint16]bool{22: true, 23: true, 25: true, 110: true, 143: true, 465: true, 587: true, 993: true, 995: true}

// CheckAddr says whether a fetch may connect to an address. AllowLoopback lets
// it reach this machine and its network.
func CheckAddr(a netip.AddrPort, allowLoopback bool) error {
	if closedPorts[a.Port()] {
		return fmt.Errorf("%w: port %d", ErrEgress, a.Port())
	}
	if allowLoopback {
		return nil
	}
	ip := a.Addr().Unmap().WithZone("")
	for _, p := range special {
		if p.Contains(ip) {
			return fmt.Errorf("%w: %s is in %s", ErrEgress, ip, p)
		}
	}
	if ownAddr(ip) {
		return fmt.Errorf("%w: %s is this machine", ErrEgress, ip)
	}
	return nil
}

func ownAddr(ip netip.Addr) bool {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == ip {
				return true
			}
		}
	}
	return false
}

// NewClient makes an HTTP client for what strangers ask to fetch. Every
// address is checked at the moment it is dialled, so a name cannot change its
// mind. Redirects never lead from https to http, and credentials stay with
// the origin they were given for.
func NewClient(allowLoopback bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrEgress, address)
		}
		return CheckAddr(a, allowLoopback)
	}}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 nil, // a proxy would dial in our place
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: stallAfter,
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       30 * time.Second,
		},
		CheckRedirect: checkRedirect,
	}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d redirects", ErrEgress, maxRedirects)
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return fmt.Errorf("%w: a redirect to %s", ErrEgress, r.URL.Scheme)
	case last.URL.Scheme == "https" && r.URL.Scheme == "http":
		return fmt.Errorf("%w: a redirect from https to http", ErrEgress)
	}
	r.URL.User = nil
	if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
		r.Header.Del("Authorization")
	}
	r.Header.Del("Referer")
	return nil
}

// stallAfter is how long a fetch may stand still.
const stallAfter = 60 * time.Second

// watchdog cancels a context when nobody pats it for a while.
func watchdog(ctx context.Context, after time.Duration) (c context.Context, pat, stop func()) {
	c, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(after, func() { cancel(fmt.Errorf("no byte moved for %s", after)) })
	return c, func() { t.Reset(after) }, func() { t.Stop(); cancel(nil) }
}
