package kill

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// category is that of all streams that clients write here.
const category = "kept"

// Expected revisions beside numbers.
const (
	anyRevision = -2
	noStream    = -1
)

// outcome is what a client knows of an append.
type outcome int

const (
	unknown  outcome = iota // nobody answered
	acked                   // it is there for good
	rejected                // it is not there, and never will be
)

// attempt is one append: all of its events, or none.
type attempt struct {
	stream   string
	expected int64
	ids      []uuid.UUID
	data     []string
	outcome  outcome
	lost     bool   // an answer to it was, once
	last     int64  // revision of its last event, as acknowledged or found
	at       uint64 // commit position of that event
	found    bool   // it was read from the log
	survived bool   // so, and nobody had acknowledged it
}

// model is what clients know, outside of the process that is killed.
type model struct {
	mu    sync.Mutex
	by    map[uuid.UUID]*attempt
	order map[uuid.UUID]int
	all   []*attempt
}

func newModel() *model {
	return &model{by: map[uuid.UUID]*attempt{}, order: map[uuid.UUID]int{}}
}

func (m *model) begin(a *attempt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, a)
	for i, id := range a.ids {
		m.by[id], m.order[id] = a, i
	}
}

// settle notes an answer. A second one must be as the first.
func (m *model) settle(a *attempt, o outcome, last int64, at uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := a.outcome == acked || a.found
	switch {
	case o == acked && known && (a.last != last || a.at != at):
		return fmt.Errorf("append of %s to %s was answered with revision %d at %d, it is %d at %d", a.ids[0], a.stream, last, at, a.last, a.at)
	case o == rejected && known:
		return fmt.Errorf("append of %s to %s at %d is in the log, and was refused", a.ids[0], a.stream, a.last)
	case o == acked && a.outcome == rejected:
		return fmt.Errorf("append of %s to %s was refused and is acknowledged now", a.ids[0], a.stream)
	case o == unknown:
		a.lost = true
		return nil
	}
	a.outcome, a.last, a.at = o, last, at
	return nil
}

// newest is the highest commit position that was acknowledged, which is also how
// many events the log has at least.
func (m *model) newest() (at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.all {
		if a.outcome == acked {
			at = max(at, a.at)
		}
	}
	return at
}

// counts says how many appends were acknowledged and refused, and how many
// lost an answer, and of those, how many were there all the same.
func (m *model) counts() (yes, no, lost, survived int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.all {
		switch a.outcome {
		case acked:
			yes++
		case rejected:
			no++
		case unknown:
		}
		if a.lost {
			lost++
		}
		if a.survived {
			survived++
		}
	}
	return yes, no, lost, survived
}

// reading holds the log against the model, event by event, in its order.
type reading struct {
	m     *model
	next  uint64           // commit position of the next event
	heads map[string]int64 // last revisions
	seen  map[*attempt]int // events of it
}

func (m *model) read() *reading {
	return &reading{m: m, next: 1, heads: map[string]int64{}, seen: map[*attempt]int{}}
}

// take takes the next event of the log.
func (r *reading) take(e *client.RecordedEvent) error {
	if e.Position.Commit != r.next {
		return fmt.Errorf("position %d comes after %d", e.Position.Commit, r.next-1)
	}
	r.next++
	head, ok := r.heads[e.StreamID]
	if !ok {
		head = -1
	}
	if int64(e.EventNumber) != head+1 {
		return fmt.Errorf("%s: revision %d comes after %d", e.StreamID, e.EventNumber, head)
	}
	r.heads[e.StreamID] = head + 1
	if !strings.HasPrefix(e.StreamID, category+"-") {
		return nil // the node's own
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	a, i := r.m.by[e.EventID], r.m.order[e.EventID]
	switch {
	case a == nil || a.stream != e.StreamID:
		return fmt.Errorf("%s: event %s is nobody's", e.StreamID, e.EventID)
	case a.outcome == rejected:
		return fmt.Errorf("%s: event %s is there, and was refused", e.StreamID, e.EventID)
	case r.seen[a] != i:
		return fmt.Errorf("%s: event %s is the one with number %d of its append and comes after %d", e.StreamID, e.EventID, i, r.seen[a])
	case i > 0 && e.Position.Commit != a.at+uint64(i+1-len(a.ids)):
		return fmt.Errorf("%s: append of %s is torn apart at %d", e.StreamID, a.ids[0], e.Position.Commit)
	case string(e.Data) != a.data[i] || e.EventType != typeName:
		return fmt.Errorf("%s: event %s has another content than was appended", e.StreamID, e.EventID)
	case a.expected != anyRevision && int64(e.EventNumber) != a.expected+1+int64(i):
		return fmt.Errorf("%s: event %s has revision %d, it was to come after %d", e.StreamID, e.EventID, e.EventNumber, a.expected)
	}
	r.seen[a]++
	last, at := int64(e.EventNumber)+int64(len(a.ids)-1-i), e.Position.Commit+uint64(len(a.ids)-1-i)
	if (a.outcome == acked || a.found) && (a.last != last || a.at != at) {
		return fmt.Errorf("%s: append of %s ends at revision %d, position %d, and did at %d, %d", e.StreamID, a.ids[0], last, at, a.last, a.at)
	}
	a.survived = a.survived || a.outcome == unknown
	a.last, a.at, a.found = last, at, true
	return nil
}

// over checks, at the end of the log, that nothing is missing.
func (r *reading) over() error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	for _, a := range r.m.all {
		switch n := r.seen[a]; {
		case a.outcome == acked && n == 0:
			return fmt.Errorf("%s: append of %s was acknowledged with revision %d, position %d, and is lost", a.stream, a.ids[0], a.last, a.at)
		case n != 0 && n != len(a.ids):
			return fmt.Errorf("%s: %d of %d events of the append of %s are there", a.stream, n, len(a.ids), a.ids[0])
		case a.found && n == 0:
			return fmt.Errorf("%s: append of %s was in the log and is not any more", a.stream, a.ids[0])
		}
	}
	return nil
}

// streams are those of clients, with their last revisions.
func (r *reading) streams() (names []string) {
	for s := range r.heads {
		if strings.HasPrefix(s, category+"-") {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return names
}
