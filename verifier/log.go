package verifier

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/crypto/sha3"
)

func keccak(parts ...[]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

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
	id   [4]byte
	rest []byte
}

var errNote = errors.New("it is no signed checkpoint")

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
		f := strings.Split(line, " ")
		if len(f) != 3 || f[0] != "—" || f[1] == "" || strings.ContainsAny(f[1], "+\t\r\v\f\u0085\u00a0") {
			n.broken = true
			continue
		}
		sig, err := strict64(f[2])
		if err != nil || len(sig) < 5 {
			n.broken = true
			continue
		}
		n.lines = append(n.lines, signatureLine{f[1], [4]byte(sig), sig[4:]})
	}
	return n, nil
}

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

// delegation is an identity's word for a key.
type delegation struct {
	Chain     uint64 `json:"chain"`
	Identity  string `json:"identity"`
	NotAfter  int64  `json:"notAfter"`
	NotBefore int64  `json:"notBefore"`
	PublicKey string `json:"publicKey"`
	Role      string `json:"role"`
	Subject   string `json:"subject"`
}

var (
	nodeID  = regexp.MustCompile(`^0x[0-9a-f]{40}$`)
	keyText = regexp.MustCompile(`^([0-9a-f]{2}){1,128}$`)
	hexText = regexp.MustCompile(`^[0-9a-f]+$`)
)

const grace = 5 * 60 // seconds

// vouch checks an attestation and returns what it says.
func (a attestation) vouch() (d delegation, ok bool) {
	dec := json.NewDecoder(strings.NewReader(a.Document))
	dec.DisallowUnknownFields()
	if len(a.Document) > 4096 || dec.Decode(&d) != nil || d.canonical() != a.Document {
		return d, false
	}
	switch {
	case !nodeID.MatchString(d.Identity), !keyText.MatchString(d.PublicKey), d.Subject == "", len(d.Subject) > 256,
		d.Role != "log" && d.Role != "host", d.NotBefore < 0, d.NotAfter <= d.NotBefore, d.NotAfter >= 1<<53, d.Chain >= 1<<53,
		d.Role == "host" && d.NotAfter-d.NotBefore > 30*24*3600:
		return d, false
	}
	who, err := signer(d.digest(), a.Signature)
	return d, err == nil && who == d.Identity
}

func (d delegation) canonical() string {
	w := new(writer)
	w.object(func(o *object) {
		o.number("chain", d.Chain)
		o.text("identity", d.Identity)
		o.field("notAfter", true, func() { w.WriteString(strconv.FormatInt(d.NotAfter, 10)) })
		o.field("notBefore", true, func() { w.WriteString(strconv.FormatInt(d.NotBefore, 10)) })
		o.text("publicKey", d.PublicKey)
		o.text("role", d.Role)
		o.text("subject", d.Subject)
	})
	return w.String()
}

func (d delegation) digest() [32]byte {
	k := func(s string) []byte { return keccak([]byte(s)) }
	word := func(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 24), n) }
	raw := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	domain := keccak(k("EIP712Domain(string name,string version)"), k("emet"), k("1"))
	message := keccak(
		k("Delegation(address identity,string role,bytes publicKey,string subject,uint64 notBefore,uint64 notAfter,uint256 chain)"),
		make([]byte, 12), raw(d.Identity[2:]), k(d.Role), keccak(raw(d.PublicKey)), k(d.Subject),
		word(uint64(d.NotBefore)), word(uint64(d.NotAfter)), word(d.Chain)) //nolint:gosec // not negative
	return [32]byte(keccak([]byte{0x19, 1}, domain, message))
}

// covers says whether the word counts at a moment.
func (d delegation) covers(t time.Time) bool {
	return t.Unix()+grace >= d.NotBefore && t.Unix() <= d.NotAfter
}

// ed25519 is the key in the protobuf form of libp2p.
func (d delegation) ed25519() (ed25519.PublicKey, bool) {
	digits, ok := strings.CutPrefix(d.PublicKey, "08011220")
	b, err := hex.DecodeString(digits)
	return b, ok && err == nil && len(b) == ed25519.PublicKeySize
}

// log is the key of the identity's log, if the delegation is for one.
func (d delegation) log() (logKey, bool) {
	public, ok := d.ed25519()
	name := strings.HasPrefix(d.Subject, "emet/"+d.Identity+"/") && !strings.ContainsAny(d.Subject, "+ \t\r\n\v\f\u0085\u00a0")
	return logKey{d.Subject, public}, ok && d.Role == "log" && name
}

// leaf is the header of an event.
type leaf struct {
	position, revision uint64
	stream, kind       string
	id                 [16]byte
	recorded           time.Time
	previous           [32]byte
	data, meta         [32]byte
	subject            string
	sealed             bool
	hash               [32]byte
}

var errHeader = errors.New("the header of the event does not add up")

func readLeaf(b []byte) (l leaf, err error) {
	copy(l.hash[:], rfc6962.DefaultHasher.HashLeaf(b))
	r := bytes.NewBuffer(b)
	next := func(n int) []byte {
		out := r.Next(n)
		if len(out) < n {
			err = errHeader
			return make([]byte, n)
		}
		return out
	}
	number := func() uint64 { return binary.LittleEndian.Uint64(next(8)) }
	text := func() string { return string(next(int(binary.LittleEndian.Uint16(next(2))))) }
	version := next(1)[0]
	l.position, l.stream, l.revision = number(), text(), number()
	copy(l.id[:], next(16))
	l.kind = text()
	nanos := number()
	content, flags := next(1)[0], next(1)[0]
	copy(l.previous[:], next(32))
	copy(l.data[:], next(32))
	copy(l.meta[:], next(32))
	l.subject = text()
	if r.Len() > 0 || version != 1 || flags != 0 || content != 1 && content != 2 || nanos > math.MaxInt64 || l.revision > math.MaxInt64 {
		return l, errHeader
	}
	l.recorded, l.sealed = time.Unix(0, int64(nanos)).UTC(), content == 2
	return l, err
}

// in says whether the leaf is in the tree of a checkpoint.
func (l leaf) in(n note, hashes [][]byte) bool {
	return l.position < n.size && proof.VerifyInclusion(rfc6962.DefaultHasher, l.position, n.size, l.hash[:], hashes, n.root) == nil
}

func continues(from, to note, hashes [][]byte) bool {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, from.size, to.size, hashes, from.root, to.root) == nil
}

func commits(to [32]byte, salt, content []byte) bool {
	return len(salt) == 16 && sha256.Sum256(slices.Concat([]byte{2}, salt, content)) == to
}

var errSealed = errors.New("the key does not open the content")

// unseal opens sealed content with the key of its event.
func (l leaf) unseal(key, b []byte) ([]byte, error) {
	if len(key) != 32 || len(b) < 21 || b[0] != 1 {
		return nil, errSealed
	}
	both, err := hkdf.Expand(sha256.New, key, "emet/seal/1", 64)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(both[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, b[9:21], b[21:], slices.Concat([]byte(l.stream), []byte{0}, []byte(l.kind), []byte{0}, l.id[:]))
}
