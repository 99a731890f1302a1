package net

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Loop lets the identities of one daemon reach each other without leaving the
// process. Everything else goes to the transport behind it.
type Loop struct {
	remote Peer
	local  func(identity.NodeID) bool
	server *Server
}

// NewLoop puts a loop before remote, which may be nil: then other nodes are
// unreachable. local tells which identities this daemon has.
func NewLoop(remote Peer, local func(identity.NodeID) bool, s *Server) *Loop {
	return &Loop{remote: remote, local: local, server: s}
}

// Call implements [Peer].
func (l *Loop) Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error) {
	if !l.local(to) {
		if l.remote == nil {
			return nil, Unreachable(to, m.Kind(), fmt.Errorf("this node has no network"))
		}
		return l.remote.Call(ctx, from, to, m)
	}
	ctx, cancel := Deadline(ctx)
	defer cancel()
	caller, body, err := l.request(ctx, from, to, m)
	if err != nil {
		return nil, err
	}
	return Hand(ctx, l.server, caller, m.Kind(), body)
}

// Stream implements [Peer].
func (l *Loop) Stream(ctx context.Context, from, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error] {
	if !l.local(to) && l.remote != nil {
		return l.remote.Stream(ctx, from, to, m)
	}
	return func(yield func(peer.Message, error) bool) {
		if !l.local(to) {
			yield(nil, Unreachable(to, m.Kind(), fmt.Errorf("this node has no network")))
			return
		}
		caller, body, err := l.request(ctx, from, to, m)
		if err != nil {
			yield(nil, err)
			return
		}
		HandStream(ctx, l.server, caller, m.Kind(), body, yield)
	}
}

func (l *Loop) request(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Caller, []byte, error) {
	if !l.local(from) {
		return peer.Caller{}, nil, fmt.Errorf("%s as %s: %w", m.Kind(), from, ErrNotOurs)
	}
	body, err := Encode(m)
	return peer.Caller{Node: from, To: to, Via: "local", SentAt: now(), Raw: body, MessageID: MessageID(ctx)}, body, err
}

// Broadcast implements [Peer]: the other identities of this daemon hear it too.
func (l *Loop) Broadcast(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) error {
	caller, _, err := l.request(ctx, from, from, peer.OffersAnnounced{})
	if err != nil {
		return err
	}
	l.server.Announce(ctx, caller, m)
	if l.remote == nil {
		return nil
	}
	return l.remote.Broadcast(ctx, from, m)
}

// Features implements [Peer]; those of the own daemon are all that it knows.
func (l *Loop) Features(to identity.NodeID) []string {
	if l.local(to) {
		return AllFeatures()
	}
	if l.remote == nil {
		return nil
	}
	return l.remote.Features(to)
}

// Status implements [Peer].
func (l *Loop) Status() Status {
	if l.remote == nil {
		return Status{Transport: "local"}
	}
	return l.remote.Status()
}

// Close implements [Peer].
func (l *Loop) Close() error {
	if l.remote == nil {
		return nil
	}
	return l.remote.Close()
}

// AllFeatures are what this build tells in its Hello.
func AllFeatures() []string {
	return []string{"debit-note-reject", peer.FeatureCosign, peer.FeatureAsked}
}

// Hand carries a request to a server in this process and its answer back, both
// in their written form, so that no memory is shared.
func Hand(ctx context.Context, s *Server, from peer.Caller, kind string, body []byte) (peer.Message, error) {
	until := time.Now().Add(MaxSkew)
	if d, ok := ctx.Deadline(); ok && d.Add(MaxSkew).After(until) {
		until = d.Add(MaxSkew)
	}
	reply, err := s.Call(ctx, from, kind, body, until)
	if ctx.Err() != nil {
		return nil, Unanswered(from.To, kind, ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return copied(reply)
}

// HandStream is Hand for streams.
func HandStream(ctx context.Context, s *Server, from peer.Caller, kind string, body []byte, yield func(peer.Message, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for m, err := range s.Stream(ctx, from, kind, body) {
		if err == nil {
			m, err = copied(m)
		}
		if ctx.Err() != nil {
			yield(nil, Unanswered(from.To, kind, ctx.Err()))
			return
		}
		if !yield(m, err) || err != nil {
			return
		}
	}
	if ctx.Err() != nil {
		yield(nil, Unanswered(from.To, kind, ctx.Err()))
	}
}

func copied(m peer.Message) (peer.Message, error) {
	body, err := Encode(m)
	if err != nil {
		return nil, peer.Refuse(peer.Internal, "%v", err)
	}
	return Decode(m.Kind(), body)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
