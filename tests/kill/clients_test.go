package kill

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

const typeName = "kept.noted.v1"

// errNoAnswer says that a call did not return although nobody can answer it any
// more: the client waits for ever for a connection in some of its ways.
var errNoAnswer = errors.New("there was no answer")

// door is the official client of one life of the node.
type door struct {
	db     *client.Client
	ending <-chan struct{} // somebody is about to end the life
	gone   <-chan struct{} // it is over
}

// open connects to the present life with the key of an operator, or else, with
// "", with the one that the node gave.
func (n *process) open(key string) (*door, error) {
	u, err := url.Parse(n.word("EMET_GRPC_URL"))
	if err != nil {
		return nil, err
	}
	if key != "" {
		u.User = url.UserPassword("ops", key)
	}
	c, err := client.ParseConnectionString(u.String())
	if err != nil {
		return nil, err
	}
	c.Logger = client.NoopLogging()
	c.MaxDiscoverAttempts = 2
	db, err := client.NewClient(c)
	return &door{db, n.ending, n.gone}, err
}

// patience is how long a call may take while the node lives, and how long
// after.
const (
	patience   = 2 * time.Minute
	lastWords  = 200 * time.Millisecond
	maxPayload = 12 << 10
)

// ask waits for a call as long as there can be an answer.
func ask[R any](d *door, call func(context.Context) (R, error)) (R, error) {
	type answer struct {
		r   R
		err error
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := make(chan answer, 1)
	go func() {
		r, err := call(ctx)
		got <- answer{r, err}
	}()
	select {
	case a := <-got:
		return a.r, a.err
	case <-d.gone:
	case <-ctx.Done():
	}
	select {
	case a := <-got:
		return a.r, a.err
	case <-time.After(lastWords):
		var none R
		return none, errNoAnswer
	}
}

// append1 makes or repeats an attempt and notes what came of it. err is what
// must not be.
func (d *door) append1(m *model, a *attempt) (o outcome, err error) {
	events := make([]client.EventData, len(a.ids))
	for i, id := range a.ids {
		events[i] = client.EventData{EventID: id, EventType: typeName, ContentType: client.ContentTypeJson, Data: []byte(a.data[i])}
	}
	opts := client.AppendToStreamOptions{}
	switch a.expected {
	case anyRevision:
		opts.ExpectedRevision = client.Any{}
	case noStream:
		opts.ExpectedRevision = client.NoStream{}
	default:
		opts.ExpectedRevision = client.Revision(uint64(a.expected))
	}
	r, failed := ask(d, func(ctx context.Context) (*client.WriteResult, error) {
		return d.db.AppendToStream(ctx, a.stream, opts, events...)
	})
	var refused *client.Error
	switch {
	case failed == nil:
		return acked, m.settle(a, acked, int64(r.NextExpectedVersion), r.CommitPosition)
	case errors.As(failed, &refused) && refused.Code() == client.ErrorCodeWrongExpectedVersion:
		return rejected, m.settle(a, rejected, 0, 0)
	}
	select {
	case <-d.ending:
		return unknown, m.settle(a, unknown, 0, 0)
	case <-time.After(5 * time.Second):
		return unknown, fmt.Errorf("append of %s to %s by a node that lives: %w", a.ids[0], a.stream, failed)
	}
}

// readAll hands out the log from a commit position on.
func (d *door) readAll(from uint64, take func(*client.RecordedEvent) error) error {
	opts := client.ReadAllOptions{From: client.Position{Commit: from, Prepare: from}}
	if from <= 1 {
		opts.From = client.Start{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, err := d.db.ReadAll(ctx, opts, math.MaxUint64)
	if err != nil {
		return err
	}
	return drain(in, take)
}

func (d *door) readStream(name string, take func(*client.RecordedEvent) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, err := d.db.ReadStream(ctx, name, client.ReadStreamOptions{From: client.Start{}}, math.MaxUint64)
	if err != nil {
		return err
	}
	return drain(in, take)
}

func drain(in *client.ReadStream, take func(*client.RecordedEvent) error) error {
	defer in.Close()
	for {
		e, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(e.OriginalEvent()); err != nil {
			return err
		}
	}
}

// writer appends, one after the other, and remembers what was not answered.
type writer struct {
	number int
	r      *rand.Rand
	head   int64 // of its own stream
	open   *attempt
	done   []*attempt // some of those that are acknowledged
}

// race is the head of a stream to which all writers append at a revision.
type race struct {
	mu   sync.Mutex
	head int64
}

func (c *race) get() int64 { c.mu.Lock(); defer c.mu.Unlock(); return c.head }

func (c *race) saw(head int64) { c.mu.Lock(); defer c.mu.Unlock(); c.head = max(c.head, head) }

const (
	raceStream = category + "-race"
	anyStream  = category + "-any"
)

func (w *writer) stream() string { return fmt.Sprintf("%s-%d", category, w.number) }

// attempt makes up an append.
func (w *writer) attempt(stream string, expected int64) *attempt {
	a := &attempt{stream: stream, expected: expected}
	for range 1 + w.r.IntN(4)*w.r.IntN(2) {
		id := uuid.UUID{}
		for i := range id {
			id[i] = byte(w.r.Uint32())
		}
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		pad := make([]byte, w.r.IntN(200))
		if w.r.IntN(4) == 0 {
			pad = make([]byte, w.r.IntN(maxPayload))
		}
		for i := range pad {
			pad[i] = byte(w.r.Uint32())
		}
		a.ids, a.data = append(a.ids, id), append(a.data, fmt.Sprintf(`{"by":%d,"pad":%q}`, w.number, hex.EncodeToString(pad)))
	}
	return a
}

// run appends until the node is gone, or ctx is over.
func (w *writer) run(ctx context.Context, d *door, m *model, c *race) error {
	if w.open != nil {
		if err := w.again(d, m, c); err != nil || w.open != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		a, old := w.next(c)
		if !old {
			m.begin(a)
		}
		o, err := d.append1(m, a)
		switch {
		case err != nil:
			return err
		case o == unknown && !old:
			w.open = a
			return nil
		case o == unknown:
			return nil
		case o == rejected && (old || a.stream != raceStream && !w.wrong(a)):
			return fmt.Errorf("append of %s to %s at %d was refused", a.ids[0], a.stream, a.expected)
		case o == acked && w.wrong(a):
			return fmt.Errorf("append of %s to %s at %d was taken, its head is %d", a.ids[0], a.stream, a.expected, w.head)
		case o == acked:
			w.note(a, c)
		}
	}
	return nil
}

// wrong says whether an attempt is meant to be refused.
func (w *writer) wrong(a *attempt) bool {
	return a.stream == w.stream() && a.expected > w.head
}

// next is what is appended now: something new, or an earlier append once more.
func (w *writer) next(c *race) (a *attempt, old bool) {
	switch n := w.r.IntN(100); {
	case n < 8 && len(w.done) > 0:
		return w.done[w.r.IntN(len(w.done))], true
	case n < 12:
		return w.attempt(w.stream(), w.head+1+int64(w.r.IntN(3))), false // nobody has got so far
	case n < 30:
		return w.attempt(anyStream, anyRevision), false
	case n < 40:
		return w.attempt(raceStream, c.get()), false
	}
	return w.attempt(w.stream(), w.head), false
}

func (w *writer) note(a *attempt, c *race) {
	switch a.stream {
	case w.stream():
		w.head = max(w.head, a.last)
	case raceStream:
		c.saw(a.last)
	}
	if len(w.done) < 64 {
		w.done = append(w.done, a)
	} else {
		w.done[w.r.IntN(len(w.done))] = a
	}
}

// again repeats the append that a life left without an answer. What was found
// in the log must be acknowledged as it lies there.
func (w *writer) again(d *door, m *model, c *race) error {
	a := w.open
	found := a.found
	o, err := d.append1(m, a)
	switch {
	case err != nil:
		return err
	case o == unknown:
		return nil // at the next life
	case o == rejected && found:
		return fmt.Errorf("append of %s to %s is in the log, and its repetition was refused", a.ids[0], a.stream)
	case o == rejected && a.stream != raceStream && !w.wrong(a):
		return fmt.Errorf("append of %s to %s at %d is not in the log, and its repetition was refused", a.ids[0], a.stream, a.expected)
	case o == acked && w.wrong(a):
		return fmt.Errorf("append of %s to %s at %d was taken, its head is %d", a.ids[0], a.stream, a.expected, w.head)
	case o == acked:
		w.note(a, c)
	}
	w.open = nil
	return nil
}
