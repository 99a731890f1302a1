package libp2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Call implements [net.Peer].
func (n *Net) Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error) {
	ctx, cancel := net.Deadline(ctx)
	defer cancel()
	body, err := n.prepare(from, m)
	if err != nil {
		return nil, err
	}
	return n.call(ctx, from, to, m.Kind(), body)
}

func (n *Net) prepare(from identity.NodeID, m peer.Message) ([]byte, error) {
	body, err := net.Encode(m)
	if err != nil {
		return nil, err
	}
	if !n.ours(from) {
		return nil, fmt.Errorf("%s as %s: %w", m.Kind(), from, net.ErrNotOurs)
	}
	return body, nil
}

// errHello says that the other host does not know the session or the identity.
var errHello = errors.New("the other host wants a Hello")

// A request is sent again when its connection is gone, and when the other host
// has forgotten the session: perhaps it was started again, and perhaps more
// than once. A host that has seen an earlier try knows the later by its id. One
// that does not know the session each time does not want to.
const (
	tries  = 8
	hellos = 3
)

// luck is what happened to the tries of a request.
type luck struct {
	strange int // tries in a row that were answered with Hello
	lost    bool
	err     error
}

// enough says whether it makes no sense to try again.
func (l *luck) enough(err error) bool {
	l.err = err
	l.lost = l.lost || errors.Is(err, errLost)
	if l.strange++; !errors.Is(err, errHello) {
		l.strange = 0
	}
	return l.strange == hellos
}

// lastWord is the error of a request that could not be placed.
func (l *luck) lastWord(to identity.NodeID, kind string) error {
	switch {
	case l.strange == hellos:
		return peer.Refuse(peer.Forbidden, "%s does not take this host for the sender's", to)
	case l.lost:
		return net.Unanswered(to, kind, l.err)
	}
	return net.Unreachable(to, kind, l.err)
}

// call sends a request and returns its answer.
func (n *Net) call(ctx context.Context, from, to identity.NodeID, kind string, body []byte) (m peer.Message, err error) {
	e := n.envelope(ctx, from, to, kind, body)
	var l luck
	for range tries {
		var s *session
		if s, err = n.reach(ctx, to); err != nil {
			l.err, l.strange = err, 0
			break
		}
		m, err = n.ask(ctx, s, e)
		if again, final := n.mend(s, to, kind, err); !again {
			return m, final
		}
		if l.enough(err) {
			break
		}
	}
	return nil, l.lastWord(to, kind)
}

// mend says whether a request may be sent again, and else what its error means.
func (n *Net) mend(s *session, to identity.NodeID, kind string, err error) (again bool, final error) {
	switch r := new(peer.Refusal); {
	case err == nil:
		return false, nil
	case errors.As(err, &r):
		return false, r
	case errors.Is(err, errHello):
		s.forget()
		return true, nil
	case errors.Is(err, errLost):
		return true, nil
	case errors.Is(err, errNotSpoken):
		return false, net.Unreachable(to, kind, err)
	case errors.Is(err, errNotSent):
		n.host.Network().ClosePeer(s.id) //nolint:errcheck // it is of no use
		return true, nil
	}
	return false, net.Unanswered(to, kind, err)
}

var (
	// errNotSent says that a request did not leave this host.
	errNotSent = errors.New("not sent")
	// errNotSpoken says that the other host does not take requests of this kind,
	// or not yet. The connection serves all the others.
	errNotSpoken = errors.New("the host does not know the service")
	// errUnread says that no answer could be read.
	errUnread = errors.New("no answer")
	// errLost says that a request was lost with its connection: the other host
	// may have been started again since, and is there for a new one.
	errLost = errors.New("lost with the connection")
)

// lost marks the error of a stream whose connection ended.
func lost(st network.Stream, err error) error {
	for range 10 { // the connection may be told a moment later than its streams
		if st.Conn().IsClosed() {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		if r := new(network.StreamError); errors.As(err, &r) || errors.Is(err, io.EOF) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

// ask sends one envelope and reads one answer.
func (n *Net) ask(ctx context.Context, s *session, e net.Envelope) (peer.Message, error) {
	st, r, err := n.send(ctx, s, e)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { st.Reset() })() //nolint:errcheck // it is given up
	defer st.Close()                                      //nolint:errcheck // the answer is there, or never will be
	answer, err := n.receive(s, st, r, e)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && errors.Is(err, errUnread) {
		return nil, lost(st, err)
	}
	if err != nil {
		return nil, err
	}
	return message(answer)
}

// send opens a stream and writes a request to it.
func (n *Net) send(ctx context.Context, s *session, e net.Envelope) (network.Stream, *bufio.Reader, error) {
	frame, err := n.seal(s, e)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	st, err := n.host.NewStream(network.WithNoDial(ctx, "reach dials"), s.id, n.protocol(net.Service(e.Kind)))
	if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
		return nil, nil, fmt.Errorf("%w: %w", errNotSpoken, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if d, ok := ctx.Deadline(); ok {
		st.SetDeadline(d) //nolint:errcheck // ctx ends the stream as well
	}
	if err := writeFrame(st, frame); err != nil {
		st.Reset() //nolint:errcheck // the error that matters is there
		return nil, nil, err
	}
	return st, bufio.NewReader(st), nil
}

// receive reads one answer to a request.
func (n *Net) receive(s *session, st network.Stream, r *bufio.Reader, to net.Envelope) (net.Envelope, error) {
	frame, err := readFrame(r, net.MaxOf(net.Service(to.Kind))+net.EnvelopeOverhead, nil)
	if err != nil {
		st.Reset() //nolint:errcheck // the error that matters is there
		return net.Envelope{}, fmt.Errorf("%w: %w", errUnread, err)
	}
	e, err := n.unseal(s.id, frame)
	if err != nil {
		return e, err
	}
	if e.Kind == net.KindHello {
		return e, errHello
	}
	if e.ID != to.ID || e.From != to.To || e.To != to.From {
		return e, fmt.Errorf("%w: it answers another request", net.ErrEnvelope)
	}
	s.received(e, frame)
	return e, nil
}

// Stream implements [net.Peer].
func (n *Net) Stream(ctx context.Context, from, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := n.prepare(from, m)
		if err != nil {
			yield(nil, err)
			return
		}
		var l luck
		for range tries {
			s, e := (*session)(nil), n.envelope(ctx, from, to, m.Kind(), body)
			e.Stream = true
			if s, err = n.reach(ctx, to); err != nil {
				yield(nil, net.Unreachable(to, m.Kind(), err))
				return
			}
			err = n.follows(ctx, s, e, yield)
			if errors.Is(err, errStopped) {
				return
			}
			again, final := n.mend(s, to, m.Kind(), err)
			if !again {
				if final != nil {
					yield(nil, final)
				}
				return
			}
			if l.enough(err) {
				break
			}
		}
		yield(nil, l.lastWord(to, m.Kind()))
	}
}

// errStopped says that the consumer wants no more.
var errStopped = errors.New("stopped")

// follows sends a request and yields its answers.
func (n *Net) follows(ctx context.Context, s *session, e net.Envelope, yield func(peer.Message, error) bool) error {
	st, r, err := n.send(ctx, s, e)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { st.Reset() })() //nolint:errcheck // it is given up
	defer st.Reset()                                      //nolint:errcheck // a no-op after the end
	for {
		answer, err := n.receive(s, st, r, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if answer.Kind == net.KindEnd {
			return nil
		}
		m, err := message(answer)
		if err != nil {
			return err
		}
		if !yield(m, nil) {
			return errStopped
		}
		st.SetDeadline(time.Time{}) //nolint:errcheck // only the first answer has a time of its own
		if d, ok := ctx.Deadline(); ok {
			st.SetDeadline(d) //nolint:errcheck // ctx ends the stream as well
		}
	}
}
