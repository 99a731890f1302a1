package esdb

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"

	"github.com/emet-node/emet/domain/es"
)

// group delivers the events of a stream or of the log to one reader each, at
// least once. It reads the log while somebody is there to take events.
type group struct {
	kept // under mu; what survives a restart
	all  *groups
	what es.Filter

	mu      sync.Mutex
	readers []*reader
	turn    int
	waiting []delivery // to be handed out, those to be tried again first
	given   map[es.ID]*lent
	read    es.Position // the log was looked at up to here, exclusive
	total   int64
	room    chan struct{} // told when waiting became shorter
	stop    context.CancelFunc
	saved   time.Time
}

// delivery is an event on its way to a reader.
type delivery struct {
	event   es.Event
	retries int
	parked  bool // it does not hold the checkpoint
}

// lent is a delivery that was not acknowledged yet.
type lent struct {
	delivery
	to    *reader
	until time.Time // zero = for ever
}

// reader is a client of a group.
type reader struct {
	out   chan delivery // filled under the group's lock only, and never beyond its room
	slots int           // free places
	once  sync.Once
	ended chan struct{}
	why   error
}

// takes says whether it can be given one more. What was given and is tried
// again since nobody acknowledged it may still wait to be sent.
func (r *reader) takes() bool { return r.slots > 0 && len(r.out) < cap(r.out) }

func (r *reader) end(why error) {
	r.once.Do(func() { r.why = why; close(r.ended) })
}

const (
	defaultBuffer = 500
	largestBuffer = 10_000
	expiryLooks   = 50 * time.Millisecond
	saveEvery     = time.Second
)

func newGroup(all *groups, k kept) (*group, error) {
	f, err := k.filter()
	return &group{kept: k, all: all, what: f, given: map[es.ID]*lent{}, read: k.Next, room: make(chan struct{}, 1)}, err
}

func (g *group) name() groupName { return groupName{g.Stream, g.Group} }

var errFull = errors.New("too many subscribers")

// join adds a reader that takes up to buffer events before it acknowledges.
func (g *group) join(buffer int) (*reader, error) {
	if buffer <= 0 {
		buffer = defaultBuffer
	}
	buffer = min(buffer, largestBuffer)
	g.mu.Lock()
	defer g.mu.Unlock()
	if most := int(g.Settings.MaxSubscribers); most > 0 && len(g.readers) >= most {
		return nil, errFull
	}
	r := &reader{out: make(chan delivery, buffer), slots: buffer, ended: make(chan struct{})}
	g.readers = append(g.readers, r)
	if len(g.readers) == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		g.stop = cancel
		go g.feed(ctx, g.read)
		go g.expire(ctx)
	}
	g.handOut()
	return r, nil
}

// leave takes back what a reader has not acknowledged.
func (g *group) leave(r *reader) {
	g.mu.Lock()
	i := slices.Index(g.readers, r)
	if i < 0 {
		g.mu.Unlock()
		return
	}
	g.readers = slices.Delete(g.readers, i, i+1)
	g.takeBack(r)
	if len(g.readers) == 0 {
		g.rewind()
	}
	g.handOut()
	g.mu.Unlock()
	_ = g.all.save()
}

// takeBack puts what was lent to a reader in front of what waits, in order.
func (g *group) takeBack(r *reader) {
	var back []delivery
	for id, l := range g.given {
		if l.to == r {
			back = append(back, l.delivery)
			delete(g.given, id)
		}
	}
	slices.SortFunc(back, func(a, b delivery) int { return int(int64(a.event.Position) - int64(b.event.Position)) })
	g.waiting = append(back, g.waiting...)
}

// rewind stops reading. What nobody has is read again from the checkpoint by
// the next reader, except what was parked before.
func (g *group) rewind() {
	g.stop()
	g.read = g.Next
	g.waiting = slices.DeleteFunc(g.waiting, func(d delivery) bool { return !d.parked })
}

// drop sends all readers away.
func (g *group) drop(why error) {
	g.mu.Lock()
	readers := slices.Clone(g.readers)
	g.mu.Unlock()
	for _, r := range readers {
		g.leave(r)
		r.end(why)
	}
}

// feed reads the log into the queue as long as there is room.
func (g *group) feed(ctx context.Context, from es.Position) {
	var after *es.Position
	if from > 0 {
		p := from - 1
		after = &p
	}
	sub := g.all.store.Subscribe(ctx, after, g.what)
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.drop(err)
			}
			return
		}
		for !g.take(ctx, m) {
			select {
			case <-g.room:
			case <-ctx.Done():
				return
			}
		}
	}
}

// take puts what came from the log into the queue, unless that is full.
func (g *group) take(ctx context.Context, m es.Message) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return true
	}
	switch {
	case m.Event != nil:
		if len(g.waiting) >= g.Settings.buffer() {
			return false
		}
		g.read = m.Event.Position + 1
		if g.Stream == allStream || m.Event.Revision >= g.From {
			g.waiting = append(g.waiting, delivery{event: *m.Event})
		}
	case m.Checkpoint != nil:
		g.read = *m.Checkpoint + 1
	}
	g.handOut()
	g.advance()
	return true
}

// handOut gives what waits to readers with a free place.
func (g *group) handOut() {
	n := 0
	for _, d := range g.waiting {
		r := g.choose(&d.event)
		if r == nil {
			break
		}
		l := &lent{delivery: d, to: r}
		if t := g.Settings.timeout(); t > 0 {
			l.until = time.Now().Add(t)
		}
		g.given[d.event.ID] = l
		r.slots--
		g.total++
		r.out <- d
		n++
	}
	if n > 0 {
		g.waiting = slices.Delete(g.waiting, 0, n)
		select {
		case g.room <- struct{}{}:
		default:
		}
	}
}

// choose picks the reader of an event by the group's strategy, nil when none
// has room.
func (g *group) choose(e *es.Event) *reader {
	n := len(g.readers)
	switch g.Settings.Strategy {
	case "Pinned", "PinnedByCorrelation":
		if n > 0 {
			h := fnv.New32a()
			h.Write([]byte(e.Stream))
			if r := g.readers[int(h.Sum32()%uint32(n))]; r.takes() {
				return r
			}
		}
		return nil
	case "DispatchToSingle":
		g.turn = 0
	}
	for i := range n {
		r := g.readers[(g.turn+i)%n]
		if r.takes() {
			g.turn = (g.turn + i + 1) % n
			return r
		}
	}
	return nil
}

// ack ends deliveries.
func (g *group) ack(ids []es.ID) {
	g.settle(ids, func(*lent) {})
}

// nack says what becomes of deliveries that failed.
func (g *group) nack(ids []es.ID, a persistent.ReadReq_Nack_Action) {
	g.settle(ids, func(l *lent) {
		switch a {
		case persistent.ReadReq_Nack_Skip:
		case persistent.ReadReq_Nack_Park:
			g.park(l.event.Position)
		default:
			g.again(l)
		}
	})
}

// settle ends what was lent under ids.
func (g *group) settle(ids []es.ID, then func(*lent)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		l, ok := g.given[id]
		if !ok {
			continue // it was taken back meanwhile
		}
		delete(g.given, id)
		l.to.slots++
		then(l)
	}
	g.handOut()
	g.advance()
}

// again tries a delivery once more, or parks it when that was often enough.
func (g *group) again(l *lent) {
	if l.retries >= int(g.Settings.MaxRetries) {
		g.park(l.event.Position)
		return
	}
	l.retries++
	g.waiting = slices.Insert(g.waiting, 0, l.delivery)
}

func (g *group) park(p es.Position) {
	if !slices.Contains(g.Parked, p) {
		g.Parked = append(g.Parked, p)
	}
}

// expire takes back what was not acknowledged in time.
func (g *group) expire(ctx context.Context) {
	look := time.NewTicker(expiryLooks)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-look.C:
			g.mu.Lock()
			for id, l := range g.given {
				if !l.until.IsZero() && now.After(l.until) {
					delete(g.given, id)
					l.to.slots++
					g.again(l)
				}
			}
			g.handOut()
			g.advance()
			g.mu.Unlock()
		}
	}
}

// advance moves the checkpoint to the first event that is not settled.
func (g *group) advance() {
	next := g.read
	for _, d := range g.waiting {
		if !d.parked {
			next = min(next, d.event.Position)
		}
	}
	for _, l := range g.given {
		if !l.parked {
			next = min(next, l.event.Position)
		}
	}
	g.Next = max(g.Next, next)
	if now := time.Now(); now.Sub(g.saved) > saveEvery {
		g.saved = now
		go g.all.save() //nolint:errcheck // it tells the log itself
	}
}

// replayParked delivers parked events again, at most so many (negative = all).
func (g *group) replayParked(ctx context.Context, most int) error {
	g.mu.Lock()
	n := len(g.Parked)
	if most >= 0 {
		n = min(n, most)
	}
	parked := slices.Clone(g.Parked[:n])
	g.mu.Unlock()
	var again []delivery
	for _, p := range parked {
		for e, err := range g.all.store.ReadAll(ctx, p, es.Forward, es.Filter{}, 1) {
			if err != nil {
				return err
			}
			again = append(again, delivery{event: e, parked: true})
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Parked = slices.DeleteFunc(g.Parked, func(p es.Position) bool { return slices.Contains(parked, p) })
	g.waiting = append(again, g.waiting...)
	g.handOut()
	return nil
}
