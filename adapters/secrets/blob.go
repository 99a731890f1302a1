package secrets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// blobTag begins sealed content that lies beside the log. The subject and a
// line break follow, then 16 bytes of id, then what [Vault.Seal] makes.
const blobTag = "emet/blob/1\n"

const blobStream = es.Stream("$blob-sealed")

// SealBlob seals content that is too large for a fact with the key of its
// subject, so that it is erased with the facts about it. The same content of
// the same subject seals to the same bytes.
func (v *Vault) SealBlob(ctx context.Context, subject string, content []byte) ([]byte, error) {
	if subject == "" || strings.ContainsRune(subject, '\n') {
		return nil, fmt.Errorf("seal a blob: %q is no subject", subject)
	}
	sum := sha256.Sum256(content)
	e := &es.NewEvent{ID: es.ID(sum[:16]), Type: "blob", Subject: subject, Data: content}
	if err := v.Seal(ctx, blobStream, e); err != nil {
		return nil, err
	}
	out := append([]byte(blobTag+subject+"\n"), e.ID[:]...)
	return append(out, e.Data...), nil
}

// OpenBlob is the content that [Vault.SealBlob] sealed. It fails with
// es.ErrErased when the subject was erased, and with [ErrForged].
func (v *Vault) OpenBlob(ctx context.Context, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(blobTag))
	subject, rest, found := bytes.Cut(rest, []byte("\n"))
	if !ok || !found || len(rest) < 16 {
		return nil, fmt.Errorf("a blob: %w", ErrForged)
	}
	e := &es.Event{Stream: blobStream, NewEvent: es.NewEvent{ID: es.ID(rest[:16]), Type: "blob", Subject: string(subject), Data: rest[16:]}}
	if err := v.Open(ctx, e); err != nil {
		return nil, err
	}
	return e.Data, nil
}
