package net

import (
	"fmt"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/peer"
)

// A request that was crowded out while it was handled is forgotten when it is
// answered.
func TestNoRequestIsRememberedForGood(t *testing.T) {
	t.Parallel()
	m, until := newMemory(), time.Now().Add(time.Hour)
	long := seenKey{id: "long"}
	a, first := m.claim(long, [32]byte{}, until)
	if !first {
		t.Fatal("it was there")
	}
	for i := range maxSeen + 10 {
		k := seenKey{id: fmt.Sprint(i)}
		b, _ := m.claim(k, [32]byte{}, until)
		m.settle(k, b, peer.Ack{}, nil)
	}
	if _, again := m.claim(long, [32]byte{}, until); again {
		t.Error("it is handled twice at once")
	}
	m.settle(long, a, peer.Ack{}, nil)
	if _, kept := m.byKey[long]; kept || len(m.byKey) > maxSeen || len(m.byKey) != len(m.order) {
		t.Errorf("%d are remembered, %d in order", len(m.byKey), len(m.order))
	}
}
