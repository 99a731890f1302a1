package dossier

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// Conflict is a pair of checkpoints of one log of the other party that cannot
// both be the truth about a log that only grows.
type Conflict struct {
	First   string `json:"first"`            // note, as the owner cosigned it
	Kind    string `json:"kind"`             // "forked" or "rolled-back"
	Message []byte `json:"message,omitzero"` // in which the second one came
	Second  string `json:"second"`           // note
}

// before is the order of conflicts.
func (x Conflict) before(y Conflict) bool {
	return x.First < y.First || x.First == y.First && x.Second < y.Second
}

// quarrels adds the conflicts that were found with the other party, with the
// word for the key that signed them. A new log under the same name of an owner
// contradicts nothing by itself.
func (b *builder) quarrels(ctx context.Context) error {
	words := map[string]peer.Delegation{}
	for r, err := range b.Log.ReadStream(ctx, es.StreamOf(contact.Category, string(b.other)), 0) {
		if err != nil {
			return err
		}
		switch f := r.Data.(type) {
		case contact.CheckpointCosigned:
			if f.By != b.other {
				words[f.Origin] = f.Attestation
			}
		case contact.ConflictFound:
			if f.Kind == contact.Replaced || f.Node != b.other {
				continue
			}
			x := Conflict{First: f.First, Kind: string(f.Kind), Second: f.Second}
			if len(f.Raw) > 0 && f.Raw[0] != '{' {
				x.Message = f.Raw
			}
			b.out.Conflicts = append(b.out.Conflicts, x)
			if word, ok := words[f.Origin]; ok && !slices.ContainsFunc(b.out.Attestations, func(d peer.Delegation) bool { return d.Document == word.Document }) {
				b.out.Attestations = append(b.out.Attestations, word)
			}
		}
	}
	slices.SortFunc(b.out.Attestations, func(x, y peer.Delegation) int { return strings.Compare(x.Document, y.Document) })
	slices.SortFunc(b.out.Conflicts, func(x, y Conflict) int {
		if x.before(y) {
			return -1
		}
		return 1
	})
	b.out.Conflicts = slices.CompactFunc(b.out.Conflicts, func(x, y Conflict) bool { return !x.before(y) })
	if len(b.out.Conflicts) > MaxConflicts {
		b.lack("%d of %d conflicts of %s with its own log", len(b.out.Conflicts)-MaxConflicts, len(b.out.Conflicts), b.other)
		b.out.Conflicts = b.out.Conflicts[:MaxConflicts]
	}
	return nil
}

// MaxConflicts is how many a dossier holds.
const MaxConflicts = 16

// conflicts checks what is held against the other party.
func (c *checker) conflicts() answer {
	switch {
	case c.deal.proposals != 1:
		return missing("the agreement itself is not shown once")
	case len(c.Conflicts) == 0:
		return proved("nothing is shown that contradicts the log of %s", c.other())
	case len(c.Conflicts) > MaxConflicts:
		return disproved("there are %d, at most %d count", len(c.Conflicts), MaxConflicts)
	}
	worst := answer{}
	for i, x := range c.Conflicts {
		if i > 0 && !c.Conflicts[i-1].before(x) {
			return disproved("conflict %d is out of order", i)
		}
		a := c.conflict(x)
		if a.verdict == Disproved {
			return disproved("conflict %d: %s", i, a.says)
		}
		if worst.verdict != Missing {
			worst = a
		}
	}
	if n := len(c.Conflicts); worst.verdict == Proved && n > 1 {
		worst.says += fmt.Sprintf(", and %d more", n-1)
	}
	return worst
}

// conflict checks one pair.
func (c *checker) conflict(x Conflict) answer {
	origin, _, _, err := verify.ParseCheckpoint([]byte(x.First))
	if err != nil {
		return disproved("%v", err)
	}
	first, second, a := c.bothSigned(origin, x)
	if a.verdict != Proved {
		return a
	}
	at, err := verify.Cosigned([]byte(x.First), c.key)
	if err != nil {
		return disproved("the owner did not stand by having seen the first one: %v", err)
	}
	var m letter
	var said peer.CosignCheckpoint
	if x.Message != nil {
		if m, said, a = c.offered(x); a.verdict != Proved {
			return a
		}
	}
	switch {
	case x.Kind == "forked" && first.Size == second.Size && first.Root != second.Root:
		return proved("%s signed two logs of %d events with different roots under one name", c.other(), first.Size)
	case x.Kind == "forked" && second.Size > first.Size:
		return c.forkedLater(first, second, x.Message != nil, said)
	case x.Kind == "rolled-back" && second.Size > 0 && second.Size < first.Size:
		if x.Message == nil {
			return missing("the message with the shorter log is not shown")
		}
		if !m.sent.After(at) {
			return missing("the shorter log may be the older one: it was not sent after the longer one was cosigned")
		}
		return proved("%s offered a log of %d events as its newest at %s, after one of %d events that was seen at %s",
			c.other(), second.Size, m.sent.Format(time.RFC3339), first.Size, at.Format(time.RFC3339))
	}
	return disproved("logs of %d and %d events are not %q", first.Size, second.Size, x.Kind)
}

// bothSigned checks that one key of the other party signed both checkpoints of
// one log.
func (c *checker) bothSigned(origin string, x Conflict) (first, second ledger.Checkpoint, a answer) {
	known := false
	for _, v := range c.vouched {
		if v.Role != delegation.Log || v.Identity != c.other() || v.Subject != origin {
			continue
		}
		key, err := verify.LogKey(v.Document)
		if err != nil {
			continue
		}
		known = true
		first, err = verify.Checkpoint([]byte(x.First), key)
		if err != nil {
			continue
		}
		if second, err = verify.Checkpoint([]byte(x.Second), key); err == nil {
			return first, second, proved("")
		}
	}
	if known {
		return first, second, disproved("no key of %s signed both for the log %q", c.other(), origin)
	}
	return first, second, missing("%s vouches for no key of the log %q", c.other(), origin)
}

// offered checks the message in which the second checkpoint came.
func (c *checker) offered(x Conflict) (m letter, said peer.CosignCheckpoint, a answer) {
	m, err := readLetter(x.Message)
	switch {
	case err != nil:
		return m, said, disproved("%v", err)
	case m.from != c.other() || m.to != c.owner || m.kind != said.Kind():
		return m, said, disproved("the message is a %s from %s to %s", m.kind, m.from, m.to)
	}
	if a = c.hosted(m); a.verdict != Proved {
		return m, said, a
	}
	if json.Unmarshal(m.body, &said) != nil || said.Note != x.Second {
		return m, said, disproved("the message is about another checkpoint")
	}
	return m, said, proved("")
}

// forkedLater checks that the other party gave a false proof that a longer log
// continues a shorter one.
func (c *checker) forkedLater(first, second ledger.Checkpoint, shown bool, said peer.CosignCheckpoint) answer {
	switch {
	case !shown:
		return missing("the message with the longer log is not shown")
	case said.From < 0 || uint64(said.From) != first.Size:
		return disproved("the message does not say that it continues %d events", first.Size)
	case proof.VerifyConsistency(rfc6962.DefaultHasher, first.Size, second.Size, said.Consistency, first.Root[:], second.Root[:]) == nil:
		return disproved("the longer log continues the shorter one")
	}
	return proved("%s gave a false proof that its log of %d events continues the one of %d", c.other(), second.Size, first.Size)
}
