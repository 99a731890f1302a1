package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

const cosignAlg = 4 // of signed notes: cosignature/v1

// cosignHash is the key id of the cosignatures of a log's key.
func (k Key) cosignHash() (out [4]byte) {
	h := sha256.New()
	h.Write([]byte(k.Name + "\n"))
	h.Write([]byte{cosignAlg})
	h.Write(k.Public)
	copy(out[:], h.Sum(nil))
	return out
}

// CosignedText is what a cosigner signs: that it saw a checkpoint at a moment.
// text is the three lines of the checkpoint.
func CosignedText(at time.Time, text []byte) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text)
}

// CosignatureLine is the line of a note by which the key's owner cosigned.
func CosignatureLine(k Key, at time.Time, signature []byte) string {
	id := k.cosignHash()
	b := binary.BigEndian.AppendUint64(id[:], uint64(at.Unix())) //nolint:gosec // after 1970
	return "— " + k.Name + " " + base64.StdEncoding.EncodeToString(append(b, signature...)) + "\n"
}

// NoteText is the signed text of a note: what stands before its signatures.
func NoteText(note []byte) ([]byte, error) {
	text, _, err := splitNote(note)
	return text, err
}

// Cosigned returns when the owner of a log's key cosigned a checkpoint. It
// fails with [ErrSignature] when it did not.
func Cosigned(note []byte, key Key) (time.Time, error) {
	text, lines, err := splitNote(note)
	if err != nil {
		return time.Time{}, err
	}
	want := key.cosignHash()
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "— ")
		name, encoded, two := strings.Cut(rest, " ")
		b, canonical := decode64(encoded)
		if !ok || !two || !canonical || len(b) < 5 {
			return time.Time{}, fmt.Errorf("%w: a signature line of the checkpoint", ErrMalformed)
		}
		if name != key.Name || !bytes.Equal(b[:4], want[:]) {
			continue
		}
		if len(b) != 4+8+ed25519.SignatureSize || binary.BigEndian.Uint64(b[4:]) >= 1<<53 {
			return time.Time{}, fmt.Errorf("%w: of %s", ErrSignature, name)
		}
		at := time.Unix(int64(binary.BigEndian.Uint64(b[4:])), 0).UTC() //nolint:gosec // below 2^53
		if !ed25519.Verify(key.Public, CosignedText(at, text), b[12:]) {
			return time.Time{}, fmt.Errorf("%w: of %s", ErrSignature, name)
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%w: %s has not cosigned it", ErrSignature, key.Name)
}

// ParseCheckpoint reads a checkpoint without asking who signed it. Its note is
// the whole of what was given.
func ParseCheckpoint(note []byte) (origin string, size uint64, root [32]byte, err error) {
	text, _, err := splitNote(note)
	if err != nil {
		return "", 0, root, err
	}
	c, err := parseBody(text)
	return c.Origin, c.Size, c.Root, err
}
