package ledger_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
)

const alice, bob identity.NodeID = "0x00000000000000000000000000000000000000a1", "0x00000000000000000000000000000000000000b2"

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	logID = [16]byte{1, 2, 3}
	hexID = "01020300000000000000000000000000"
	key   = ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))
	other = ed25519.PublicKey(append(make([]byte, ed25519.PublicKeySize-1), 1))
)

func attested(t *testing.T, id identity.NodeID, k ed25519.PublicKey, at time.Time) ledger.KeyAttested {
	t.Helper()
	b, err := ledger.Attestation(id, ledger.Origin(id, logID), k, at).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return ledger.KeyAttested{Document: string(b), Identity: string(id), LogID: hexID}
}

func TestAKeyIsAttestedUnderItsNameAndForItsTime(t *testing.T) {
	t.Parallel()
	var a ledger.Attestations
	a = a.Evolve(ledger.Opened{LogID: hexID}).Evolve(ledger.KeyAttested{LogID: hexID, Document: "none"})
	if _, ok := a.Of(ledger.Origin(alice, logID), key, noon); ok || a.Identity(hexID) != "" {
		t.Error("nobody has vouched yet")
	}
	a = a.Evolve(attested(t, alice, key, noon))
	for name, c := range map[string]struct {
		origin string
		key    ed25519.PublicKey
		at     time.Time
		want   bool
	}{
		"now":          {ledger.Origin(alice, logID), key, noon, true},
		"years later":  {ledger.Origin(alice, logID), key, noon.AddDate(9, 0, 0), true},
		"soon over":    {ledger.Origin(alice, logID), key, noon.Add(ledger.AttestedFor - 24*time.Hour), false},
		"over":         {ledger.Origin(alice, logID), key, noon.Add(ledger.AttestedFor + time.Hour), false},
		"long before":  {ledger.Origin(alice, logID), key, noon.Add(-time.Hour), false},
		"another key":  {ledger.Origin(alice, logID), other, noon, false},
		"another name": {ledger.Origin(bob, logID), key, noon, false},
		"another log":  {ledger.Origin(alice, [16]byte{9}), key, noon, false},
	} {
		if _, ok := a.Of(c.origin, c.key, c.at); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestALogKeepsTheNameOfWhoVouchedFirst(t *testing.T) {
	t.Parallel()
	var a ledger.Attestations
	b := a.Evolve(attested(t, alice, key, noon)).Evolve(attested(t, bob, other, noon))
	if got := b.Identity(hexID); got != alice {
		t.Error(got)
	}
	if got := b.Identity("ff"); got != "" {
		t.Errorf("another log has the name %s", got)
	}
	if len(a.Keys) != 0 {
		t.Error("a fold changed what it began with")
	}
}

func TestARewrittenLogIsADamagedOne(t *testing.T) {
	t.Parallel()
	short, forked := &ledger.Rewritten{Signed: 7, Have: 3}, &ledger.Rewritten{Signed: 7, Have: 9}
	for _, err := range []error{short, forked} {
		if !errors.Is(err, es.ErrCorrupt) || !strings.Contains(err.Error(), "7") || !strings.Contains(err.Error(), "restore") {
			t.Error(err)
		}
	}
	if !strings.Contains(short.Error(), "lost") || strings.Contains(forked.Error(), "lost") {
		t.Errorf("%v; %v", short, forked)
	}
}
