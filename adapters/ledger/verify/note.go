package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Refusals. Everything that is wrong with evidence is one of them.
var (
	ErrMalformed = errors.New("evidence is malformed")
	ErrSignature = errors.New("the checkpoint is not signed by the log's key")
	ErrProof     = errors.New("the event is not in the tree that was signed")
	ErrContent   = errors.New("the content is not what the event commits to")
	ErrAttested  = errors.New("the log's key is not vouched for")
	ErrNoTrust   = errors.New("name the log's key or the identity that must have vouched for it")
)

const (
	maxNote       = 64 << 10
	maxSignatures = 64
	ed25519Alg    = 1 // of signed notes
)

// Key is a log's public key under its name, the origin line.
type Key struct {
	Name   string
	Public ed25519.PublicKey
}

// ParseKey reads a verifier key: name+hash+base64(1 ‖ Ed25519 key).
func ParseKey(text string) (Key, error) {
	bad := func(why string) (Key, error) {
		return Key{}, fmt.Errorf("%w: verifier key: %s; want <name>+<8 hexadecimal digits>+<base64>", ErrMalformed, why)
	}
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || !validName(parts[0]) {
		return bad("it has not three parts")
	}
	b, ok := decode64(parts[2])
	if !ok || len(b) != 1+ed25519.PublicKeySize || b[0] != ed25519Alg {
		return bad("it is no Ed25519 key")
	}
	k := Key{Name: parts[0], Public: ed25519.PublicKey(b[1:])}
	if h := k.hash(); hex.EncodeToString(h[:]) != parts[1] {
		return bad("its hash is wrong")
	}
	return k, nil
}

// String is the verifier key in the form that [ParseKey] reads.
func (k Key) String() string {
	h := k.hash()
	return k.Name + "+" + hex.EncodeToString(h[:]) + "+" + base64.StdEncoding.EncodeToString(append([]byte{ed25519Alg}, k.Public...))
}

// hash is the first four bytes of SHA-256(name ‖ newline ‖ 1 ‖ key).
func (k Key) hash() (out [4]byte) {
	h := sha256.New()
	h.Write([]byte(k.Name + "\n"))
	h.Write([]byte{ed25519Alg})
	h.Write(k.Public)
	copy(out[:], h.Sum(nil))
	return out
}

func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsAny(name, "+ \t\r\n\v\f\u0085\u00a0")
}

// decode64 takes one spelling of each value only.
func decode64(text string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil && base64.StdEncoding.EncodeToString(b) == text
}

// Checkpoint checks a signed checkpoint (c2sp.org/tlog-checkpoint without
// extension lines). Signatures of others are passed over.
func Checkpoint(note []byte, key Key) (ledger.Checkpoint, error) {
	text, signatures, err := splitNote(note)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	c, err := parseBody(text)
	if err != nil {
		return c, err
	}
	if c.Origin != key.Name {
		return c, fmt.Errorf("%w: it is of %q, the key is that of %q", ErrSignature, c.Origin, key.Name)
	}
	c.Note = bytes.Clone(note)
	return c, checkSignatures(text, signatures, key)
}

// splitNote separates the signed text from the lines of signatures.
func splitNote(note []byte) (text []byte, signatures []string, err error) {
	at := bytes.LastIndex(note, []byte("\n\n"))
	switch {
	case len(note) > maxNote:
		return nil, nil, fmt.Errorf("%w: a checkpoint of %d bytes", ErrMalformed, len(note))
	case !utf8.Valid(note), at < 0, at+2 == len(note), note[len(note)-1] != '\n':
		return nil, nil, fmt.Errorf("%w: the checkpoint is no signed note", ErrMalformed)
	}
	signatures = strings.Split(strings.TrimSuffix(string(note[at+2:]), "\n"), "\n")
	if len(signatures) > maxSignatures {
		return nil, nil, fmt.Errorf("%w: %d signatures", ErrMalformed, len(signatures))
	}
	return note[:at+1], signatures, nil
}

func parseBody(text []byte) (c ledger.Checkpoint, err error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("%w: a checkpoint has an origin, a size and a root, one on each line", ErrMalformed)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	root, ok := decode64(lines[2])
	if err != nil || strconv.FormatUint(size, 10) != lines[1] || !ok || len(root) != len(c.Root) {
		return c, fmt.Errorf("%w: size %q and root %q of the checkpoint", ErrMalformed, lines[1], lines[2])
	}
	return ledger.Checkpoint{Origin: lines[0], Size: size, Root: es.Hash(root)}, nil
}

func checkSignatures(text []byte, lines []string, key Key) error {
	want, found := key.hash(), false
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "— ")
		name, encoded, two := strings.Cut(rest, " ")
		b, canonical := decode64(encoded)
		if !ok || !two || !canonical || !validName(name) || len(b) < 5 {
			return fmt.Errorf("%w: a signature line of the checkpoint", ErrMalformed)
		}
		if name != key.Name || binary.BigEndian.Uint32(b) != binary.BigEndian.Uint32(want[:]) {
			continue
		}
		if found || len(b) != 4+ed25519.SignatureSize || !ed25519.Verify(key.Public, text, b[4:]) {
			return ErrSignature
		}
		found = true
	}
	if !found {
		return fmt.Errorf("%w: %s", ErrSignature, key.Name)
	}
	return nil
}
