package evidence

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/eventschemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// party is one side of a deal with all its keys.
type party struct {
	key       *ecdsa.PrivateKey
	id        identity.NodeID
	log, host ed25519.PrivateKey
	logID     [16]byte
	words     []peer.Delegation // for the log, for the host
}

// newParty makes keys of a seed.
func newParty(seed string) *party {
	sum := sha256.Sum256([]byte(seed))
	key, err := crypto.ToECDSA(sum[:])
	if err != nil {
		panic(err)
	}
	ed := func(s string) ed25519.PrivateKey {
		sum := sha256.Sum256([]byte(s + seed))
		return ed25519.NewKeyFromSeed(sum[:])
	}
	p := &party{key: key, id: identity.NodeIDFrom(crypto.PubkeyToAddress(key.PublicKey)), log: ed("log"), host: ed("host"), logID: [16]byte(sum[:])}
	p.words = []peer.Delegation{
		p.vouch(delegation.Log, p.log, p.origin(), 300*24*time.Hour),
		p.vouch(delegation.Host, p.host, "12D3Koo"+seed, 20*24*time.Hour),
	}
	return p
}

func (p *party) origin() string { return ledger.Origin(p.id, p.logID) }
func (p *party) logKey() verify.Key {
	return verify.Key{Name: p.origin(), Public: p.log.Public().(ed25519.PublicKey)} //nolint:forcetypeassert // it is one
}

func (p *party) vouch(role delegation.Role, key ed25519.PrivateKey, subject string, span time.Duration) peer.Delegation {
	d := delegation.Document{
		Identity: p.id, NotBefore: noon.Add(-time.Hour).Unix(), NotAfter: noon.Add(span).Unix(), Role: role, Subject: subject,
		PublicKey: ledger.KeyOf(key.Public().(ed25519.PublicKey)), //nolint:forcetypeassert // it is one
	}
	text, err := d.Canonical()
	if err != nil {
		panic(err)
	}
	return peer.Delegation{Document: string(text), Signature: p.sign(d.Digest(crypto.Keccak256))}
}

// sign yields r‖s‖v.
func (p *party) sign(digest [32]byte) []byte {
	sig, err := crypto.Sign(digest[:], p.key)
	if err != nil {
		panic(err)
	}
	return sig
}

func (p *party) statement(text []byte) string {
	return "emet1:" + hex.EncodeToString(p.sign(sha256.Sum256(append([]byte("emet/agreement/1\x00"), text...))))
}

// note signs a checkpoint.
func (p *party) note(size uint64, root es.Hash) string {
	text := fmt.Sprintf("%s\n%d\n%s\n", p.origin(), size, base64.StdEncoding.EncodeToString(root[:]))
	sum := sha256.Sum256([]byte(p.origin() + "\n\x01" + string(p.log.Public().(ed25519.PublicKey)))) //nolint:forcetypeassert // it is one
	return text + "\n— " + p.origin() + " " + base64.StdEncoding.EncodeToString(append(sum[:4:4], ed25519.Sign(p.log, []byte(text))...)) + "\n"
}

// cosign adds a line to another's checkpoint.
func (p *party) cosign(note string, at time.Time) string {
	text, err := verify.NoteText([]byte(note))
	if err != nil {
		panic(err)
	}
	return note + verify.CosignatureLine(p.logKey(), at, ed25519.Sign(p.log, verify.CosignedText(at, text)))
}

// chronicle is the log of one party, in memory. It is an es.Store for reading
// and a ledger under its newest checkpoint.
type chronicle struct {
	es.Store // nothing else is asked
	owner    *party
	codec    es.Codec
	now      time.Time
	events   []es.Event
	entries  []ledger.Entry
	heads    map[es.Stream]es.Event
	garble   func(data []byte) []byte // what the owner writes instead; may be nil
}

func newChronicle(owner *party) *chronicle {
	return &chronicle{owner: owner, codec: registry, now: noon, heads: map[es.Stream]es.Event{}}
}

var registry = eventschemas.New()

func (c *chronicle) size() uint64 { return uint64(len(c.events)) }

// add appends a fact and returns its id.
func (c *chronicle) add(stream es.Stream, fact any) es.ID {
	typ, data, subject, err := c.codec.Encode(fact)
	if err != nil {
		panic(err)
	}
	if c.garble != nil {
		data = c.garble(data)
	}
	c.now = c.now.Add(time.Millisecond)
	e := es.Event{
		NewEvent: es.NewEvent{Type: typ, Data: data, Meta: []byte(`{"actor":"saga","grade":"self"}`), Subject: subject},
		Stream:   stream, Position: es.Position(c.size()), Recorded: c.now,
	}
	if before, ok := c.heads[stream]; ok {
		e.Revision, e.PrevInStream = before.Revision+1, before.Leaf
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", c.owner.id, e.Position, stream))
	e.ID = es.ID(sum[:16])
	if subject != "" {
		e.Data = seal(&e)
	}
	c.put(e)
	return e.ID
}

func (c *chronicle) put(e es.Event) {
	salt := sha256.Sum256(append([]byte("salt"), e.ID[:]...))
	entry := ledger.Entry{Data: e.Data, DataSalt: salt[:16], Meta: e.Meta, MetaSalt: salt[16:]}
	entry.Header = header(e, entry)
	e.Leaf = sha256.Sum256(append([]byte{0}, entry.Header...))
	c.events, c.entries = append(c.events, e), append(c.entries, entry)
	c.heads[e.Stream] = e
}

func header(e es.Event, entry ledger.Entry) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...) //nolint:gosec // short
	}
	commit := func(salt, content []byte) []byte {
		sum := sha256.Sum256(append(append([]byte{2}, salt...), content...))
		return sum[:]
	}
	b := binary.LittleEndian.AppendUint64([]byte{1}, uint64(e.Position))
	b = text(b, string(e.Stream))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Revision)) //nolint:gosec // not negative
	b = append(b, e.ID[:]...)
	b = text(b, e.Type)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Recorded.UnixNano())) //nolint:gosec // after 1970
	content := byte(1)
	if e.Subject != "" {
		content = 2
	}
	b = append(b, content, 0)
	b = append(b, e.PrevInStream[:]...)
	b = append(b, commit(entry.DataSalt, entry.Data)...)
	b = append(b, commit(entry.MetaSalt, entry.Meta)...)
	return text(b, e.Subject)
}

func eventKey(e *es.Event) ([]byte, error) {
	sum := sha256.Sum256(append([]byte(e.Subject), e.ID[:]...))
	return sum[:], nil
}

func aead(e *es.Event) cipher.AEAD {
	key, _ := eventKey(e)
	both, err := hkdf.Expand(sha256.New, key, "emet/seal/1", 64)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(both[:32])
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

func aad(e *es.Event) []byte {
	return append([]byte(string(e.Stream)+"\x00"+e.Type+"\x00"), e.ID[:]...)
}

func seal(e *es.Event) []byte {
	out := append([]byte{1}, make([]byte, 8)...)
	nonce := e.ID[:12]
	return aead(e).Seal(append(out, nonce...), nonce, e.Data, aad(e))
}

// Seal implements es.Sealer.
func (c *chronicle) Seal(context.Context, es.Stream, *es.NewEvent) error { panic("it is read only") }

// Open implements es.Sealer.
func (c *chronicle) Open(_ context.Context, e *es.Event) (err error) {
	e.Data, err = aead(e).Open(nil, e.Data[9:21], e.Data[21:], aad(e))
	return err
}

// Info implements es.Store.
func (c *chronicle) Info(_ context.Context, s es.Stream) (es.StreamInfo, error) {
	if e, ok := c.heads[s]; ok {
		return es.StreamInfo{Head: e.Revision}, nil
	}
	return es.StreamInfo{Head: es.NoStream}, nil
}

// ReadStream implements es.Store.
func (c *chronicle) ReadStream(ctx context.Context, s es.Stream, from es.Revision, d es.Direction, n int) iter.Seq2[es.Event, error] {
	return c.ReadAll(ctx, 0, d, es.Filter{Streams: []es.Stream{s}}, n)
}

// ReadAll implements es.Store.
func (c *chronicle) ReadAll(_ context.Context, _ es.Position, _ es.Direction, f es.Filter, _ int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for _, e := range c.events {
			if f.Match(e.Stream, e.Type) && !yield(e, nil) {
				return
			}
		}
	}
}

func (c *chronicle) entry(_ context.Context, p es.Position) (ledger.Entry, error) {
	return c.entries[p], nil
}

// node is the hash of RFC 6962 over the leaves from one to another.
func (c *chronicle) node(from, to uint64) es.Hash {
	if to-from == 1 {
		return c.events[from].Leaf
	}
	k := split(to - from)
	l, r := c.node(from, from+k), c.node(from+k, to)
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

// split is the largest power of two below n.
func split(n uint64) uint64 {
	k := uint64(1)
	for k*2 < n {
		k *= 2
	}
	return k
}

func (c *chronicle) checkpoint(size uint64) ledger.Checkpoint {
	root := c.node(0, size)
	return ledger.Checkpoint{Origin: c.owner.origin(), Size: size, Root: root, Note: []byte(c.owner.note(size, root))}
}

// Checkpoint implements ledger.Ledger.
func (c *chronicle) Checkpoint(context.Context) (ledger.Checkpoint, error) {
	return c.checkpoint(c.size()), nil
}

// InclusionProof implements ledger.Ledger.
func (c *chronicle) InclusionProof(_ context.Context, p es.Position, size uint64) ([]es.Hash, error) {
	return c.path(uint64(p), 0, size), nil
}

func (c *chronicle) path(m, from, to uint64) []es.Hash {
	if to-from == 1 {
		return nil
	}
	mid := from + split(to-from)
	if m < mid {
		return append(c.path(m, from, mid), c.node(mid, to))
	}
	return append(c.path(m, mid, to), c.node(from, mid))
}

// ConsistencyProof implements ledger.Ledger.
func (c *chronicle) ConsistencyProof(_ context.Context, from, to uint64) ([]es.Hash, error) {
	return c.subproof(from, 0, to, true), nil
}

func (c *chronicle) subproof(m, from, to uint64, whole bool) []es.Hash {
	if m == to {
		if whole {
			return nil
		}
		return []es.Hash{c.node(from, to)}
	}
	mid := from + split(to-from)
	if m <= mid {
		return append(c.subproof(m, from, mid, whole), c.node(mid, to))
	}
	return append(c.subproof(m, mid, to, false), c.node(from, mid))
}

// Tile implements ledger.Ledger.
func (c *chronicle) Tile(context.Context, int, uint64, int) ([]byte, error) { panic("no tiles here") }

// envelope is a message as a host sends it.
func envelope(from, to *party, kind, body string, sent time.Time) []byte {
	var b []byte
	field := func(n int, v []byte) {
		b = binary.AppendUvarint(b, uint64(n)<<3|2) //nolint:gosec // small
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	raw := func(id identity.NodeID) []byte { x := id.Bytes(); return x[:] }
	field(1, []byte("message"))
	field(2, []byte("public"))
	field(3, raw(from.id))
	field(4, raw(to.id))
	b = binary.AppendUvarint(append(b, 5<<3), uint64(sent.UnixMicro())) //nolint:gosec // after 1970
	field(10, []byte(kind))
	field(11, []byte(body))
	sum := sha256.Sum256(append([]byte("emet/envelope/1\x00"), b...))
	field(15, ed25519.Sign(from.host, sum[:]))
	return b
}

func TestTheChronicleIsALog(t *testing.T) {
	t.Parallel()
	c := newChronicle(newParty("a"))
	for i := range 20 {
		c.add(es.Stream(fmt.Sprintf("x-%d", i%3)), ledger.Repaired{Detail: strings.Repeat("y", i), LogID: "z"})
	}
	for p := range c.size() {
		hashes, _ := c.InclusionProof(t.Context(), es.Position(p), c.size())
		if _, err := verify.Event(c.entries[p], hashes, c.checkpoint(c.size())); err != nil {
			t.Fatal(err)
		}
	}
}
