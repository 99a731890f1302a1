package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
)

// attestations folds what the log says about its keys.
func (k *Keeper) attestations(ctx context.Context) (ledger.Attestations, error) {
	k.mu.Lock()
	a := k.words
	k.mu.Unlock()
	info, err := k.log.Store.Info(ctx, ledger.LogStream)
	if err != nil || info.Head == a.Revision && len(a.Keys) > 0 {
		return a, err
	}
	if len(a.Keys) == 0 {
		a.Revision = es.NoStream
	}
	if a, err = attestationsAfter(ctx, k.log, a); err != nil {
		return a, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.words = a
	return a, nil
}

// Attestations folds what a log says about its keys.
func Attestations(ctx context.Context, l *es.Log) (ledger.Attestations, error) {
	return attestationsAfter(ctx, l, ledger.Attestations{Revision: es.NoStream})
}

// attestationsAfter folds what came after some that are known.
func attestationsAfter(ctx context.Context, l *es.Log, a ledger.Attestations) (ledger.Attestations, error) {
	for r, err := range l.ReadStream(ctx, ledger.LogStream, a.Revision+1) {
		if err != nil {
			return a, fmt.Errorf("read who vouches for the log: %w", err)
		}
		a = a.Evolve(r.Data)
		a.Revision = r.Revision
	}
	return a, nil
}

// attest lets the identity in whose name the log is kept vouch for the key,
// unless it has. That it cannot now is no error: it is asked again.
func (k *Keeper) attest(ctx context.Context) error {
	if k.o.Attest == nil {
		return nil
	}
	now := time.Now()
	a, err := k.attestations(ctx)
	if err != nil {
		return err
	}
	key := k.Key()
	if _, ok := a.Of(key.Name, key.Public, now); ok {
		return nil
	}
	who := ownerOf(key.Name)
	doc := ledger.Attestation(who, key.Name, key.Public, now)
	d, err := k.o.Attest(ctx, doc)
	if err != nil {
		level := slog.LevelDebug
		if !k.told {
			k.told, level = true, slog.LevelWarn
		}
		k.logger.Log(ctx, level, "the log is unattested: its identity cannot sign now, it is asked again", "identity", who, "error", err)
		return ctx.Err()
	}
	if text, err := doc.Canonical(); err != nil || string(text) != d.Document {
		return errors.Join(fmt.Errorf("%s vouched for something else than was asked", who), err)
	}
	return k.record(ctx, a, doc, ledger.KeyAttested{
		Document: d.Document, Identity: string(who), LogID: hex.EncodeToString(k.o.LogID[:]),
		PublicKey: hex.EncodeToString(key.Public), Signature: d.Signature,
	})
}

func (k *Keeper) record(ctx context.Context, a ledger.Attestations, d delegation.Document, fact ledger.KeyAttested) error {
	m := es.Meta{
		Key:   fmt.Sprintf("log/key_attested/%s/%d", fact.PublicKey, len(a.Keys)),
		Actor: es.ActorOperator, Identity: string(d.Identity), Grade: es.GradeSelf,
	}
	_, err := k.log.Append(ctx, m, nil, es.Facts{Stream: ledger.LogStream, Expected: a.Revision, Facts: []any{fact}})
	if errors.Is(err, es.ErrConflict) {
		return nil // somebody wrote to $log meanwhile; it is asked again
	}
	if err != nil {
		return fmt.Errorf("record who vouches for the log: %w", err)
	}
	return nil
}
