package markets

import (
	"context"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/peer"
)

// Limits bound what other nodes may make this one write down before there is
// an agreement with them, and how much of it may be open at the same time.
// Zero values are the defaults; own identities are not limited.
type Limits struct {
	ProposalsPerMinute float64 // of one node, 20
	ProposalBurst      float64 // 60
	OpenPerNode        int     // negotiations that a node opened here, 200
	Open               int     // of all nodes, 5 000
	PendingPerNode     int     // agreements that wait for our answer, 16
	Pending            int     // of all nodes, 256
	// BytesPerNode is what a node's messages may weigh in a day until an
	// agreement with it holds; then it begins anew. 1 MiB; 64 MiB of all nodes.
	BytesPerNode, Bytes float64
	AnnouncedPerMinute  float64 // offers that a node announces, 64, ten minutes' worth at once

	once      sync.Once
	proposals effects.Pace
	bytes     effects.Pace
	allBytes  effects.Pace
	announced effects.Pace
	open      slots
	pending   slots
}

func preset[T int | float64](v *T, to T) T {
	if *v == 0 {
		*v = to
	}
	return *v
}

const day = 24 * 60 * 60 // seconds

func (l *Limits) init() {
	l.once.Do(func() {
		l.proposals.Rate, l.proposals.Burst = preset(&l.ProposalsPerMinute, 20)/60, preset(&l.ProposalBurst, 60)
		l.bytes.Burst, l.allBytes.Burst = preset(&l.BytesPerNode, 1<<20), preset(&l.Bytes, 64<<20)
		l.bytes.Rate, l.allBytes.Rate = l.BytesPerNode/day, l.Bytes/day
		l.announced.Rate, l.announced.Burst = preset(&l.AnnouncedPerMinute, 64)/60, 10*l.AnnouncedPerMinute
		l.open = slots{per: preset(&l.OpenPerNode, 200), all: preset(&l.Open, 5000)}
		l.pending = slots{per: preset(&l.PendingPerNode, 16), all: preset(&l.Pending, 256)}
	})
}

// own says whether a message came from an identity of this node. No limits at
// all, as in some tests, are no limits.
func (l *Limits) free(from peer.Caller) bool {
	if l == nil || from.Via == "local" {
		return true
	}
	l.init()
	return false
}

// proposal counts a message that would become facts of a negotiation.
func (l *Limits) proposal(from peer.Caller) error {
	if l.free(from) {
		return nil
	}
	node := string(from.Node)
	if wait := l.proposals.Take(node, 1); wait > 0 {
		return effects.Busy(wait, "too many proposals")
	}
	weight := 2 * float64(len(from.Raw)) // as sent and as understood
	if wait := l.bytes.Take(node, weight); wait > 0 {
		return effects.Busy(wait, "too much was negotiated without an agreement")
	}
	if wait := l.allBytes.Take("", weight); wait > 0 {
		return effects.Busy(wait, "too much is negotiated here today")
	}
	return nil
}

// agreed begins a node's day anew.
func (l *Limits) agreed(from peer.Caller) {
	if !l.free(from) {
		l.bytes.Forgive(string(from.Node))
		l.proposals.Forgive(string(from.Node))
	}
}

// announce takes as many of n offers as a node may announce now.
func (l *Limits) announce(from peer.Caller, n int) int {
	if l.free(from) {
		return n
	}
	for ; n > 0; n /= 2 {
		if l.announced.Take(string(from.Node), float64(n)) == 0 {
			return n
		}
	}
	return 0
}

// slots count what is open, by who opened it.
type slots struct {
	per, all int

	mu    sync.Mutex
	by    map[identity.NodeID]map[string]bool
	n     int
	swept time.Time // all of them
}

// sweepEvery is how often all that is open is looked at: each of many strangers
// could have it done again.
const sweepEvery = 10 * time.Second

// take counts id as open; fresh says that it was not counted before. When there
// are too many, those that are over are found out first.
func (s *slots) take(node identity.NodeID, id string, over func(id string) bool) (fresh, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[node][id] {
		return false, true
	}
	if len(s.by[node]) >= s.per {
		s.sweep(node, over)
	}
	if now := time.Now(); s.n >= s.all && now.Sub(s.swept) >= sweepEvery {
		s.swept = now
		for other := range s.by {
			s.sweep(other, over)
		}
	}
	if len(s.by[node]) >= s.per || s.n >= s.all {
		return false, false
	}
	if s.by == nil {
		s.by = make(map[identity.NodeID]map[string]bool)
	}
	if s.by[node] == nil {
		s.by[node] = make(map[string]bool)
	}
	s.by[node][id] = true
	s.n++
	return true, true
}

func (s *slots) sweep(node identity.NodeID, over func(id string) bool) {
	for id := range s.by[node] {
		if over(id) {
			s.drop(node, id)
		}
	}
}

func (s *slots) drop(node identity.NodeID, id string) {
	if s.by[node][id] {
		delete(s.by[node], id)
		s.n--
	}
	if len(s.by[node]) == 0 {
		delete(s.by, node)
	}
}

// give takes back what take counted.
func (s *slots) give(node identity.NodeID, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(node, id)
}

// opening counts a negotiation that a node opens. undo takes that back; what was
// counted before stays counted.
func (in *Inbound) opening(ctx context.Context, from peer.Caller, thread string) (undo func(), err error) {
	if in.Limits.free(from) {
		return func() {}, nil
	}
	return in.Limits.open.enter(from.Node, thread, "too many negotiations are open", func(id string) bool { return in.talkedOut(ctx, id) })
}

// enter is take for what may come to nothing.
func (s *slots) enter(node identity.NodeID, id, full string, over func(id string) bool) (undo func(), err error) {
	fresh, ok := s.take(node, id, over)
	switch {
	case !ok:
		return nil, effects.Busy(time.Minute, full)
	case !fresh:
		return func() {}, nil
	}
	return func() { s.give(node, id) }, nil
}

// talkedOut says whether nothing waits for an answer in a negotiation.
func (in *Inbound) talkedOut(ctx context.Context, id string) bool {
	s, _, err := in.Negotiations.Load(ctx, id)
	if err != nil {
		return false
	}
	if !s.Exists() || s.Closed != "" || s.Agreement != "" {
		return true
	}
	last := s.Steps[len(s.Steps)-1]
	return last.RejectedBy != "" || !last.Expires.After(time.Now())
}

// squatting counts an agreement that waits for our answer, like opening.
func (in *Inbound) squatting(ctx context.Context, from peer.Caller, agreementID string) (undo func(), err error) {
	if in.Limits.free(from) {
		return func() {}, nil
	}
	return in.Limits.pending.enter(from.Node, agreementID, "too many agreements wait for an answer", func(id string) bool { return in.answered(ctx, id) })
}

func (in *Inbound) answered(ctx context.Context, agreementID string) bool {
	s, _, err := in.Agreements.Load(ctx, agreement.StreamID(identity.Provider, agreementID))
	if err != nil {
		return false
	}
	waits := s.Phase == agreement.PhasePending || s.Phase == agreement.PhaseApproving
	return !s.Exists() || !waits || !s.Terms.ValidTo.After(time.Now())
}
