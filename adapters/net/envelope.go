package net

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Envelope is a message between two nodes as it travels: protocol-buffer
// fields in ascending order, the signature last. From and To are "" only
// before the nodes have proved who they are. Times are whole microseconds.
//
// Seq counts the sender's envelopes of this pair from 1 since the two hosts
// are connected, AckSeq is the one that it had last from the other, Head the
// SHA-256 of that envelope: whoever holds those of one side sees what is missing.
type Envelope struct {
	ID        string
	Network   string
	From, To  identity.NodeID
	SentAt    time.Time
	Expires   time.Time
	Seq       uint64
	AckSeq    uint64
	Head      es.Hash
	Kind      string
	Body      []byte
	Stream    bool   // any number of answers is wanted
	Signature []byte // by the sender's host key, over Digest
}

// Kinds of envelopes that are not messages.
const (
	KindRefusal = "refusal"      // Body is the JSON of a peer.Refusal
	KindEnd     = "end"          // a stream of answers is complete
	KindHello   = "hello-needed" // the session is not known, nothing was done
)

// Field numbers. docs/formats.md describes them.
const (
	fieldID protowire.Number = iota + 1
	fieldNetwork
	fieldFrom
	fieldTo
	fieldSentAt
	fieldExpires
	fieldSeq
	fieldAckSeq
	fieldHead
	fieldKind
	fieldBody
	fieldStream
	fieldSignature protowire.Number = 15
)

const (
	maxID        = 64
	maxNetwork   = 64
	maxKind      = 64
	maxSignature = 128
	// EnvelopeOverhead is the most that an envelope adds to its body.
	EnvelopeOverhead = 1 << 10
	digestTag        = "emet/envelope/1\x00"
)

// ErrEnvelope says that bytes are no envelope.
var ErrEnvelope = errors.New("malformed envelope")

// unsigned writes everything but the signature.
func (e Envelope) unsigned() []byte {
	b := make([]byte, 0, len(e.Body)+256)
	b = appendBytes(b, fieldID, []byte(e.ID))
	b = appendBytes(b, fieldNetwork, []byte(e.Network))
	b = appendNode(b, fieldFrom, e.From)
	b = appendNode(b, fieldTo, e.To)
	b = appendInt(b, fieldSentAt, micros(e.SentAt))
	b = appendInt(b, fieldExpires, micros(e.Expires))
	b = appendInt(b, fieldSeq, e.Seq)
	b = appendInt(b, fieldAckSeq, e.AckSeq)
	if e.Head != (es.Hash{}) {
		b = appendBytes(b, fieldHead, e.Head[:])
	}
	b = appendBytes(b, fieldKind, []byte(e.Kind))
	b = appendBytes(b, fieldBody, e.Body)
	if e.Stream {
		b = appendInt(b, fieldStream, 1)
	}
	return b
}

// Marshal writes the envelope; sign is given the digest and may be nil.
func (e Envelope) Marshal(sign func(digest []byte) ([]byte, error)) ([]byte, error) {
	b := e.unsigned()
	if sign == nil {
		return b, nil
	}
	sig, err := sign(digest(b))
	if err != nil {
		return nil, fmt.Errorf("sign envelope: %w", err)
	}
	return appendBytes(b, fieldSignature, sig), nil
}

func digest(unsigned []byte) []byte {
	h := sha256.New()
	h.Write([]byte(digestTag))
	h.Write(unsigned)
	return h.Sum(nil)
}

// ParseEnvelope reads an envelope and returns with it the digest that the
// signature must be over. The parts of the result share memory with b.
func ParseEnvelope(b []byte) (e Envelope, signed []byte, err error) {
	rest, last := b, protowire.Number(0)
	signed = b
	for len(rest) > 0 {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 || num <= last || last == fieldSignature {
			return e, nil, fmt.Errorf("%w: field %d after field %d", ErrEnvelope, num, last)
		}
		if num == fieldSignature {
			signed = b[:len(b)-len(rest)]
		}
		last, rest = num, rest[n:]
		if n, err = e.field(num, typ, rest); err != nil {
			return e, nil, err
		}
		rest = rest[n:]
	}
	if e.ID == "" || e.Kind == "" {
		return e, nil, fmt.Errorf("%w: no id or no kind", ErrEnvelope)
	}
	return e, digest(signed), nil
}

func (e *Envelope) field(num protowire.Number, typ protowire.Type, b []byte) (int, error) {
	switch typ {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || v == 0 || protowire.SizeVarint(v) != n {
			return 0, fmt.Errorf("%w: field %d", ErrEnvelope, num)
		}
		return n, e.setInt(num, v)
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		if n <= 0 || len(v) == 0 {
			return 0, fmt.Errorf("%w: field %d", ErrEnvelope, num)
		}
		return n, e.setBytes(num, v)
	}
	return 0, fmt.Errorf("%w: field %d has wire type %d", ErrEnvelope, num, typ)
}

func (e *Envelope) setInt(num protowire.Number, v uint64) error {
	switch num {
	case fieldSentAt, fieldExpires:
		if v >= 1<<53 {
			return fmt.Errorf("%w: time %d", ErrEnvelope, v)
		}
		t := time.UnixMicro(int64(v)).UTC()
		if num == fieldSentAt {
			e.SentAt = t
		} else {
			e.Expires = t
		}
	case fieldSeq:
		e.Seq = v
	case fieldAckSeq:
		e.AckSeq = v
	case fieldStream:
		if v != 1 {
			return fmt.Errorf("%w: field %d is %d", ErrEnvelope, num, v)
		}
		e.Stream = true
	case fieldID, fieldNetwork, fieldFrom, fieldTo, fieldHead, fieldKind, fieldBody, fieldSignature:
		return fmt.Errorf("%w: field %d is a number", ErrEnvelope, num)
	}
	return nil // a field of a later version
}

func (e *Envelope) setBytes(num protowire.Number, v []byte) error {
	most := map[protowire.Number]int{
		fieldID: maxID, fieldNetwork: maxNetwork, fieldFrom: 20, fieldTo: 20, fieldHead: 32, fieldKind: maxKind, fieldSignature: maxSignature,
	}[num]
	if most > 0 && len(v) > most {
		return fmt.Errorf("%w: field %d has %d bytes", ErrEnvelope, num, len(v))
	}
	switch num {
	case fieldID:
		e.ID = string(v)
	case fieldNetwork:
		e.Network = string(v)
	case fieldFrom, fieldTo, fieldHead:
		return e.setFixed(num, v, most)
	case fieldKind:
		e.Kind = string(v)
	case fieldBody:
		e.Body = v
	case fieldSignature:
		e.Signature = v
	case fieldSentAt, fieldExpires, fieldSeq, fieldAckSeq, fieldStream:
		return fmt.Errorf("%w: field %d is no number", ErrEnvelope, num)
	}
	return nil
}

func (e *Envelope) setFixed(num protowire.Number, v []byte, size int) error {
	if len(v) != size {
		return fmt.Errorf("%w: field %d has %d bytes, want %d", ErrEnvelope, num, len(v), size)
	}
	switch num {
	case fieldFrom:
		e.From = identity.NodeIDFrom([20]byte(v))
	case fieldTo:
		e.To = identity.NodeIDFrom([20]byte(v))
	default:
		e.Head = es.Hash(v)
		if e.Head == (es.Hash{}) {
			return fmt.Errorf("%w: head is zero", ErrEnvelope)
		}
	}
	return nil
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendNode(b []byte, num protowire.Number, id identity.NodeID) []byte {
	if id == "" {
		return b
	}
	raw := id.Bytes()
	return appendBytes(b, num, raw[:])
}

func appendInt(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func micros(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.UnixMicro()) //nolint:gosec // not negative
}
