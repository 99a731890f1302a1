package libp2p

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/peer"
)

// serve answers the requests of one service, one per stream.
func (n *Net) serve(service string) network.StreamHandler {
	return func(st network.Stream) {
		n.spawn(func() {
			if err := n.request(st, service); err != nil {
				n.cfg.Log.Debug("a request was not answered", "host", st.Conn().RemotePeer(), "service", service, "error", err)
				st.Reset() //nolint:errcheck // the error that matters is there
				return
			}
			st.Close() //nolint:errcheck // all was said
		})
	}
}

var errGone = errors.New("the host has gone")

// request reads, checks and answers one request.
func (n *Net) request(st network.Stream, service string) error {
	s := n.session(st.Conn().RemotePeer())
	if s == nil {
		return errGone
	}
	r := bufio.NewReader(st)
	st.SetReadDeadline(time.Now().Add(firstByte)) //nolint:errcheck // every stream has deadlines
	if _, err := r.Peek(1); err != nil {
		return err
	}
	st.SetReadDeadline(time.Now().Add(wholeBody)) //nolint:errcheck // as above
	// What is reserved is given back when the stream ends.
	frame, err := readFrame(r, net.MaxBytes(service+".")+net.EnvelopeOverhead, func(bytes int) error {
		return st.Scope().ReserveMemory(bytes, network.ReservationPriorityMedium)
	})
	if err != nil {
		return err
	}
	busy := s.messages.take(1)
	if service != "file" {
		busy = max(busy, s.bytes.take(float64(len(frame))))
	}
	e, err := n.unseal(s.id, frame)
	if err != nil {
		return err
	}
	if net.Service(e.Kind) != service {
		return net.ErrEnvelope
	}
	st.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	if busy > 0 {
		refusal := &peer.Refusal{Code: peer.Busy, RetryAfter: busy, Text: "too many messages"}
		return n.reply(st, s, n.answer(e, nil, refusal))
	}
	return n.answerTo(st, r, s, e, frame)
}

func (n *Net) reply(st network.Stream, s *session, e net.Envelope) error {
	frame, err := n.seal(s, e)
	if err != nil {
		return err
	}
	st.SetWriteDeadline(time.Now().Add(writeStall)) //nolint:errcheck // every stream has deadlines
	return writeFrame(st, frame)
}

// answerTo answers a request that its host has signed.
func (n *Net) answerTo(st network.Stream, r io.Reader, s *session, e net.Envelope, frame []byte) error {
	if err := timely(e); err != nil {
		return n.reply(st, s, n.answer(e, nil, err))
	}
	switch e.Kind {
	case peer.Hello{}.Kind():
		m, err := n.answerHello(s, e.Body)
		return n.reply(st, s, n.answer(e, m, err))
	case whoHas{}.Kind():
		m, err := n.whereIs(e.Body)
		return n.reply(st, s, n.answer(e, m, err))
	}
	if !s.proved(e.From) || !n.ours(e.To) {
		return n.reply(st, s, n.back(e, net.KindHello))
	}
	s.received(e, frame)
	return n.handle(st, r, s, e, frame)
}

// answerHello takes a host's Hello and returns this one's. Each delegation counts as
// a message, since its signature has to be checked.
func (n *Net) answerHello(s *session, body []byte) (peer.Message, error) {
	m, err := net.Decode(peer.Hello{}.Kind(), body)
	h, ok := m.(peer.Hello)
	if err != nil || !ok {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	if wait := s.messages.take(float64(min(len(h.Delegations), maxNodes))); wait > 0 {
		return nil, &peer.Refusal{Code: peer.Busy, RetryAfter: wait, Text: "too many delegations"}
	}
	n.greeted(s, h)
	return n.hello(), nil
}

// handle gives a proved request to the handler. The handler's context ends
// with the time that the caller gives it, and when the caller hangs up.
func (n *Net) handle(st network.Stream, r io.Reader, s *session, e net.Envelope, frame []byte) error {
	from := peer.Caller{Node: e.From, To: e.To, Via: "libp2p", SentAt: e.SentAt, Raw: frame, MessageID: e.ID}
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	n.spawn(func() {
		defer cancel()
		io.Copy(io.Discard, io.LimitReader(r, 1)) //nolint:errcheck // any end of the stream is the sign
	})
	if e.Stream {
		return n.handleStream(ctx, st, s, e, from)
	}
	ctx, stop := context.WithTimeout(ctx, min(max(e.Expires.Sub(e.SentAt), time.Millisecond), longestWork))
	defer stop()
	m, err := n.server.Call(ctx, from, e.Kind, e.Body, e.Expires.Add(net.MaxSkew))
	return n.reply(st, s, n.answer(e, m, err))
}

func (n *Net) handleStream(ctx context.Context, st network.Stream, s *session, e net.Envelope, from peer.Caller) error {
	for m, err := range n.server.Stream(ctx, from, e.Kind, e.Body) {
		if e := errors.Join(ctx.Err(), n.reply(st, s, n.answer(e, m, err))); e != nil || err != nil {
			return e
		}
	}
	return n.reply(st, s, n.back(e, net.KindEnd))
}

// timely refuses requests out of their time; clocks may differ by [net.MaxSkew].
func timely(e net.Envelope) error {
	now := time.Now()
	switch {
	case e.SentAt.After(now.Add(net.MaxSkew)):
		return peer.Refuse(peer.BadRequest, "sent at %s, which is in the future", e.SentAt.Format(time.RFC3339))
	case e.Expires.Add(net.MaxSkew).Before(now):
		return peer.Refuse(peer.Expired, "the request expired at %s", e.Expires.Format(time.RFC3339))
	case e.Expires.After(now.Add(longestWork + 2*net.MaxSkew)):
		return peer.Refuse(peer.BadRequest, "the request expires at %s, which is too late", e.Expires.Format(time.RFC3339))
	}
	return nil
}
