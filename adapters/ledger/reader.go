package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/mod/sumdb/note"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Reader proves what a log says by one checkpoint. It signs nothing.
type Reader struct {
	*Tree
	logID [16]byte
	under ledger.Checkpoint
}

var _ ledger.Ledger = (*Reader)(nil)

// Signed returns the newest checkpoint in the directory of a store, as it is
// written there; [ledger.ErrUnsigned] when there is none.
func Signed(disk Disk, dir string) (ledger.Checkpoint, error) {
	b, err := files{dir: dir, disk: disk}.readCheckpoint()
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	if b == nil {
		return ledger.Checkpoint{}, ledger.ErrUnsigned
	}
	c, err := parseCheckpoint(b)
	if err != nil {
		return c, fmt.Errorf("%s: %w: %w", dir, es.ErrCorrupt, err)
	}
	return c, nil
}

// Undamaged checks a checkpoint from dir against the keys that were vouched for
// in the log, so that a file with rot in it is not taken for a signature under
// something else. One of a key that nobody vouches for yet is not judged.
func Undamaged(ctx context.Context, l *es.Log, dir string, c ledger.Checkpoint) error {
	all, err := Attestations(ctx, l)
	if err != nil {
		return err
	}
	var keys []note.Verifier
	seen := make(map[string]bool) // a key may be vouched for again
	for _, k := range all.Keys {
		public, err := hex.DecodeString(k.PublicKey)
		if err != nil || len(public) != ed25519.PublicKeySize || seen[string(public)] {
			continue
		}
		seen[string(public)] = true
		text, err := note.NewEd25519VerifierKey(c.Origin, public)
		if err != nil {
			continue
		}
		if v, err := note.NewVerifier(text); err == nil {
			keys = append(keys, v)
		}
	}
	return intact(dir, c, keys...)
}

// intact refuses a checkpoint that names a key and was not signed by it. One of
// another key says nothing about these, but binds as well.
func intact(dir string, c ledger.Checkpoint, keys ...note.Verifier) error {
	if _, err := signedBy(c.Note, keys...); err != nil {
		return fmt.Errorf("%s: %w: %w: %w", dir, es.ErrCorrupt, errCheckpoint, err)
	}
	return nil
}

// OpenReader returns the ledger of a store in dir as it stands under a
// checkpoint, without changing anything there. Take the checkpoint with
// [Signed] before the store is opened: another process may write it. It fails
// with [ledger.ErrUnprovable] when the store has no tree, and with a
// [*ledger.Rewritten] when log and checkpoint contradict each other.
func OpenReader(ctx context.Context, store es.Store, disk Disk, dir string, logID [16]byte, under ledger.Checkpoint) (*Reader, error) {
	r, err := openReader(store, files{dir: dir, disk: disk, readOnly: true}, logID, nil)
	if err != nil {
		return nil, err
	}
	r.under = under
	return r, r.holds(ctx, under)
}

func openReader(store es.Store, f files, logID [16]byte, logger *slog.Logger) (*Reader, error) {
	t, err := newTree(store, f, logger)
	if err != nil {
		return nil, err
	}
	return &Reader{Tree: t, logID: logID}, nil
}

// Checkpoint implements [ledger.Ledger].
func (r *Reader) Checkpoint(ctx context.Context) (ledger.Checkpoint, error) {
	return r.under, ctx.Err()
}

// last returns the checkpoint on disk, the zero one when there is none.
func (r *Reader) last() (ledger.Checkpoint, error) {
	c, err := Signed(r.files.disk, r.files.dir)
	if errors.Is(err, ledger.ErrUnsigned) {
		return ledger.Checkpoint{}, nil
	}
	return c, err
}

// holds checks that the log is the one that was signed and still begins with
// what was.
func (r *Reader) holds(ctx context.Context, c ledger.Checkpoint) error {
	if who := ownerOf(c.Origin); who == "" || c.Origin != ledger.Origin(who, r.logID) {
		return fmt.Errorf("%s: %w: the checkpoint is of another log, %s", r.files.dir, es.ErrCorrupt, c.Origin)
	}
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
// checkpoint. It fails with [ledger.ErrRange] when that does not cover
// p yet, and with [ledger.ErrUnprovable] on engines that do not keep events as
// they were hashed. The attestation is left to the caller.
func (r *Reader) Prove(ctx context.Context, p es.Position) (verify.File, error) {
	return proveUnder(ctx, r.Tree, r.under, p)
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
