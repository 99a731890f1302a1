package ledger

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// Attestation is the word by which an identity vouches for the key of the log
// now. ok is false when nobody does.
func (k *Keeper) Attestation(ctx context.Context, at time.Time) (d peer.Delegation, ok bool, err error) {
	a, err := k.attestations(ctx)
	if err != nil {
		return d, false, err
	}
	fact, ok := a.Of(k.signer.Name(), k.Key().Public, at)
	return peer.Delegation{Document: fact.Document, Signature: fact.Signature}, ok, nil
}

// Cosign signs, with the key of our log, that a checkpoint of somebody else was
// seen at a moment. The caller has written down before what it signs.
func (k *Keeper) Cosign(note []byte, at time.Time) (line string, err error) {
	text, err := verify.NoteText(note)
	if err != nil {
		return "", err
	}
	sig, err := k.o.Key.Sign(nil, verify.CosignedText(at, text), crypto.Hash(0))
	if err != nil {
		return "", fmt.Errorf("cosign: %w", err)
	}
	return verify.CosignatureLine(k.Key(), at, sig), nil
}

// Foreign checks a checkpoint of another node's log: that the node vouches for
// the key, and that the key signed it.
func (k *Keeper) Foreign(who identity.NodeID, note []byte, a peer.Delegation, at time.Time) (ledger.Checkpoint, error) {
	d, key, err := verify.Vouched(a)
	switch {
	case err != nil:
		return ledger.Checkpoint{}, err
	case d.Identity != who:
		return ledger.Checkpoint{}, fmt.Errorf("%w: it is the log of %s, not of %s", verify.ErrAttested, d.Identity, who)
	}
	if err := d.ValidAt(at); err != nil {
		return ledger.Checkpoint{}, err
	}
	return verify.Checkpoint(note, key)
}

// Continues checks by proof that one checkpoint continues another.
func (k *Keeper) Continues(from, to ledger.Checkpoint, consistency [][]byte) error {
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from.Size, to.Size, consistency, from.Root[:], to.Root[:]); err != nil {
		return fmt.Errorf("%w: %w", verify.ErrProof, err)
	}
	return nil
}

// Cosigned checks that another node cosigned a note of ours, and returns when.
func (k *Keeper) Cosigned(who identity.NodeID, note []byte, a peer.Delegation) (time.Time, error) {
	d, key, err := verify.Vouched(a)
	if err != nil {
		return time.Time{}, err
	}
	if d.Identity != who {
		return time.Time{}, fmt.Errorf("%w: the key is that of %s, not of %s", verify.ErrAttested, d.Identity, who)
	}
	at, err := verify.Cosigned(note, key)
	if err == nil {
		err = d.ValidAt(at)
	}
	return at, err
}

// Own reads a checkpoint that somebody says to be ours: signed by this key. It
// fails with [verify.ErrSignature] when it is not.
func (k *Keeper) Own(note []byte) (ledger.Checkpoint, error) { return verify.Checkpoint(note, k.Key()) }

// Origin is the name of the log.
func (k *Keeper) Origin() string { return k.signer.Name() }

// Owner is in whose name the log is kept.
func (k *Keeper) Owner() identity.NodeID { return ownerOf(k.signer.Name()) }

// Extends says whether the log is as long as a checkpoint of it or longer, and
// begins with what was signed there.
func (k *Keeper) Extends(ctx context.Context, c ledger.Checkpoint) (bool, error) {
	size, _, err := k.Root(ctx)
	if err != nil || size < c.Size {
		return false, err
	}
	root, err := k.RootAt(ctx, c.Size)
	return root == c.Root, err
}
