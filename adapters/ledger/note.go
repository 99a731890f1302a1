package ledger

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
)

// signer signs notes with a key that may live elsewhere.
type signer struct {
	note.Verifier
	key crypto.Signer
}

// newSigner names an Ed25519 key after an origin line.
func newSigner(origin string, key crypto.Signer) (*signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("log key: a %T cannot sign checkpoints, an Ed25519 key can", key.Public())
	}
	text, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	return &signer{v, key}, nil
}

// Sign implements note.Signer.
func (s *signer) Sign(msg []byte) ([]byte, error) { return s.key.Sign(nil, msg, crypto.Hash(0)) }

func (s *signer) checkpoint(size uint64, root es.Hash) (ledger.Checkpoint, error) {
	body := log.Checkpoint{Origin: s.Name(), Size: size, Hash: root[:]}.Marshal()
	b, err := note.Sign(&note.Note{Text: string(body)}, s)
	if err != nil {
		return ledger.Checkpoint{}, fmt.Errorf("sign the checkpoint: %w", err)
	}
	return ledger.Checkpoint{Origin: s.Name(), Size: size, Root: root, Note: b}, nil
}

var errCheckpoint = errors.New("the file of the last signed checkpoint is damaged")

// parseCheckpoint reads a note without asking who signed it.
func parseCheckpoint(b []byte) (ledger.Checkpoint, error) {
	var body log.Checkpoint
	at := bytes.LastIndex(b, []byte("\n\n"))
	if at < 0 {
		return ledger.Checkpoint{}, fmt.Errorf("%w: it is no signed note", errCheckpoint)
	}
	rest, err := body.Unmarshal(b[:at+1])
	if err != nil || len(rest) > 0 || len(body.Hash) != len(es.Hash{}) {
		return ledger.Checkpoint{}, fmt.Errorf("%w: it has not an origin, a size and a root", errCheckpoint)
	}
	if !bytes.Contains(b[at:], []byte("\n— "+body.Origin+" ")) {
		return ledger.Checkpoint{}, fmt.Errorf("%w: %s has not signed it", errCheckpoint, body.Origin)
	}
	return ledger.Checkpoint{Origin: body.Origin, Size: body.Size, Root: es.Hash(body.Hash), Note: b}, nil
}

// signedBy says whether one of the keys signed a note. When it names none of
// them, known is false.
func signedBy(b []byte, keys ...note.Verifier) (known bool, err error) {
	_, err = note.Open(b, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return false, nil
	}
	return err == nil, err
}

// ownerOf is in whose name an origin line is, "" when it is none of ours.
func ownerOf(origin string) identity.NodeID {
	parts := strings.Split(origin, "/")
	if len(parts) != 3 || parts[0] != "emet" {
		return ""
	}
	id, err := identity.ParseNodeID(parts[1])
	if err != nil || string(id) != parts[1] {
		return ""
	}
	return id
}
