// Package esdbtest runs a server of the EventStoreDB protocol for tests.
package esdbtest

import (
	"context"
	"testing"

	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// Serve opens a door to a log until the test ends: to everybody, for reading
// and writing, without TLS. It returns the address, host:port.
func Serve(t testing.TB, s es.Store) string {
	t.Helper()
	d, err := esdb.New(esdb.Options{Store: s, Writable: true, Open: true, MaxConns: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	l, err := esdb.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return l.Addr().String()
}
