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
	hashes := make([][]byte, len(inclusion))
	for i := range inclusion {
		hashes[i] = inclusion[i][:]
	}
	if err := h.included(e.Header, hashes, c); err != nil {
		return Fact{}, err
	}
	f := h.fact()
	f.Data, f.Meta = e.Data, e.Meta
	return f, nil
}

// A Leaf is what the header of an event says, whose content may be withheld.
type Leaf struct {
	Fact   // without Data and Meta
	Hash   es.Hash
	Sealed bool
	header header
}

// Header checks the header of an event against a checkpoint, as [Event] does.
func Header(b []byte, inclusion [][]byte, c ledger.Checkpoint) (Leaf, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{Fact: h.fact(), Hash: es.Hash(rfc6962.DefaultHasher.HashLeaf(b)), Sealed: h.sealed, header: h}, h.included(b, inclusion, c)
}

// Data checks that content is the data that the header commits to.
func (l Leaf) Data(salt, content []byte) error {
	return committed("data", l.header.data, salt, content)
}

// Meta checks that content is the metadata that the header commits to.
func (l Leaf) Meta(salt, content []byte) error {
	return committed("meta", l.header.meta, salt, content)
}

func (h header) fact() Fact {
	return Fact{
		Position: es.Position(h.position), Stream: es.Stream(h.stream), Revision: es.Revision(h.revision), ID: h.id, Type: h.typ,
		Recorded: h.recorded, PrevInStream: h.previous, Subject: h.subject,
	}
}

func (h header) included(b []byte, inclusion [][]byte, c ledger.Checkpoint) error {
	if h.position >= c.Size {
		return fmt.Errorf("%w: position %d, the checkpoint covers %d events", ErrProof, h.position, c.Size)
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(b)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, h.position, c.Size, leaf, inclusion, c.Root[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return nil
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
