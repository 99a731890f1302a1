package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/identity/appkey"
)

// opened is a node that serves REST to clients and has a key for them.
func opened(t *testing.T) (*Node, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := Open(ctx, Options{
		Dir: t.TempDir(), Version: "test", Logger: slog.New(slog.DiscardHandler), SegmentBytes: 1 << 20, Listen: "127.0.0.1:0",
		DefaultNetwork: "hoodi", TTL: time.Hour, Identities: []Identity{{}},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Serving(ctx); err != nil {
		t.Fatal(err)
	}
	key, err := n.AppKey(ctx, n.Identity(0), AppKey{Name: "client"})
	if err != nil {
		t.Fatal(err)
	}
	return n, key
}

// status asks for a path with a key.
func status(t *testing.T, n *Node, key, method, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A key whose secret is gone is not given out with another one, however often it
// is asked for: nobody would be let in with that.
func TestAKeyWhoseSecretIsLost(t *testing.T) {
	t.Parallel()
	n, key := opened(t)
	for _, spoil := range []func() error{
		func() error { return n.Secrets.AppKeys.Delete("client") },
		func() error { return n.Secrets.AppKeys.Put("client", "another") },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := n.AppKey(t.Context(), n.Identity(0), AppKey{Name: "client"}); err == nil || !strings.Contains(err.Error(), `app-key "client"`) || !strings.Contains(err.Error(), "emet app-key drop client") {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	if got, err := n.AppKey(t.Context(), n.Identity(0), AppKey{Name: "client", Secret: key}); err != nil || got != key {
		t.Errorf("who knows the secret may say it: %q, %v", got, err)
	}
	if got, err := n.AppKey(t.Context(), n.Identity(0), AppKey{Name: "client"}); err != nil || got != key {
		t.Errorf("it was not kept: %q, %v", got, err)
	}
	if _, err := n.AppKey(t.Context(), "0x1111111111111111111111111111111111111111", AppKey{Name: "client"}); !errors.Is(err, appkey.ErrTaken) {
		t.Error(err)
	}
}

// A key that is dropped acts no more, and what it served is gone.
func TestADroppedKeyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	n, key := opened(t)
	const file = `{"listen":{"on":"/public/gftp/f1","components":["GetChunk"]}}`
	if got := status(t, n, key, "POST", "/gsb-api/v1/services", file); got != 201 {
		t.Fatalf("bind: %d", got)
	}
	other, err := n.AppKey(t.Context(), n.Identity(0), AppKey{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, n, other, "POST", "/gsb-api/v1/services", file); got != 400 {
		t.Errorf("the address was free: %d", got)
	}
	if err := n.Control(func() {}).DropAppKey(t.Context(), "client", ""); err != nil {
		t.Fatal(err)
	}
	if got := status(t, n, key, "GET", "/me", ""); got != 401 {
		t.Errorf("the dropped key: %d", got)
	}
	if got := status(t, n, other, "POST", "/gsb-api/v1/services", file); got != 201 {
		t.Errorf("the address is still taken: %d", got)
	}
	if err := n.Control(func() {}).DropAppKey(t.Context(), "client", ""); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("dropped again: %v", err)
	}
}

// A key is let in until its time is over, and never again.
func TestAKeyIsLetInUntilItExpires(t *testing.T) {
	t.Parallel()
	n, _ := opened(t)
	const secret = "0123456789abcdef0123456789abcdef"
	now := time.Now().UTC()
	expires := now.Add(500 * time.Millisecond)
	if _, err := n.AppKeys.Do(t.Context(), appkey.StreamID("short"), appkey.Create{
		At: now, By: operator, Hash: secrets.HashAppKey(secret), Identity: n.Identity(0), Name: "short",
		Prefix: secrets.AppKeyPrefix(secret), Limit: appkey.Limit{Expires: expires},
	}, operatorMeta(n.Identity(0), "short")); err != nil {
		t.Fatal(err)
	}
	if got := status(t, n, secret, "GET", "/me", ""); got != 200 && time.Now().Before(expires) {
		t.Errorf("before: %d", got)
	}
	time.Sleep(time.Until(expires))
	if got := status(t, n, secret, "GET", "/me", ""); got != 401 {
		t.Errorf("after: %d", got)
	}
}

// The whole node says that it is well, and counts what happened since its
// first start.
func TestANodeTellsHowItIs(t *testing.T) {
	t.Parallel()
	n, key := opened(t)
	if got := status(t, n, key, "GET", "/healthcheck", ""); got != 200 {
		t.Errorf("health: %d", got)
	}
	if got := status(t, n, "", "GET", "/metrics-api/v1/expose", ""); got != 200 {
		t.Errorf("metrics: %d", got)
	}
	if got := status(t, n, "", "GET", "/healthcheck", ""); got != 401 {
		t.Errorf("health without a key: %d", got)
	}
}
