package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Reader proves what a log says by the newest checkpoint in its directory. It
// signs nothing.
type Reader struct {
	*Tree
	dir   string
	logID [16]byte
}

var _ ledger.Ledger = (*Reader)(nil)

// OpenReader returns the ledger of a store in dir without changing anything
// there. It fails with [ledger.ErrUnprovable] when the store has no tree.
func OpenReader(store es.Store, dir string, logID [16]byte) (*Reader, error) {
	return openReader(store, files{dir: dir, readOnly: true}, logID, nil)
}

func openReader(store es.Store, f files, logID [16]byte, logger *slog.Logger) (*Reader, error) {
	t, err := newTree(store, f, logger)
	if err != nil {
		return nil, err
	}
	return &Reader{Tree: t, dir: f.dir, logID: logID}, nil
}

// Checkpoint implements [ledger.Ledger]. It holds the checkpoint against the
// log and fails with a [*ledger.Rewritten] when they contradict each other.
func (r *Reader) Checkpoint(ctx context.Context) (ledger.Checkpoint, error) {
	c, err := r.last(ctx)
	if err == nil && c.Note == nil {
		err = ledger.ErrUnsigned
	}
	return c, err
}

// last returns the checkpoint on disk, the zero one when there is none.
func (r *Reader) last(ctx context.Context) (ledger.Checkpoint, error) {
	b, err := r.files.readCheckpoint()
	if err != nil || b == nil {
		return ledger.Checkpoint{}, err
	}
	c, err := parseCheckpoint(b)
	if err != nil {
		return c, fmt.Errorf("%s: %w: %w", r.dir, es.ErrCorrupt, err)
	}
	if who := ownerOf(c.Origin); who == "" || c.Origin != ledger.Origin(who, r.logID) {
		return c, fmt.Errorf("%s: %w: it is of another log, %s", r.dir, es.ErrCorrupt, c.Origin)
	}
	return c, r.holds(ctx, c)
}

// holds checks that the log still begins with what was signed.
func (r *Reader) holds(ctx context.Context, c ledger.Checkpoint) error {
	have, _, err := r.Root(ctx)
	if err != nil {
		return err
	}
	if have < c.Size {
		return &ledger.Rewritten{Signed: c.Size, SignedRoot: c.Root, Have: have}
	}
	root, err := r.RootAt(ctx, c.Size)
	if err == nil && root != c.Root {
		err = &ledger.Rewritten{Signed: c.Size, SignedRoot: c.Root, Have: have, Root: root}
	}
	return err
}

// Prove returns the event at p with everything that shows it to be under the
// newest checkpoint. It fails with [ledger.ErrRange] when that does not cover
// p yet, and with [ledger.ErrUnprovable] on engines that do not keep events as
// they were hashed. The attestation is left to the caller.
func (r *Reader) Prove(ctx context.Context, p es.Position) (verify.File, error) {
	c, err := r.Checkpoint(ctx)
	if err != nil {
		return verify.File{}, err
	}
	return proveUnder(ctx, r.Tree, c, p)
}

func proveUnder(ctx context.Context, t *Tree, c ledger.Checkpoint, p es.Position) (verify.File, error) {
	entries, ok := t.store.(entryReader)
	if !ok {
		return verify.File{}, fmt.Errorf("store %q: %w", t.store.Caps().Name, ledger.ErrUnprovable)
	}
	inclusion, err := t.InclusionProof(ctx, p, c.Size)
	if errors.Is(err, ledger.ErrRange) {
		return verify.File{}, fmt.Errorf("the newest checkpoint covers positions below %d: %w", c.Size, err)
	}
	if err != nil {
		return verify.File{}, err
	}
	e, err := entries.Entry(ctx, p)
	if err != nil {
		return verify.File{}, err
	}
	f := verify.File{
		Checkpoint: string(c.Note), Format: verify.Format, Inclusion: make([][]byte, len(inclusion)),
		Event: verify.Content{Data: e.Data, DataSalt: e.DataSalt, Header: e.Header, Meta: e.Meta, MetaSalt: e.MetaSalt},
	}
	for i := range inclusion {
		f.Inclusion[i] = inclusion[i][:]
	}
	return f, nil
}
