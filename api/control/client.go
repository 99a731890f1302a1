package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
)

// Client speaks to the node behind a socket. It is a [Daemon].
type Client struct {
	path string
	http *http.Client
}

var _ Daemon = (*Client)(nil)

// Dial makes a client of the node at path. It fails with [ErrNoDaemon] when
// nobody listens and with [ErrUnsafe] when the socket may be another user's.
func Dial(ctx context.Context, path string) (*Client, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("%w (no socket at %s)", ErrNoDaemon, path)
	}
	if err := safe(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if owner, known := ownerOf(info); known && owner != os.Getuid() && owner != 0 {
		return nil, fmt.Errorf("%w: %s belongs to user %d", ErrUnsafe, path, owner)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w (nobody listens on %s)", ErrNoDaemon, path)
	}
	conn.Close() //nolint:errcheck // it was a knock
	c := &Client{path: path}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}
	return c, nil
}

// Close releases idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// remote is an error as the node put it.
type remote struct {
	text string
	is   error
}

func (r *remote) Error() string { return r.text }
func (r *remote) Unwrap() error { return r.is }

func call[T any](ctx context.Context, c *Client, method, path string, q url.Values, in any) (out T, err error) {
	var b io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return out, err
		}
		b = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://emet"+path+"?"+q.Encode(), b)
	if err != nil {
		return out, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, fmt.Errorf("ask the daemon at %s: %w", c.path, errors.Unwrap(err))
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if res.StatusCode == http.StatusOK {
		err = json.NewDecoder(res.Body).Decode(&out)
		return out, err
	}
	return out, failure(res)
}

func failure(res *http.Response) error {
	var p problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Error == "" {
		return fmt.Errorf("the daemon answered %s; it may be of another version", res.Status)
	}
	for _, c := range codes {
		if c.code == p.Code {
			return &remote{p.Error, c.err}
		}
	}
	return errors.New(p.Error)
}

func who(ref string) url.Values { return url.Values{"id": {ref}} }

// Status implements Daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, "GET", "/v1/status", nil, nil)
}

// Stop implements Daemon.
func (c *Client) Stop(ctx context.Context) error {
	_, err := call[any](ctx, c, "POST", "/v1/stop", nil, nil)
	return err
}

// Follow implements Daemon.
func (c *Client) Follow(ctx context.Context, from uint64, hear func(Fact) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://emet/v1/log?from=%d", from), nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDaemon, errors.Unwrap(err))
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if res.StatusCode != http.StatusOK {
		return failure(res)
	}
	for dec := json.NewDecoder(res.Body); ; {
		var f Fact
		if err := dec.Decode(&f); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: it stopped", ErrNoDaemon)
		}
		if err := hear(f); err != nil {
			return err
		}
	}
}

// Identities implements Deps.
func (c *Client) Identities(ctx context.Context) ([]Identity, error) {
	return call[[]Identity](ctx, c, "GET", "/v1/identities", nil, nil)
}

// Identity implements Deps.
func (c *Client) Identity(ctx context.Context, ref string) (Identity, error) {
	return call[Identity](ctx, c, "GET", "/v1/identity", who(ref), nil)
}

// CreateIdentity implements Deps.
func (c *Client) CreateIdentity(ctx context.Context, n NewIdentity) (Identity, error) {
	return call[Identity](ctx, c, "POST", "/v1/identities", nil, n)
}

// UpdateIdentity implements Deps.
func (c *Client) UpdateIdentity(ctx context.Context, ref string, change IdentityChange) (Identity, error) {
	return call[Identity](ctx, c, "PATCH", "/v1/identity", who(ref), change)
}

// LockIdentity implements Deps.
func (c *Client) LockIdentity(ctx context.Context, ref string) (Identity, error) {
	return call[Identity](ctx, c, "POST", "/v1/identity/lock", who(ref), nil)
}

// UnlockIdentity implements Deps.
func (c *Client) UnlockIdentity(ctx context.Context, ref, passphrase string) (Identity, error) {
	return call[Identity](ctx, c, "POST", "/v1/identity/unlock", who(ref), unlock{passphrase})
}

// DropIdentity implements Deps.
func (c *Client) DropIdentity(ctx context.Context, ref string) (Identity, error) {
	return call[Identity](ctx, c, "DELETE", "/v1/identity", who(ref), nil)
}

// ExportIdentity implements Deps.
func (c *Client) ExportIdentity(ctx context.Context, ref string, plain bool) (string, error) {
	q := who(ref)
	if plain {
		q.Set("plain", "true")
	}
	return call[string](ctx, c, "POST", "/v1/identity/export", q, nil)
}

// AppKeys implements Deps.
func (c *Client) AppKeys(ctx context.Context) ([]AppKey, error) {
	return call[[]AppKey](ctx, c, "GET", "/v1/app-keys", nil, nil)
}

// CreateAppKey implements Deps.
func (c *Client) CreateAppKey(ctx context.Context, n NewAppKey) (AppKey, error) {
	return call[AppKey](ctx, c, "POST", "/v1/app-keys", nil, n)
}

// DropAppKey implements Deps.
func (c *Client) DropAppKey(ctx context.Context, name, owner string) error {
	q := who(owner)
	q.Set("name", name)
	_, err := call[any](ctx, c, "DELETE", "/v1/app-key", q, nil)
	return err
}

// Providers implements Deps.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	return call[[]Provider](ctx, c, "GET", "/v1/providers", nil, nil)
}

// SwitchProvider implements Deps.
func (c *Client) SwitchProvider(ctx context.Context, ref string, to Switch) (Provider, error) {
	return call[Provider](ctx, c, "POST", "/v1/provider/"+url.PathEscape(string(to)), who(ref), nil)
}
