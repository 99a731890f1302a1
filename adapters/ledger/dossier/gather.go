package dossier

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/payment/payment"
)

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
		own, mine, other := es.StreamOf("offer", s.Terms.OfferID), s.Terms.Provider, s.Terms.Requestor
		if side == "R" {
			own, mine, other = es.StreamOf("demand", s.Terms.DemandID), s.Terms.Requestor, s.Terms.Provider
		}
		b.other = other
		if owner, ok := ownerOf(b.under.Origin); ok && owner != mine {
			b.lack("the word of %s, who made the deal: this log is kept in the name of %s, the default identity, and a verifier will say that it is no party", mine, owner)
		}
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
