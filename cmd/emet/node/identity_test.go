package node

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/account"
)

// started is a node on a directory that nobody is served by yet. end closes it.
func started(t *testing.T, dir string) (n *Node, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := Open(ctx, Options{
		Dir: dir, Version: "test", Logger: slog.New(slog.DiscardHandler), SegmentBytes: 1 << 20, Listen: "127.0.0.1:0",
		DefaultNetwork: "hoodi", TTL: time.Hour, Identities: []Identity{{}},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	return n, func() {
		cancel()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A start locks the keys that have a passphrase and opens those that have none,
// and says so: what waits for a key hears when it is unlocked.
func TestARestartSaysWhichKeysAreLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, end := started(t, dir)
	create := func(alias, passphrase string) control.Identity {
		id, err := n.Control(func() {}).CreateIdentity(t.Context(), control.NewIdentity{Alias: alias, Passphrase: passphrase})
		if err != nil || id.IsLocked {
			t.Fatalf("%+v, %v", id, err)
		}
		return id
	}
	sealed, plain := create("sealed", "a passphrase"), create("plain", "")
	if _, err := n.Control(func() {}).LockIdentity(t.Context(), "plain"); err != nil {
		t.Fatal(err)
	}
	end()

	n, end = started(t, dir)
	defer end()
	for alias, locked := range map[string]bool{"sealed": true, "plain": false} {
		if id, err := n.Control(func() {}).Identity(t.Context(), alias); err != nil || id.IsLocked != locked {
			t.Errorf("after the start: %+v, %v", id, err)
		}
	}
	if _, err := n.Control(func() {}).UnlockIdentity(t.Context(), "sealed", "a passphrase"); err != nil {
		t.Fatal(err)
	}
	want := []string{"identity.created.v1", "identity.locked.v1", "identity.unlocked.v1"}
	for _, id := range []control.Identity{sealed, plain} {
		var got []string
		for e, err := range n.Store.ReadStream(t.Context(), es.StreamOf(account.Category, string(id.NodeID)), 0, es.Forward, 0) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Type)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", id.Alias, got, want)
		}
	}
}
