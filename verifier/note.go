package verifier

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// note is a signed checkpoint, taken apart.
type note struct {
	origin string
	size   uint64
	root   []byte
	text   string
	lines  []signatureLine
	broken bool // a signature line is none
}

type signatureLine struct {
	name string
	id   [4]byte // of the key
	rest []byte  // the signature, behind its time if it is a cosignature
}

var errNote = errors.New("it is no signed checkpoint")

// readNote reads the lines of a checkpoint (origin, size, root), an empty one
// and the lines of signatures.
func readNote(b string) (n note, err error) {
	at := strings.LastIndex(b, "\n\n")
	if len(b) > 64<<10 || !utf8.ValidString(b) || at < 0 || at+2 >= len(b) || !strings.HasSuffix(b, "\n") {
		return n, errNote
	}
	n.text = b[:at+1]
	lines := strings.Split(n.text, "\n")
	if len(lines) != 4 {
		return n, errNote
	}
	n.origin = lines[0]
	n.size, err = strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(n.size, 10) != lines[1] {
		return n, errNote
	}
	if n.root, err = strict64(lines[2]); err != nil || len(n.root) != sha256.Size {
		return n, errNote
	}
	signatures := strings.Split(strings.TrimSuffix(b[at+2:], "\n"), "\n")
	if len(signatures) > 64 {
		return n, errNote
	}
	for _, line := range signatures {
		l, ok := readSignatureLine(line)
		if !ok {
			n.broken = true
			continue
		}
		n.lines = append(n.lines, l)
	}
	return n, nil
}

// readSignatureLine reads — <name> base64(key id ‖ signature).
func readSignatureLine(line string) (l signatureLine, ok bool) {
	f := strings.Split(line, " ")
	if len(f) != 3 || f[0] != "—" || f[1] == "" || strings.ContainsAny(f[1], "+\t\r\v\f\u0085\u00a0") {
		return l, false
	}
	b, err := strict64(f[2])
	if err != nil || len(b) < 5 {
		return l, false
	}
	return signatureLine{name: f[1], id: [4]byte(b), rest: b[4:]}, true
}

// strict64 reads base64 in its one right spelling.
func strict64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil && base64.StdEncoding.EncodeToString(b) != s {
		err = errNote
	}
	return b, err
}

// logKey is the key of a log under its origin.
type logKey struct {
	origin string
	public ed25519.PublicKey
}

func (k logKey) id(algorithm byte) (id [4]byte) {
	sum := sha256.Sum256(append([]byte(k.origin+"\n"), append([]byte{algorithm}, k.public...)...))
	return [4]byte(sum[:])
}

// parseKey reads <origin>+<hash>+<base64(1 ‖ key)>.
func parseKey(s string) (k logKey, err error) {
	f := strings.SplitN(s, "+", 3)
	if len(f) != 3 {
		return k, errors.New("a verifier key has three parts")
	}
	b, err := strict64(f[2])
	if err != nil || len(b) != 33 || b[0] != 1 {
		return k, errors.New("a verifier key ends in base64 of 1 and 32 bytes")
	}
	k = logKey{f[0], b[1:]}
	if id := k.id(1); hex.EncodeToString(id[:]) != f[1] {
		return k, errors.New("the hash in the verifier key is wrong")
	}
	return k, nil
}

// signed says whether the key signed the checkpoint, exactly once.
func (n note) signed(k logKey) bool {
	count := 0
	for _, l := range n.lines {
		if l.name != k.origin || l.id != k.id(1) {
			continue
		}
		if count++; len(l.rest) != ed25519.SignatureSize || !ed25519.Verify(k.public, []byte(n.text), l.rest) {
			return false
		}
	}
	return count == 1 && n.origin == k.origin && !n.broken
}

// cosigned returns when the key cosigned the checkpoint.
func (n note) cosigned(k logKey) (time.Time, bool) {
	for _, l := range n.lines {
		if l.name != k.origin || l.id != k.id(4) {
			continue
		}
		if len(l.rest) != 8+ed25519.SignatureSize {
			return time.Time{}, false
		}
		unix := binary.BigEndian.Uint64(l.rest)
		text := "cosignature/v1\ntime " + strconv.FormatUint(unix, 10) + "\n" + n.text
		return time.Unix(int64(unix), 0), unix < 1<<53 && ed25519.Verify(k.public, []byte(text), l.rest[8:]) //nolint:gosec // checked beside
	}
	return time.Time{}, false
}

// continues says whether the tree of a checkpoint is the beginning of another's.
func continues(from, to note, hashes [][]byte) bool {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, from.size, to.size, hashes, from.root, to.root) == nil
}
