package dossier

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// Source is where a dossier is made from.
type Source struct {
	Log *es.Log
	// Ledger proves what the log holds by one checkpoint.
	Ledger ledger.Ledger
	// Entry returns an event as it was hashed.
	Entry func(context.Context, es.Position) (ledger.Entry, error)
	// EventKey returns the key of one sealed event; nil = sealed content stays
	// closed. It fails with [es.ErrErased].
	EventKey func(*es.Event) ([]byte, error)
	// Sign signs with the key of the log; nil = nobody stands by the whole.
	Sign func(text []byte) ([]byte, error)
	// Kept opens a proof that lies beside the log, by its address; nil = none
	// can be read. The content is checked.
	Kept func(blob string) (io.ReadCloser, error)
	// Inclusion asks a chain for the proof of a transaction, where none is kept
	// that is whole; nil = no chain can be asked.
	Inclusion func(ctx context.Context, chainID uint64, tx onchain.Hash) (*onchain.Inclusion, error)
}

// Wish says which dossier is wanted.
type Wish struct {
	Agreement string
	Side      identity.Side // "" = the one that the log has
	Redact    []string      // names of [Redactions]
}

// Errors of [Build].
var (
	ErrNoAgreement = errors.New("the log has no such agreement")
	ErrBothSides   = errors.New("the log has both sides of the agreement: say which, R or P")
)

// Built is a dossier with what could not be put in it.
type Built struct {
	Dossier
	Lacks []string
}

// Build makes a dossier of everything that a log holds about an agreement,
// under the newest checkpoint.
func Build(ctx context.Context, src Source, w Wish) (Built, error) {
	hide, err := redactions(w.Redact)
	if err != nil {
		return Built{}, err
	}
	b := &builder{Source: src, hide: hide, pool: map[es.Hash]int{}, streams: map[es.Stream]bool{}, proofs: map[string]string{}}
	if b.under, err = src.Ledger.Checkpoint(ctx); err != nil {
		return Built{}, err
	}
	side, err := b.side(ctx, w)
	if err != nil {
		return Built{}, err
	}
	b.out.Dossier = Dossier{Agreement: w.Agreement, Checkpoint: string(b.under.Note), Format: Format, Side: string(side)}
	for _, step := range []func(context.Context) error{b.gather, b.prove, b.vouch, b.sightings, b.quarrels, b.transfers, b.sign} {
		if err := step(ctx); err != nil {
			return Built{}, err
		}
	}
	return b.out, nil
}

type builder struct {
	Source
	hide    []Redaction
	under   ledger.Checkpoint
	out     Built
	events  []es.Recorded
	streams map[es.Stream]bool
	proofs  map[string]string // blobs, by the hash of the transaction
	pool    map[es.Hash]int
	other   identity.NodeID
}

// prove adds every event as it was hashed, with its way to the root.
func (b *builder) prove(ctx context.Context) error {
	for _, r := range b.events {
		entry, err := b.Entry(ctx, r.Position)
		if err != nil {
			return err
		}
		way, err := b.Ledger.InclusionProof(ctx, r.Position, b.under.Size)
		if err != nil {
			return err
		}
		e := Event{Header: entry.Header, Inclusion: b.list(way)}
		b.show(&e, r, entry)
		b.out.Events = append(b.out.Events, e)
	}
	return nil
}

// show adds the content that is not to be withheld.
func (b *builder) show(e *Event, r es.Recorded, entry ledger.Entry) {
	if !b.hidden(r, hideMeta) {
		e.Meta, e.MetaSalt = string(entry.Meta), entry.MetaSalt
	}
	if b.hidden(r, hideData) {
		return
	}
	e.DataSalt = entry.DataSalt
	if r.Subject == "" {
		e.Data = string(entry.Data)
		return
	}
	e.Bytes = entry.Data
	if b.EventKey == nil {
		return
	}
	sealed := r.Event
	sealed.Data = entry.Data
	key, err := b.EventKey(&sealed)
	if err != nil {
		b.lack("position %d stays sealed: %v", r.Position, err)
		return
	}
	e.Key = key
}

func (b *builder) lack(format string, args ...any) {
	b.out.Lacks = append(b.out.Lacks, fmt.Sprintf(format, args...))
}

// list puts hashes into the pool and returns where they are.
func (b *builder) list(hashes []es.Hash) []int {
	out := make([]int, len(hashes))
	for i, h := range hashes {
		at, ok := b.pool[h]
		if !ok {
			at = len(b.out.Hashes)
			b.pool[h] = at
			b.out.Hashes = append(b.out.Hashes, h[:])
		}
		out[i] = at
	}
	return out
}

// sign lets the owner stand by the dossier as a whole.
func (b *builder) sign(context.Context) error {
	if b.Sign == nil {
		b.lack("the signature of the owner, who would stand by this being all")
		return nil
	}
	text, err := b.out.signedText()
	if err == nil {
		b.out.Signature, err = b.Sign(text)
	}
	return err
}

// factsOf are events of an own log, which need no proof.
func factsOf(events []es.Recorded) []fact {
	out := make([]fact, len(events))
	for i, r := range events {
		out[i] = fact{Leaf: verify.Leaf{Fact: verify.Fact{Position: r.Position, Stream: r.Stream, Revision: r.Revision, ID: r.ID, Type: r.Type}}, data: r.Event.Data}
	}
	return out
}
