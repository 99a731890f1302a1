package dossier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
)

// TransferOf is the proof of a transaction as a dossier shows it.
func TransferOf(i onchain.Inclusion) Transfer {
	return Transfer{Chain: i.ChainID, Header: i.Header, Index: i.Index, Receipt: i.Receipt, Transaction: i.Transaction}
}

// Encode writes a transfer as it is kept beside a log: canonical JSON, the same
// bytes as in a dossier's payments.
func (t Transfer) Encode() ([]byte, error) { return es.CanonicalJSON(t) }

var errNotKept = errors.New("no proof of it is kept")

// remember notes where the log says that the proof of a transaction lies. That
// need not be under the checkpoint: the proof stands for itself.
func (b *builder) remember(r es.Recorded) {
	switch e := r.Data.(type) {
	case tx.ProofKept:
		b.proofs[strings.ToLower(e.Hash)] = e.Blob
	case payment.ProofKept:
		b.proofs[strings.ToLower(e.TxHash)] = e.Blob
	}
}

// kept reads the proof of a transaction that lies beside the log. Nothing of it
// is believed that does not follow from the header in it.
func (b *builder) kept(chain uint64, hash onchain.Hash) (Transfer, error) {
	blob := b.proofs[hash.String()]
	if blob == "" || b.Kept == nil {
		return Transfer{}, errNotKept
	}
	t, err := b.readKept(blob)
	if err == nil {
		err = t.isOf(chain, hash)
	}
	if err != nil {
		return Transfer{}, fmt.Errorf("the proof that was kept, blob %s: %w", blob, err)
	}
	return t, nil
}

func (b *builder) readKept(blob string) (t Transfer, err error) {
	r, err := b.Kept(blob)
	if err != nil {
		return t, err
	}
	defer r.Close() //nolint:errcheck // only read
	content, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	switch {
	case err != nil:
		return t, err
	case len(content) > MaxBytes:
		return t, fmt.Errorf("it has more than %d bytes", MaxBytes)
	}
	return t, json.Unmarshal(content, &t)
}

// isOf checks that a transfer proves a transaction of a chain.
func (t Transfer) isOf(chain uint64, hash onchain.Hash) error {
	m, err := mine(t)
	switch {
	case err != nil:
		return err
	case m.chain != chain || m.tx != hash:
		return fmt.Errorf("it is of transaction 0x%x on chain %d", m.tx, m.chain)
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
