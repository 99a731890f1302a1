package evidence

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// beacon names a block in the log.
func (w *world) beacon() {
	if !w.how.blocks {
		return
	}
	made := w.log.now.Add(-15 * time.Minute)
	if w.lies.lateBlock {
		made = w.log.now.Add(time.Hour)
	}
	h := &types.Header{Difficulty: new(big.Int), Number: big.NewInt(7 + w.r.Int64N(1e6)), GasLimit: 1, Time: uint64(made.Unix()), BaseFee: big.NewInt(1)} //nolint:gosec // after 1970
	header, err := rlp.EncodeToBytes(h)
	if err != nil {
		panic(err)
	}
	fact := ledger.Beacon{Block: h.Number.Int64(), ChainID: 17, Hash: h.Hash().String(), Header: header, LogID: hex.EncodeToString(w.own.logID[:])}
	if w.lies.otherBlock {
		fact.Block++
	}
	w.log.add(ledger.LogStream, fact)
}

// theirs is a log of the other party, and a second history under its name.
func (w *world) theirs() (one, two *chronicle) {
	one, two = newChronicle(w.other), newChronicle(w.other)
	for i := range 12 {
		one.add("x-1", ledger.Repaired{Detail: fmt.Sprint(i)})
		two.add("x-1", ledger.Repaired{Detail: fmt.Sprint("other ", i)})
	}
	return one, two
}

// quarrel lets the other party contradict its own log.
func (w *world) quarrel() {
	if w.how.conflict == "" {
		return
	}
	one, two := w.theirs()
	s, at := es.StreamOf(contact.Category, string(w.other.id)), w.log.now.Truncate(time.Second)
	first := w.own.cosign(string(one.checkpoint(6).Note), at)
	w.log.add(s, contact.CheckpointCosigned{
		At: at, Attestation: w.other.words[0], By: w.own.id, Node: w.other.id, Note: first, Origin: w.other.origin(), Root: one.checkpoint(6).Root.String(), SentAt: at, Size: 6,
	})
	w.log.now = w.log.now.Add(time.Minute)
	kind, second, m := contact.Forked, two.checkpoint(6), peer.CosignCheckpoint{Attestation: w.other.words[0], From: 6}
	switch w.how.conflict {
	case "later":
		second = two.checkpoint(10)
		hashes, _ := two.ConsistencyProof(nil, 6, 10) //nolint:staticcheck // it needs none
		for i := range hashes {
			m.Consistency = append(m.Consistency, hashes[i][:])
		}
	case "rolled-back":
		kind, second, m.From = contact.RolledBack, one.checkpoint(4), 4
	}
	switch w.lies.accusation {
	case "same":
		second = one.checkpoint(6)
	case "continues":
		second = one.checkpoint(10)
		hashes, _ := one.ConsistencyProof(nil, 6, 10) //nolint:staticcheck // it needs none
		m.Consistency = nil
		for i := range hashes {
			m.Consistency = append(m.Consistency, hashes[i][:])
		}
	case "invented":
		second.Note = []byte(strings.Replace(string(w.own.note(6, second.Root)), w.own.origin(), w.other.origin(), 1))
	}
	m.Note = string(second.Note)
	raw := w.raw(m.Kind(), m)
	if w.lies.accusation == "another message" {
		m.Note = string(one.checkpoint(7).Note)
		raw = w.raw(m.Kind(), m)
	}
	w.log.add(s, contact.ConflictFound{First: first, Kind: kind, Node: w.other.id, Origin: w.other.origin(), Raw: raw, Second: string(second.Note)})
}

func conflicting(kind string) cheats { return cheats{quarrel: kind} }

// Each way in which the other party contradicts itself is proved by what it
// signed.
func TestConflictsAreProved(t *testing.T) {
	t.Parallel()
	for kind, says := range map[string]string{"forked": "different roots", "later": "false proof", "rolled-back": "as its newest"} {
		for seed := range uint64(10) {
			w := newWorld(seed, whole, conflicting(kind))
			d := w.build().Dossier
			r := w.opinion(t, kind, encode(t, d))
			if len(d.Conflicts) != 1 || r.Verdict() != dossier.Proved || !strings.Contains(saysOf(r, dossier.ClaimConflicts), says) {
				t.Fatalf("%s, seed %d: %d, %+v", kind, seed, len(d.Conflicts), r)
			}
			if page := unpacked(t, encode(t, d)); !strings.Contains(page, "contradict each other") {
				t.Error("the page does not show it")
			}
			d.Conflicts[0].Message = nil
			want := dossier.Missing
			if kind == "forked" {
				want = dossier.Proved // both signatures are enough
			}
			if r := w.opinion(t, kind, encode(t, w.resign(d, w.own))); r.Of(dossier.ClaimConflicts) != want {
				t.Errorf("%s without the message is %s", kind, r.Of(dossier.ClaimConflicts))
			}
		}
	}
}

// Whoever accuses the other party of what it did not do is found out.
func TestFalseAccusationsAreFoundOut(t *testing.T) {
	t.Parallel()
	for lie, kind := range map[string]string{"same": "forked", "continues": "later", "invented": "forked", "another message": "later"} {
		for seed := range uint64(10) {
			w := newWorld(seed, whole, cheats{quarrel: kind, accusation: lie})
			r := w.opinion(t, lie, encode(t, w.build().Dossier))
			if r.Of(dossier.ClaimConflicts) != dossier.Disproved {
				t.Errorf("%s, seed %d: %s", lie, seed, saysOf(r, dossier.ClaimConflicts))
			}
		}
	}
}

func saysOf(r dossier.Report, claim string) string {
	for _, c := range r.Claims {
		if c.Claim == claim {
			return c.Says
		}
	}
	return ""
}

// A shorter log that is not shown to be the newer one proves nothing.
func TestAnOlderCheckpointIsNoConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(1, whole, conflicting("rolled-back"))
	d := w.build().Dossier
	for _, shift := range []time.Duration{-time.Hour, 0} {
		x := d.Conflicts[0]
		at := w.log.now.Add(shift)
		text, err := verify.NoteText([]byte(x.First))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitAfter(x.First, "\n")
		signed := strings.Join(parts[:len(parts)-2], "")
		later := w.log.now.Add(time.Hour)
		if shift == 0 {
			later = at.Add(-2 * time.Hour)
		}
		x.First = signed + verify.CosignatureLine(w.own.logKey(), later, ed25519.Sign(w.own.log, verify.CosignedText(later, text)))
		c := clone(d)
		c.Conflicts[0] = x
		want := map[bool]dossier.Verdict{true: dossier.Proved, false: dossier.Missing}[shift == 0]
		if r := w.opinion(t, "older", encode(t, w.resign(c, w.own))); r.Of(dossier.ClaimConflicts) != want {
			t.Errorf("cosigned at %s: %s", later, saysOf(r, dossier.ClaimConflicts))
		}
	}
}

// The time of a deal lies between blocks and cosignatures, which are named.
func TestADealIsDated(t *testing.T) {
	t.Parallel()
	w := newWorld(2, whole, cheats{})
	d := w.build().Dossier
	says := saysOf(w.opinion(t, "dated", encode(t, d)), dossier.ClaimBracket)
	for _, piece := range []string{"the agreement not before 2026-03-01T11:4", "of chain 17, 0x", "which the owner claims to be in it", "and not after 2026-03-01T12:0", "the last payment"} {
		if !strings.Contains(says, piece) {
			t.Errorf("it does not say %q: %s", piece, says)
		}
	}
	bare := newWorld(2, func(r *rand.Rand) progress { p := whole(r); p.blocks = false; return p }, cheats{})
	if r := bare.opinion(t, "no block", encode(t, bare.build().Dossier)); r.Of(dossier.ClaimBracket) != dossier.Missing || r.Verdict() != dossier.Missing {
		t.Errorf("%+v", r)
	}
	for name, lies := range map[string]cheats{"another number": {otherBlock: true}, "made after it was cosigned": {lateBlock: true}} {
		w := newWorld(3, whole, lies)
		if r := w.opinion(t, name, encode(t, w.build().Dossier)); r.Of(dossier.ClaimBracket) != dossier.Disproved {
			t.Errorf("%s: %s", name, saysOf(r, dossier.ClaimBracket))
		}
	}
	// Named as looked up, a block is no claim any more.
	hash := says[strings.Index(says, "0x") : strings.Index(says, "0x")+66]
	b, err := hex.DecodeString(hash[2:])
	if err != nil {
		t.Fatal(err)
	}
	trust := dossier.Trust{Identities: []identity.NodeID{w.buyer.id, w.seller.id}, Blocks: [][32]byte{[32]byte(b)}}
	if named := saysOf(dossier.Verify(encode(t, d), trust), dossier.ClaimBracket); !strings.Contains(named, hash+", which you named") {
		t.Error(named)
	}
}
