package dossier

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/peer"
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

func (b *builder) side(ctx context.Context, w Wish) (identity.Side, error) {
	if _, err := market.ParseAgreementID(w.Agreement); err != nil {
		return "", err
	}
	var found []identity.Side
	for _, s := range []identity.Side{identity.Requestor, identity.Provider} {
		info, err := b.Log.Store.Info(ctx, es.StreamOf("agreement", string(s)+"-"+w.Agreement))
		if err != nil {
			return "", err
		}
		if info.Head != es.NoStream && (w.Side == "" || w.Side == s) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %s", ErrNoAgreement, w.Agreement)
	case 1:
		return found[0], nil
	}
	return "", ErrBothSides
}

// read takes in all events of a stream that the checkpoint covers.
func (b *builder) read(ctx context.Context, s es.Stream) error {
	if b.streams[s] {
		return nil
	}
	b.streams[s] = true
	for r, err := range b.Log.ReadStream(ctx, s, 0) {
		if err != nil {
			return err
		}
		b.remember(r)
		if uint64(r.Position) < b.under.Size {
			b.events = append(b.events, r)
		}
	}
	return nil
}

// matching lists the streams with a prefix.
func (b *builder) matching(ctx context.Context, prefix string) ([]es.Stream, error) {
	var out []es.Stream
	for e, err := range b.Log.Store.ReadAll(ctx, 0, es.Forward, es.Filter{StreamPrefixes: []string{prefix}}, 0) {
		if err != nil {
			return nil, err
		}
		if e.Revision == 0 {
			out = append(out, e.Stream)
		}
	}
	return out, nil
}

// gather finds the streams of the deal, one by what another says.
func (b *builder) gather(ctx context.Context) error {
	key := b.out.Side + "-" + b.out.Agreement
	if err := errors.Join(b.read(ctx, es.StreamOf("agreement", key)), b.read(ctx, es.StreamOf("bill", key))); err != nil {
		return err
	}
	var next []es.Stream
	for _, r := range b.events {
		more, err := b.follow(ctx, r)
		if err != nil {
			return err
		}
		next = append(next, more...)
	}
	for _, s := range next {
		if err := b.read(ctx, s); err != nil {
			return err
		}
	}
	var blocks []es.Recorded
	for r, err := range b.Log.ReadAll(ctx, 0, es.Filter{Streams: []es.Stream{ledger.LogStream}, Types: []string{beaconType}}) {
		if err != nil {
			return err
		}
		blocks = append(blocks, r)
	}
	b.beacons(blocks)
	slices.SortFunc(b.events, func(x, y es.Recorded) int { return cmp.Compare(x.Position, y.Position) })
	if len(b.events) == 0 {
		return fmt.Errorf("the newest checkpoint does not cover the agreement yet: %w", ledger.ErrRange)
	}
	return nil
}

// follow names the streams that a fact leads to.
func (b *builder) follow(ctx context.Context, r es.Recorded) ([]es.Stream, error) {
	var s said
	if json.Unmarshal(r.Event.Data, &s) != nil {
		return nil, nil
	}
	side := b.out.Side
	switch fact := (fact{Leaf: verify.Leaf{Fact: verify.Fact{Type: r.Type}}}).name(); fact {
	case "agreement.created", "agreement.received":
		if s.Terms == nil {
			return nil, nil
		}
		own, mine := es.StreamOf("offer", s.Terms.OfferID), s.Terms.Requestor
		if side == "R" {
			own, mine = es.StreamOf("demand", s.Terms.DemandID), s.Terms.Provider
		}
		b.other = mine
		work, err := b.work(ctx)
		return append([]es.Stream{es.StreamOf("negotiation", s.Terms.NegotiationID), own}, work...), err
	case "bill.paid":
		if side == "R" {
			tx, err := b.transaction(ctx, s.TxHash)
			return append(tx, es.StreamOf("payment", payment.SentID(s.PaymentID))), err
		}
		return b.received(ctx, s.PaymentID)
	}
	return nil, nil
}

// work names the streams of the activities of the agreement.
func (b *builder) work(ctx context.Context) ([]es.Stream, error) {
	var out []es.Stream
	prefix := "activity-" + b.out.Side + "-"
	f := es.Filter{StreamPrefixes: []string{prefix}, Types: []string{"activity.created.v1", "activity.creation_requested.v1"}}
	for r, err := range b.Log.ReadAll(ctx, 0, f) {
		if err != nil {
			return nil, err
		}
		var s said
		if json.Unmarshal(r.Event.Data, &s) != nil || s.AgreementID != b.out.Agreement {
			continue
		}
		id := strings.TrimPrefix(string(r.Stream), prefix)
		batches, err := b.matching(ctx, "batch-"+b.out.Side+"-"+id+"-")
		if err != nil {
			return nil, err
		}
		out = append(append(out, r.Stream, es.Stream("usage-"+b.out.Side+"-"+id)), batches...)
	}
	return out, nil
}

// transaction names the stream of the nonce that carried a transaction.
func (b *builder) transaction(ctx context.Context, hash string) ([]es.Stream, error) {
	for r, err := range b.Log.ReadAll(ctx, 0, es.Filter{StreamPrefixes: []string{"tx-"}, Types: []string{"tx.included.v1"}}) {
		if err != nil {
			return nil, err
		}
		var s struct {
			Hash string `json:"hash"`
		}
		if json.Unmarshal(r.Event.Data, &s) == nil && strings.EqualFold(s.Hash, hash) {
			return []es.Stream{r.Stream}, nil
		}
	}
	return nil, nil
}

func (b *builder) received(ctx context.Context, id string) ([]es.Stream, error) {
	all, err := b.matching(ctx, "payment-P-")
	return slices.DeleteFunc(all, func(s es.Stream) bool { return !strings.HasSuffix(string(s), "-"+id) }), err
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

// vouch adds the delegations of both parties' keys.
func (b *builder) vouch(ctx context.Context) error {
	var all []peer.Delegation
	for r, err := range b.Log.ReadStream(ctx, ledger.LogStream, 0) {
		if err != nil {
			return err
		}
		if k, ok := r.Data.(ledger.KeyAttested); ok && k.Document != "" {
			all = append(all, peer.Delegation{Document: k.Document, Signature: k.Signature})
		}
	}
	for r, err := range b.Log.ReadStream(ctx, es.StreamOf(contact.Category, string(b.other)), 0) {
		if err != nil {
			return err
		}
		switch f := r.Data.(type) {
		case contact.Met:
			all = append(all, f.Delegations...)
		case contact.CheckpointCosigned:
			if f.By == b.other {
				all = append(all, f.Attestation)
			}
		}
	}
	all = slices.DeleteFunc(all, func(d peer.Delegation) bool { return !b.useful(d) })
	slices.SortFunc(all, func(x, y peer.Delegation) int { return strings.Compare(x.Document, y.Document) })
	b.out.Attestations = slices.CompactFunc(all, func(x, y peer.Delegation) bool { return x.Document == y.Document })
	if !slices.ContainsFunc(b.out.Attestations, func(d peer.Delegation) bool { return strings.Contains(d.Document, b.under.Origin) }) {
		b.lack("nobody vouches for the key of this log yet; emet id unlock lets its identity do so")
	}
	return nil
}

// useful leaves out what is not about the two parties.
func (b *builder) useful(d peer.Delegation) bool {
	doc, err := verify.Delegation(d)
	return err == nil && (doc.Role == delegation.Log || doc.Role == delegation.Host) &&
		(doc.Identity == b.other || doc.Subject == b.under.Origin)
}

// sightings adds the checkpoints that the other party cosigned since the deal began.
func (b *builder) sightings(ctx context.Context) error {
	begun := uint64(0)
	for _, r := range b.events {
		if r.Stream != ledger.LogStream {
			begun = uint64(r.Position)
			break
		}
	}
	for r, err := range b.Log.ReadStream(ctx, es.StreamOf(contact.Category, string(b.other)), 0) {
		if err != nil {
			return err
		}
		f, ok := r.Data.(contact.CheckpointCosigned)
		if !ok || f.By != b.other || f.Origin != b.under.Origin || f.Size <= begun || f.Size > b.under.Size {
			continue
		}
		way, err := b.Ledger.ConsistencyProof(ctx, f.Size, b.under.Size)
		if err != nil {
			return err
		}
		b.out.Cosigned = append(b.out.Cosigned, Cosigned{Checkpoint: f.Note, Consistency: b.list(way)})
	}
	if len(b.out.Cosigned) == 0 {
		b.lack("%s has not cosigned this log since the deal began", b.other)
	}
	return nil
}

// transfers proves what was paid.
func (b *builder) transfers(ctx context.Context) error {
	d := dealOf(factsOf(b.events), b.out.Side, b.out.Agreement)
	for _, p := range d.payments {
		doc, err := payment.ParseDocument(d.documents[p.id].canonical)
		if err != nil {
			b.lack("the proof of payment %s is not in the log", p.id)
			continue
		}
		t, err := b.transfer(ctx, doc)
		if err != nil {
			b.lack("transaction %s is not proved: %v", doc.TxHash, err)
			continue
		}
		if !slices.ContainsFunc(b.out.Payments, func(o Transfer) bool { return string(o.Header) == string(t.Header) && o.Index == t.Index }) {
			b.out.Payments = append(b.out.Payments, t)
		}
	}
	return nil
}

func (b *builder) transfer(ctx context.Context, doc payment.Document) (Transfer, error) {
	profile, err := onchain.ParsePlatform(string(doc.Platform))
	if err != nil {
		return Transfer{}, err
	}
	hash, err := onchain.ParseHash(doc.TxHash)
	if err != nil {
		return Transfer{}, err
	}
	t, err := b.kept(profile.ChainID, hash)
	if err == nil {
		return t, nil
	}
	if b.Inclusion == nil {
		return Transfer{}, fmt.Errorf("%w; no chain can be asked", err)
	}
	i, failed := b.Inclusion(ctx, profile.ChainID, hash)
	switch {
	case failed != nil:
		return Transfer{}, fmt.Errorf("%w; %w", err, failed)
	case i == nil:
		return Transfer{}, fmt.Errorf("%w; no block holds it now", err)
	}
	t = TransferOf(*i)
	return t, t.isOf(profile.ChainID, hash)
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
