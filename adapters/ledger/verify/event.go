package verify

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

const saltBytes = 16

// Fact is what a checked event says.
type Fact struct {
	Position     es.Position
	Stream       es.Stream
	Revision     es.Revision
	ID           es.ID
	Type         string
	Recorded     time.Time // the owner's clock
	PrevInStream es.Hash
	Subject      string // whose key Data is sealed with, "" = it is not
	Data, Meta   []byte
}

// Event checks one event against a checkpoint that was checked before.
// inclusion is the proof of RFC 6962 for its position in the tree of c.
func Event(e ledger.Entry, inclusion []es.Hash, c ledger.Checkpoint) (Fact, error) {
	h, err := parseHeader(e.Header)
	if err != nil {
		return Fact{}, err
	}
	if err := errors.Join(committed("data", h.data, e.DataSalt, e.Data), committed("meta", h.meta, e.MetaSalt, e.Meta)); err != nil {
		return Fact{}, err
	}
	if h.position >= c.Size {
		return Fact{}, fmt.Errorf("%w: position %d, the checkpoint covers %d events", ErrProof, h.position, c.Size)
	}
	hashes := make([][]byte, len(inclusion))
	for i := range inclusion {
		hashes[i] = inclusion[i][:]
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(e.Header)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, h.position, c.Size, leaf, hashes, c.Root[:]); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return Fact{
		Position: es.Position(h.position), Stream: es.Stream(h.stream), Revision: es.Revision(h.revision), ID: h.id, Type: h.typ,
		Recorded: h.recorded, PrevInStream: h.previous, Subject: h.subject, Data: e.Data, Meta: e.Meta,
	}, nil
}

func committed(what string, want, salt, content []byte) error {
	if len(salt) != saltBytes {
		return fmt.Errorf("%w: the salt of %s has %d bytes", ErrMalformed, what, len(salt))
	}
	h := sha256.New()
	h.Write([]byte{2})
	h.Write(salt)
	h.Write(content)
	if subtle.ConstantTimeCompare(h.Sum(nil), want) != 1 {
		return fmt.Errorf("%w: %s", ErrContent, what)
	}
	return nil
}
