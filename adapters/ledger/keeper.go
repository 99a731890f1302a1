package ledger

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// Options of a [Keeper].
type Options struct {
	Dir   string   // of the store: where tiles and the checkpoint are kept
	Disk  Disk     // on which it lies
	LogID [16]byte // of the store
	// Identity is in whose name a log is kept that has no name yet. A log keeps
	// the name it was first signed under.
	Identity identity.NodeID
	// Key is the Ed25519 key of the log.
	Key crypto.Signer
	// Attest lets an identity vouch for the key; the keystore's SignDelegation.
	// It fails while the identity is locked and is then asked again. nil = the
	// log stays unattested.
	Attest func(context.Context, delegation.Document) (peer.Delegation, error)
	// Hold refuses to sign, with a reason; nil = nothing does.
	Hold   func(context.Context) error
	Logger *slog.Logger // nil = none
}

// Keeper is the ledger of a log that this process writes: it signs checkpoints.
type Keeper struct {
	*Reader
	o      Options
	log    *es.Log
	signer *signer
	logger *slog.Logger
	told   bool // that the log is unattested

	signing sync.Mutex // held while one is made
	mu      sync.Mutex
	newest  ledger.Checkpoint
	words   ledger.Attestations // as far as they were read
}

var _ ledger.Ledger = (*Keeper)(nil)

// Open returns the keeper of a log. It holds the log against what was signed
// last and refuses with a [*ledger.Rewritten] when it is not a continuation:
// such a log can be read but must not be written, for nobody would believe it.
// It asks the identity to vouch for the key, which may be refused while it is locked.
func Open(ctx context.Context, l *es.Log, o Options) (*Keeper, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := openReader(l.Store, files{dir: o.Dir, disk: o.Disk}, o.LogID, o.Logger)
	if err != nil {
		return nil, err
	}
	k := &Keeper{Reader: r, o: o, log: l, logger: o.Logger}
	if k.newest, err = r.last(); err != nil {
		return nil, err
	}
	origin, err := k.origin(ctx)
	if err != nil {
		return nil, err
	}
	if k.signer, err = newSigner(origin, o.Key); err != nil {
		return nil, err
	}
	if k.newest.Note != nil {
		if err := intact(o.Dir, k.newest, k.signer); err != nil {
			return nil, err
		}
		if err := r.holds(ctx, k.newest); err != nil {
			return nil, err
		}
	}
	return k, k.attest(ctx)
}

// origin is the name that the log has, or else gets.
func (k *Keeper) origin(ctx context.Context) (string, error) {
	if k.newest.Note != nil {
		return k.newest.Origin, nil
	}
	a, err := k.attestations(ctx)
	if err != nil {
		return "", err
	}
	who := a.Identity(hex.EncodeToString(k.o.LogID[:]))
	if who == "" {
		who = k.o.Identity
	}
	if _, err := identity.ParseNodeID(string(who)); err != nil {
		return "", fmt.Errorf("a log is kept in the name of an identity: %w", err)
	}
	return ledger.Origin(who, k.o.LogID), nil
}

// Key is the public key of the log under its name.
func (k *Keeper) Key() verify.Key {
	public, _ := k.o.Key.Public().(ed25519.PublicKey) // newSigner saw to it
	return verify.Key{Name: k.signer.Name(), Public: public}
}

// Checkpoint implements [ledger.Ledger].
func (k *Keeper) Checkpoint(ctx context.Context) (ledger.Checkpoint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest.Note == nil {
		return ledger.Checkpoint{}, ledger.ErrUnsigned
	}
	return k.newest, ctx.Err()
}

// Prove is [Reader.Prove] under the newest checkpoint of the keeper.
func (k *Keeper) Prove(ctx context.Context, p es.Position) (verify.File, error) {
	c, err := k.Checkpoint(ctx)
	if err != nil {
		return verify.File{}, err
	}
	return proveUnder(ctx, k.Tree, c, p)
}

// Sign signs everything that the log holds by now, unless that was done. The
// checkpoint is durable when Sign returns. It fails with a [*ledger.Rewritten]
// rather than contradict the one before, and with [ledger.ErrHeld] while the
// log is known not to be the newest copy.
func (k *Keeper) Sign(ctx context.Context) (ledger.Checkpoint, error) {
	k.signing.Lock()
	defer k.signing.Unlock()
	if k.o.Hold != nil {
		if err := k.o.Hold(ctx); err != nil {
			return ledger.Checkpoint{}, err
		}
	}
	size, root, err := k.Root(ctx)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	old, err := k.Checkpoint(ctx)
	switch {
	case errors.Is(err, ledger.ErrUnsigned):
		if size == 0 {
			return old, err // there is nothing to stand by
		}
	case err != nil:
		return old, err
	case size == old.Size && root == old.Root:
		if known, err := signedBy(old.Note, k.signer); known || err != nil {
			return old, err
		}
	default:
		if err := k.continues(ctx, old, size, root); err != nil {
			return ledger.Checkpoint{}, err
		}
	}
	return k.sign(ctx, size, root)
}

// continues checks by proof that a tree continues what was signed.
func (k *Keeper) continues(ctx context.Context, old ledger.Checkpoint, size uint64, root es.Hash) error {
	rewritten := &ledger.Rewritten{Signed: old.Size, SignedRoot: old.Root, Have: size}
	if size < old.Size {
		return rewritten
	}
	hashes, err := k.ConsistencyProof(ctx, old.Size, size)
	if err != nil {
		return err
	}
	p := make([][]byte, len(hashes))
	for i := range hashes {
		p[i] = hashes[i][:]
	}
	if proof.VerifyConsistency(rfc6962.DefaultHasher, old.Size, size, p, old.Root[:], root[:]) == nil {
		return nil
	}
	if rewritten.Root, err = k.RootAt(ctx, old.Size); err != nil {
		return err
	}
	return rewritten
}

func (k *Keeper) sign(ctx context.Context, size uint64, root es.Hash) (ledger.Checkpoint, error) {
	c, err := k.signer.checkpoint(size, root)
	if err != nil {
		return c, err
	}
	if err := ctx.Err(); err != nil {
		return ledger.Checkpoint{}, err
	}
	k.publish(size)
	if err := k.files.writeCheckpoint(c.Note); err != nil {
		return ledger.Checkpoint{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.newest = c
	return c, nil
}

// closing is how long the last checkpoint may take.
const closing = 10 * time.Second

// Close signs what was not signed yet. The store must still be open.
func (k *Keeper) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if _, err := k.Sign(ctx); err != nil && !errors.Is(err, ledger.ErrUnsigned) && !errors.Is(err, ledger.ErrHeld) {
		return fmt.Errorf("sign the log a last time: %w", err)
	}
	return nil
}
