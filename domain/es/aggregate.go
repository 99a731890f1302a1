package es

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
)

const (
	maxAttempts  = 64   // of one command against other writers
	cachedStates = 4096 // folded states that an aggregate keeps
	cachedWeight = 64 << 20
)

// Weighty is implemented by states of which some are much larger than others.
// Weight is about how many bytes of memory may be had back by forgetting one; 0 is
// for those that are needed all the time. An aggregate keeps 64 MiB of them, and
// always the one that was used last.
type Weighty interface{ Weight() int }

// ErrWrongCommand says that a command is not one of the aggregate it was sent to.
var ErrWrongCommand = errors.New("command is not for this aggregate")

// Aggregate carries out commands on the streams of one category. C, E and S
// are its commands, facts and state. Create it with [NewAggregate].
type Aggregate[C, E, S any] struct {
	Category string
	Rules    Decider[C, E, S]
	// Guard refuses commands for reasons that are not in their stream; nil = none.
	// It is asked before the rules are, and not about commands that were carried out.
	Guard func(ctx context.Context, cmd C) error
	log   *Log
	cache *cache[S]
}

// NewAggregate binds rules to a category of streams in a log.
func NewAggregate[C, E, S any](l *Log, category string, rules Decider[C, E, S]) *Aggregate[C, E, S] {
	return &Aggregate[C, E, S]{Category: category, Rules: rules, log: l, cache: newCache[S](cachedStates)}
}

// folded is a state with the revision and the command keys that led to it.
type folded[S any] struct {
	state    S
	revision Revision
	keys     *keySet
}

// keySet remembers the keys of the commands that a stream has seen. It only
// grows, so that all cached states of a stream share one.
type keySet struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

func (k *keySet) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[key] = struct{}{}
}

func (k *keySet) has(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.seen[key]
	return ok
}

// Do loads the history of id, lets the rules decide what cmd means now, and
// appends the outcome. If another writer got in between, it decides anew. A
// key that the stream already holds is answered with the present state.
func (a *Aggregate[C, E, S]) Do(ctx context.Context, id string, cmd C, m Meta) (state S, err error) {
	_, err = a.log.Atomically(ctx, m, func(t *Tx) error {
		state, err = a.In(t, id, cmd)
		return err
	})
	return state, err
}

// Handle is Do for callers that hold commands of many aggregates.
func (a *Aggregate[C, E, S]) Handle(ctx context.Context, id string, cmd any, m Meta) error {
	c, ok := cmd.(C)
	if !ok {
		return fmt.Errorf("%s-%s: %T: %w", a.Category, id, cmd, ErrWrongCommand)
	}
	_, err := a.Do(ctx, id, c, m)
	return err
}

// Load folds the stream of id and returns its state and last revision
// ([NoStream] when there is none).
func (a *Aggregate[C, E, S]) Load(ctx context.Context, id string) (S, Revision, error) {
	f, err := a.load(ctx, StreamOf(a.Category, id))
	return f.state, f.revision, err
}

// Await loads the state again and again as the stream grows, until it
// satisfies the condition or ctx ends. It returns the newest state either way.
func (a *Aggregate[C, E, S]) Await(ctx context.Context, id string, until func(S) bool) (S, error) {
	stream := StreamOf(a.Category, id)
	for {
		head, err := a.log.Store.Head(ctx)
		if err != nil {
			var zero S
			return zero, err
		}
		f, err := a.load(ctx, stream)
		if err != nil || until(f.state) {
			return f.state, err
		}
		if err := a.log.Wait(ctx, head, Filter{Streams: []Stream{stream}}); err != nil {
			return f.state, err
		}
	}
}

func (a *Aggregate[C, E, S]) load(ctx context.Context, stream Stream) (folded[S], error) {
	f, ok := a.cache.get(stream)
	if !ok {
		f.revision = NoStream
		f.keys = &keySet{seen: make(map[string]struct{})}
	}
	info, err := a.log.Store.Info(ctx, stream)
	if err != nil {
		return f, fmt.Errorf("load %s: %w", stream, troubled(err))
	}
	if info.Head == f.revision {
		return f, nil
	}
	for r, err := range a.log.ReadStream(ctx, stream, f.revision+1) {
		if err != nil {
			return f, fmt.Errorf("load %s: %w", stream, err)
		}
		f.revision = r.Revision
		f.keys.add(r.Info.Key)
		if fact, ok := r.Data.(E); ok {
			f.state = a.Rules.Evolve(f.state, fact)
		}
	}
	a.cache.put(stream, f)
	return f, nil
}

// Tx collects what several aggregates decide, to be appended together. It is
// valid inside the function given to [Log.Atomically] only.
type Tx struct {
	ctx    context.Context
	key    string
	repeat bool // the key was seen: nothing new is written
	order  []Stream
	writes map[Stream]*planned
}

type planned struct {
	base   Revision
	facts  []any
	state  any
	commit func(Revision)
}

// In decides cmd for the stream of id inside t, on top of what t has decided
// for it so far, and returns the state that results.
func (a *Aggregate[C, E, S]) In(t *Tx, id string, cmd C) (S, error) {
	stream := StreamOf(a.Category, id)
	state, p, err := a.stateIn(t, stream)
	if err != nil || t.repeat {
		return state, err
	}
	if a.Guard != nil {
		if err := a.Guard(t.ctx, cmd); err != nil {
			return state, fmt.Errorf("%s: %w", stream, err)
		}
	}
	facts, err := a.Rules.Decide(state, cmd)
	if err != nil {
		return state, fmt.Errorf("%s: %w", stream, err)
	}
	for _, f := range facts {
		p.facts = append(p.facts, f)
		state = a.Rules.Evolve(state, f)
	}
	p.state = state
	return state, nil
}

// Peek returns the state of id inside t; the append happens only if the stream
// is still at that revision then.
func (a *Aggregate[C, E, S]) Peek(t *Tx, id string) (S, error) {
	s, _, err := a.stateIn(t, StreamOf(a.Category, id))
	return s, err
}

func (a *Aggregate[C, E, S]) stateIn(t *Tx, stream Stream) (S, *planned, error) {
	if p, ok := t.writes[stream]; ok {
		s, ok := p.state.(S)
		if !ok {
			return s, nil, fmt.Errorf("%s: two aggregates claim the stream", stream)
		}
		return s, p, nil
	}
	f, err := a.load(t.ctx, stream)
	if err != nil {
		return f.state, nil, err
	}
	if f.keys.has(t.key) {
		t.repeat = true
		// Keys are shared by all states of the stream: the one that was loaded
		// may be older than the key.
		if f, err = a.load(t.ctx, stream); err != nil {
			return f.state, nil, err
		}
	}
	p := &planned{base: f.revision, state: f.state}
	p.commit = func(head Revision) {
		f.keys.add(t.key)
		if s, ok := p.state.(S); ok {
			a.cache.put(stream, folded[S]{state: s, revision: head, keys: f.keys})
		}
	}
	t.writes[stream] = p
	t.order = append(t.order, stream)
	return f.state, p, nil
}

// Atomically lets plan decide on the newest states and appends everything it
// decided in one Append: all of it becomes true, or none. When another writer
// got in between, plan runs again on the newer states, so it must do nothing
// but decide. A Receipt with no Heads means that there was nothing to write.
//
// A command that is given twice at the same moment, perhaps with another time
// in it, is one command: the one that comes second is answered like a repeat.
func (l *Log) Atomically(ctx context.Context, m Meta, plan func(*Tx) error) (Receipt, error) {
	if m.Key == "" {
		return Receipt{}, errors.New("command has no idempotency key")
	}
	var last error
	for range maxAttempts {
		t := &Tx{ctx: ctx, key: m.Key, writes: make(map[Stream]*planned)}
		if err := plan(t); err != nil {
			return Receipt{}, err
		}
		r, err := l.commit(ctx, m, t)
		switch {
		case errors.Is(err, ErrConflict):
		case errors.Is(err, ErrIDConflict) && !errors.Is(last, ErrIDConflict):
			// The key was written since the states were loaded.
		default:
			return r, err
		}
		last = err
	}
	return Receipt{}, fmt.Errorf("gave up after %d attempts: %w", maxAttempts, last)
}

func (l *Log) commit(ctx context.Context, m Meta, t *Tx) (Receipt, error) {
	if t.repeat {
		return Receipt{}, nil
	}
	var (
		checks  []Check
		writes  []Facts
		written []*planned
	)
	for _, s := range t.order {
		p := t.writes[s]
		if len(p.facts) == 0 {
			checks = append(checks, Check{Stream: s, Expected: p.base})
			continue
		}
		writes = append(writes, Facts{Stream: s, Expected: p.base, Facts: p.facts})
		written = append(written, p)
	}
	if len(writes) == 0 {
		return Receipt{}, nil
	}
	r, err := l.Append(ctx, m, checks, writes...)
	if err != nil {
		return r, err
	}
	for i, p := range written {
		p.commit(r.Heads[i])
	}
	return r, nil
}

// cache is a small LRU of folded states. A stale entry is harmless: an append
// on top of it conflicts.
type cache[S any] struct {
	mu     sync.Mutex
	max    int
	order  *list.List // of Stream, newest first
	byKey  map[Stream]*entry[S]
	weighs bool // S is Weighty
	weight int  // of all
}

type entry[S any] struct {
	folded folded[S]
	at     *list.Element
	weight int
}

func (c *cache[S]) weigh(s S) int {
	if !c.weighs { // most are not, and need not be looked at
		return 0
	}
	return any(s).(Weighty).Weight() //nolint:forcetypeassert // newCache has seen it
}

func newCache[S any](max int) *cache[S] {
	var zero S
	_, weighs := any(zero).(Weighty)
	return &cache[S]{max: max, order: list.New(), byKey: make(map[Stream]*entry[S]), weighs: weighs}
}

func (c *cache[S]) get(s Stream) (folded[S], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[s]
	if !ok {
		return folded[S]{}, false
	}
	c.order.MoveToFront(e.at)
	return e.folded, true
}

func (c *cache[S]) put(s Stream, f folded[S]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[s]
	switch {
	case !ok:
		e = &entry[S]{at: c.order.PushFront(s)}
		c.byKey[s] = e
	case e.folded.revision < f.revision:
		c.order.MoveToFront(e.at)
	default:
		c.order.MoveToFront(e.at)
		return
	}
	c.weight -= e.weight
	e.folded, e.weight = f, c.weigh(f.state)
	c.weight += e.weight
	if c.order.Len() > c.max {
		c.drop(c.order.Back())
	}
	for at := c.order.Back(); c.weight > cachedWeight && at != c.order.Front(); {
		before := at.Prev()
		if c.byKey[at.Value.(Stream)].weight > 0 { //nolint:forcetypeassert // nothing else is in it
			c.drop(at)
		}
		at = before
	}
}

func (c *cache[S]) drop(at *list.Element) {
	s := c.order.Remove(at).(Stream) //nolint:forcetypeassert // nothing else is in it
	c.weight -= c.byKey[s].weight
	delete(c.byKey, s)
}
