package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/emet-node/emet/projections/news"
)

const (
	connectTime  = 10 * time.Second
	deliveryTime = 30 * time.Second
	maxAnswer    = 64 << 10 // of the receiver, read so that the connection can be used again
)

// Allow says whether a delivery may connect to an address. It is asked at the
// moment of dialling, so a name cannot change its mind.
type Allow func(scheme string, a netip.AddrPort) error

// RefusedError says that a receiver answered, but not with 2xx.
type RefusedError struct {
	Status int
	After  time.Duration // for which it asks not to be told again, 0 = it does not say
}

func (e *RefusedError) Error() string {
	if e.Status/100 == 3 {
		return fmt.Sprintf("the receiver answered %d %s; redirects are not followed, name the final address", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the receiver answered %d %s", e.Status, http.StatusText(e.Status))
}

// Final says that trying again soon will not help: the receiver understood and
// does not want it.
func (e *RefusedError) Final() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status < http.StatusInternalServerError
}

// Sender posts signed news.
type Sender struct {
	clients map[string]*http.Client // by scheme
	allow   Allow
	agent   string
}

// NewSender makes a sender that calls itself by version.
func NewSender(allow Allow, version string) *Sender {
	s := &Sender{clients: make(map[string]*http.Client), allow: allow, agent: "emet/" + version}
	for _, scheme := range []string{"http", "https"} {
		dialer := &net.Dialer{Timeout: connectTime, Control: func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return allow(scheme, a)
		}}
		s.clients[scheme] = &http.Client{
			Timeout: deliveryTime,
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy would dial in our place
				DialContext:            dialer.DialContext,
				TLSHandshakeTimeout:    connectTime,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        30 * time.Second,
				MaxResponseHeaderBytes: 32 << 10,
				DisableCompression:     true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return s
}

// Send delivers a body once. It fails with [RefusedError] when the receiver
// did not take it. The error does not show the address.
func (s *Sender) Send(ctx context.Context, h Hook, event string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	client, ok := s.clients[req.URL.Scheme]
	if !ok {
		return fmt.Errorf("URL scheme %q cannot be used", req.URL.Scheme)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": s.agent, "Idempotency-Key": event, "Emet-Event": event, "Emet-Webhook": h.ID,
		news.Header: news.Sign(h.Secret, time.Now(), body),
	} {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			return of.Err
		}
		return err
	}
	defer res.Body.Close()                                          //nolint:errcheck // only read
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // what it says does not matter
	if res.StatusCode/100 != 2 {
		return &RefusedError{Status: res.StatusCode, After: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	}
	return nil
}

const lookupTime = 3 * time.Second

// Reachable says early what a delivery would be refused for: that no address
// of the host may be connected to. A name that cannot be resolved now may be
// later.
func (s *Sender) Reachable(ctx context.Context, to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return checkURL(to)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portOf(u))
	if err != nil {
		return fmt.Errorf("port %q is none", u.Port())
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // deliveries will tell
	}
	for _, a := range addrs {
		if err = s.allow(u.Scheme, netip.AddrPortFrom(a, uint16(port))); err == nil {
			return nil
		}
	}
	return err
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return u.Scheme
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
