// Package kurrenttest is a log in memory that takes appends as EventStoreDB
// does, so that api/esdb can stand in for such a server in tests. It differs
// from our own stores where that server does: an event id means something
// within its stream only, content is not compared, and an append that is there
// already is recognised by the revision that it expects.
package kurrenttest

import (
	"context"
	"encoding/binary"
	"iter"
	"sync"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
)

// Server is the log of a server. Create it with [New].
type Server struct {
	*memory.Store

	mu    sync.Mutex
	count uint64
	ids   map[es.ID]es.ID // what clients call an event, by what it is called inside
	fault func(es.Write) (carryOut bool, err error)
}

var _ es.Store = (*Server)(nil)

// New returns an empty server.
func New() *Server { return &Server{Store: memory.New(), ids: map[es.ID]es.ID{}} }

// Fault lets appends fail: f says whether they are carried out all the same,
// and what the client is told. nil ends that.
func (s *Server) Fault(f func(es.Write) (carryOut bool, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Append takes one stream, as the protocol does.
func (s *Server) Append(ctx context.Context, _ []es.Check, writes ...es.Write) (es.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := writes[0]
	if s.fault == nil {
		return s.append(ctx, w)
	}
	carryOut, err := s.fault(w)
	if !carryOut {
		return es.Receipt{}, err
	}
	r, failed := s.append(ctx, w)
	if err == nil {
		err = failed
	}
	return r, err
}

func (s *Server) append(ctx context.Context, w es.Write) (es.Receipt, error) {
	info, err := s.Info(ctx, w.Stream)
	if err != nil {
		return es.Receipt{}, err
	}
	wrong := &es.WrongExpectedRevision{Stream: w.Stream, Expected: w.Expected, Actual: info.Head}
	switch {
	case w.Expected == es.StreamExists && info.Head < 0, w.Expected > info.Head:
		return es.Receipt{}, wrong
	case w.Expected >= es.NoStream && w.Expected < info.Head:
		r, same, err := s.there(ctx, w, w.Expected+1)
		if err == nil && !same {
			err = wrong
		}
		return r, err
	case w.Expected == es.Any:
		if r, same, err := s.there(ctx, w, max(0, info.Head+1-es.Revision(len(w.Events)))); same || err != nil {
			return r, err
		}
	}
	events := make([]es.NewEvent, len(w.Events))
	for i, e := range w.Events {
		s.count++
		var inside es.ID
		binary.BigEndian.PutUint64(inside[:], s.count)
		s.ids[inside], events[i] = e.ID, e
		events[i].ID = inside
	}
	return s.Store.Append(ctx, nil, es.Write{Stream: w.Stream, Expected: es.Any, Events: events})
}

// there says whether the events of w begin at a revision.
func (s *Server) there(ctx context.Context, w es.Write, from es.Revision) (r es.Receipt, same bool, err error) {
	i := 0
	for e, err := range s.Store.ReadStream(ctx, w.Stream, from, es.Forward, len(w.Events)) {
		if err != nil {
			return r, false, err
		}
		if s.ids[e.ID] != w.Events[i].ID {
			return r, false, nil
		}
		if i++; i == 1 {
			r.First, r.Recorded = e.Position, e.Recorded
		}
		r.Last, r.Heads = e.Position, []es.Revision{e.Revision}
	}
	return r, i == len(w.Events), nil
}

func (s *Server) outside(e es.Event) es.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ID = s.ids[e.ID]
	return e
}

func (s *Server) named(events iter.Seq2[es.Event, error]) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for e, err := range events {
			if !yield(s.outside(e), err) {
				return
			}
		}
	}
}

// ReadStream implements [es.Store].
func (s *Server) ReadStream(ctx context.Context, stream es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	return s.named(s.Store.ReadStream(ctx, stream, from, d, limit))
}

// ReadAll implements [es.Store].
func (s *Server) ReadAll(ctx context.Context, from es.Position, d es.Direction, f es.Filter, limit int) iter.Seq2[es.Event, error] {
	return s.named(s.Store.ReadAll(ctx, from, d, f, limit))
}

// Subscribe implements [es.Store].
func (s *Server) Subscribe(ctx context.Context, after *es.Position, f es.Filter) es.Subscription {
	return subscription{s.Store.Subscribe(ctx, after, f), s}
}

type subscription struct {
	es.Subscription
	s *Server
}

// Next implements [es.Subscription].
func (x subscription) Next(ctx context.Context) (es.Message, error) {
	m, err := x.Subscription.Next(ctx)
	if m.Event != nil {
		e := x.s.outside(*m.Event)
		m.Event = &e
	}
	return m, err
}
