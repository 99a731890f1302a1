package dossier

import (
	"context"
	"slices"
	"strings"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

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
