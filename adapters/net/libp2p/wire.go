package libp2p

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// writeFrame writes an envelope after its length.
func writeFrame(w io.Writer, frame []byte) error {
	b := binary.AppendUvarint(make([]byte, 0, len(frame)+binary.MaxVarintLen32), uint64(len(frame)))
	_, err := w.Write(append(b, frame...))
	return err
}

// readFrame reads an envelope of at most so many bytes. Memory is taken as
// bytes come in, not as the length claims. reserve is asked first whether there
// is so much; it may be nil.
func readFrame(r *bufio.Reader, most int, reserve func(bytes int) error) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size == 0 || size > uint64(most) {
		return nil, fmt.Errorf("frame of %d bytes, at most %d: %w", size, most, net.ErrTooLarge)
	}
	if reserve != nil {
		if err := reserve(int(size)); err != nil { //nolint:gosec // at most 1 MiB and a bit
			return nil, err
		}
	}
	if size <= 64<<10 {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(size))) //nolint:gosec // at most 1 MiB and a bit
	if err == nil && uint64(len(b)) < size {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// envelope begins a request: now, and as long as ctx lasts.
func (n *Net) envelope(ctx context.Context, from, to identity.NodeID, kind string, body []byte) net.Envelope {
	now := time.Now().UTC().Truncate(time.Microsecond)
	expires := now.Add(net.CallTimeout)
	if d, ok := ctx.Deadline(); ok {
		expires = d.UTC()
	}
	if last := now.Add(longestWork); expires.After(last) {
		expires = last
	}
	return net.Envelope{
		ID: net.MessageID(ctx), Network: n.cfg.Network, From: from, To: to, SentAt: now, Expires: expires, Kind: kind, Body: body,
	}
}

// seal numbers, signs and writes an envelope.
func (n *Net) seal(s *session, e net.Envelope) ([]byte, error) {
	if n.acquainted(s, e.From, e.To) {
		s.number(&e)
	}
	return e.Marshal(func(digest []byte) ([]byte, error) { return ed25519.Sign(n.cfg.HostKey, digest), nil })
}

var errSignature = errors.New("envelope is not signed by the host that sent it")

// unseal reads an envelope of a host and checks what binds it to this session.
func (n *Net) unseal(host lpeer.ID, frame []byte) (net.Envelope, error) {
	e, digest, err := net.ParseEnvelope(frame)
	if err != nil {
		return e, err
	}
	key, err := host.ExtractPublicKey()
	if err != nil {
		return e, err
	}
	if ok, err := key.Verify(digest, e.Signature); err != nil || !ok {
		return e, errSignature
	}
	if e.Network != n.cfg.Network {
		return e, fmt.Errorf("%w: it is of the network %q", net.ErrEnvelope, e.Network)
	}
	return e, nil
}

// back begins an answer.
func (n *Net) back(to net.Envelope, kind string) net.Envelope {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return net.Envelope{
		ID: to.ID, Network: n.cfg.Network, From: to.To, To: to.From, SentAt: now, Expires: now.Add(net.CallTimeout), Kind: kind,
	}
}

// answer puts a handler's answer into an envelope.
func (n *Net) answer(to net.Envelope, m peer.Message, err error) net.Envelope {
	e := n.back(to, net.KindRefusal)
	if err == nil {
		if e.Body, err = encode(m); err == nil {
			e.Kind = m.Kind()
			return e
		}
	}
	r := new(peer.Refusal)
	if !errors.As(err, &r) {
		r = &peer.Refusal{Code: peer.Internal, Text: "the answer could not be written"}
		n.cfg.Log.Warn("an answer could not be written", "kind", to.Kind, "error", err)
	}
	if e.Body, err = es.CanonicalJSON(r.Bounded()); err != nil {
		e.Body = nil // a struct of texts and a number
	}
	return e
}

func encode(m peer.Message) ([]byte, error) {
	if h, ok := m.(hosts); ok {
		return es.CanonicalJSON(h)
	}
	return net.Encode(m)
}

// message reads an answer; a refusal is an error.
func message(e net.Envelope) (peer.Message, error) {
	switch e.Kind {
	case net.KindRefusal:
		r := new(peer.Refusal)
		if err := json.Unmarshal(e.Body, r); err != nil {
			return nil, fmt.Errorf("unreadable refusal: %w", err)
		}
		return nil, r.Bounded()
	case hosts{}.Kind():
		var h hosts
		err := json.Unmarshal(e.Body, &h)
		return h, err
	}
	return net.Decode(e.Kind, e.Body)
}
