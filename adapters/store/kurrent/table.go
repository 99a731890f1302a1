package kurrent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/domain/es"
)

// table is the one stream of a log on a server.
type table struct {
	conn     *connection
	stream   string
	writer   string        // this run
	patience time.Duration // of a write or a page of a read

	mu   sync.Mutex
	tail []*front.Row // the newest rows, so that followers need not ask the server
	size int          // of their content
}

var (
	_ front.Table   = (*table)(nil)
	_ front.Settler = (*table)(nil)
)

const (
	pageRows  = 512
	pageBytes = 4 << 20
	tailRows  = 4096
	tailBytes = 16 << 20
	// neighbours are so close that reading what lies between is cheaper than
	// another request.
	neighbours = 16
)

var (
	// errFenced says that somebody else writes to the stream.
	errFenced = errors.New("another writer was here; two nodes must not share a log")
	// errLost says that the server has fewer events than it acknowledged.
	errLost = errors.New("the server lost events that it had acknowledged")
	// errLate is an earlier write of ours that arrived after it was given up.
	errLate = fmt.Errorf("%w: an earlier write arrived late", es.ErrCommitUnknown)
)

// final says whether nothing may be written after an error.
func final(err error) bool {
	return errors.Is(err, errFenced) || errors.Is(err, errLost) || errors.Is(err, es.ErrCorrupt)
}

// Write implements [front.Table].
func (t *table) Write(ctx context.Context, rows []front.Row) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	events := make([]esdb.EventData, len(rows))
	for i := range rows {
		var err error
		if events[i], err = encode(&rows[i], t.writer); err != nil {
			return err
		}
	}
	unsure := false // an attempt may have been carried out
	for attempt := 0; ; attempt++ {
		err := t.append(ctx, rows[0].Position, events)
		if err != nil && refusal(err) && !unsure {
			return refused(err)
		}
		if err != nil && !refusal(err) {
			unsure = unsure || !conflict(err)
			var there bool
			if there, err = t.look(ctx, rows, err); there {
				err = nil
			}
		}
		switch {
		case err == nil:
			t.remember(rows)
			return nil
		case final(err), errors.Is(err, errLate):
			return err
		case pause(ctx, attempt) != nil:
			return fmt.Errorf("%w: %w", es.ErrCommitUnknown, err)
		}
	}
}

func refused(err error) error {
	if tooLarge(err) {
		return fmt.Errorf("%w: the server takes no more in one append: %w", es.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: the server refuses: %w", es.ErrDegraded, err)
}

func (t *table) append(ctx context.Context, first es.Position, events []esdb.EventData) error {
	try := max(t.patience/3, time.Millisecond)
	o := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}, RequiresLeader: true, Deadline: &try}
	if first > 0 {
		o.ExpectedRevision = esdb.Revision(uint64(first) - 1)
	}
	return t.conn.do(ctx, func(ctx context.Context, c *esdb.Client) error {
		r, err := c.AppendToStream(ctx, t.stream, o, events...)
		if err == nil && r.NextExpectedVersion != uint64(first)+uint64(len(events))-1 {
			return fmt.Errorf("the server says that %s is at %d after %d events were written at %d", t.stream, r.NextExpectedVersion, len(events), first)
		}
		return err
	})
}

// look finds out whether rows are there after an attempt that ended with why.
func (t *table) look(ctx context.Context, rows []front.Row, why error) (there bool, err error) {
	n := 0
	for r, err := range t.fresh(ctx, rows[0].Position) {
		switch {
		case errors.Is(err, errMetadata), err == nil && r.writer != t.writer:
			return false, fmt.Errorf("%s at %d: %w", t.stream, rows[0].Position+es.Position(n), errFenced)
		case err != nil:
			return false, errors.Join(why, err)
		case n >= len(rows), r.ID != rows[n].ID:
			return false, errLate
		}
		n++
	}
	switch {
	case n == len(rows):
		return true, nil
	case n > 0, conflict(why):
		return false, fmt.Errorf("%s at %d: %w", t.stream, rows[0].Position+es.Position(n), errLost)
	}
	return false, why
}

// written is a row with the run of a node that wrote it.
type written struct {
	front.Row
	writer string
}

// fresh reads rows from the server, not from memory, up to the end.
func (t *table) fresh(ctx context.Context, from es.Position) iter.Seq2[written, error] {
	return func(yield func(written, error) bool) {
		for {
			rows, err := t.page(ctx, from, pageRows)
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(written{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			from += es.Position(len(rows))
		}
	}
}

// Settle implements [front.Settler].
func (t *table) Settle(ctx context.Context, from es.Position) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, t.patience)
		defer cancel()
		for r, err := range t.fresh(ctx, from) {
			if errors.Is(err, errMetadata) || err == nil && r.writer != t.writer {
				err = fmt.Errorf("%s: %w", t.stream, errFenced)
			}
			if !yield(r.Row, err) || err != nil {
				return
			}
		}
	}
}

// page reads up to n rows from a position on; none at the end. It tries again
// while the server cannot be reached.
func (t *table) page(ctx context.Context, from es.Position, n int) ([]written, error) {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	for attempt := 0; ; attempt++ {
		var rows []written
		err := t.conn.do(ctx, func(ctx context.Context, c *esdb.Client) (err error) {
			rows, err = t.receive(ctx, c, from, n)
			return err
		})
		switch {
		case err == nil:
			return rows, nil
		case errors.Is(err, es.ErrCorrupt), refusal(err), errors.Is(err, errClosed):
			return nil, err
		case pause(ctx, attempt) != nil:
			return nil, fmt.Errorf("read %s at %d: %w", t.stream, from, err)
		}
	}
}

func (t *table) receive(ctx context.Context, c *esdb.Client, from es.Position, n int) ([]written, error) {
	in, err := c.ReadStream(ctx, t.stream, esdb.ReadStreamOptions{From: esdb.Revision(uint64(from)), RequiresLeader: true}, uint64(n))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var out []written
	size := 0
	for size < pageBytes {
		e, err := in.Recv()
		if errors.Is(err, io.EOF) || notFound(err) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		r, writer, err := decode(e.OriginalEvent())
		if err != nil {
			return nil, err
		}
		if want := from + es.Position(len(out)); r.Position != want {
			return nil, fmt.Errorf("%w: %s has no event %d; was it truncated on the server?", es.ErrCorrupt, t.stream, want)
		}
		out = append(out, written{r, writer})
		size += len(r.Data) + len(r.Meta)
	}
	return out, nil
}

// remember keeps rows that were written last.
func (t *table) remember(rows []front.Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.tail); n > 0 && t.tail[n-1].Position+1 != rows[0].Position {
		t.tail, t.size = nil, 0
	}
	for i := range rows {
		t.tail = append(t.tail, &rows[i])
		t.size += len(rows[i].Data) + len(rows[i].Meta)
	}
	drop := 0
	for ; len(t.tail)-drop > tailRows || t.size > tailBytes && drop < len(t.tail); drop++ {
		t.size -= len(t.tail[drop].Data) + len(t.tail[drop].Meta)
	}
	t.tail = slices.Delete(t.tail, 0, drop)
}

// known returns a copy of a row that is remembered.
func (t *table) known(p es.Position) (front.Row, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tail) == 0 || p < t.tail[0].Position || p > t.tail[len(t.tail)-1].Position {
		return front.Row{}, false
	}
	r := *t.tail[p-t.tail[0].Position]
	r.Data, r.Meta = bytes.Clone(r.Data), bytes.Clone(r.Meta)
	return r, true
}

// span reads the rows of [from, to), from memory where they are there.
func (t *table) span(ctx context.Context, from, to es.Position) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		for from < to {
			if r, ok := t.known(from); ok {
				if !yield(r, nil) {
					return
				}
				from++
				continue
			}
			rows, err := t.page(ctx, from, int(min(to-from, pageRows)))
			if err == nil && len(rows) == 0 {
				err = fmt.Errorf("%w: %s ends at %d, not at %d", es.ErrCorrupt, t.stream, from, to)
			}
			if err != nil {
				yield(front.Row{}, err)
				return
			}
			for _, r := range rows {
				if !yield(r.Row, nil) {
					return
				}
			}
			from += es.Position(len(rows))
		}
	}
}

// Range implements [front.Table].
func (t *table) Range(ctx context.Context, from, to es.Position, d es.Direction, f es.Filter) iter.Seq2[front.Row, error] {
	if d == es.Forward {
		return matching(t.span(ctx, from, to), f)
	}
	return func(yield func(front.Row, error) bool) {
		for to > from {
			begin := max(from, to-min(to, pageRows))
			rows, err := gather(t.span(ctx, begin, to))
			if err != nil {
				yield(front.Row{}, err)
				return
			}
			for _, r := range slices.Backward(rows) {
				if f.Match(r.Stream, r.Type) && !yield(r, nil) {
					return
				}
			}
			to = begin
		}
	}
}

func matching(rows iter.Seq2[front.Row, error], f es.Filter) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		for r, err := range rows {
			if err == nil && !f.Match(r.Stream, r.Type) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func gather(rows iter.Seq2[front.Row, error]) (out []front.Row, err error) {
	for r, err := range rows {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// At implements [front.Table]. Rows that are close together come with one
// request.
func (t *table) At(ctx context.Context, positions []es.Position) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		for len(positions) > 0 {
			n := 1
			for n < len(positions) && near(positions[n-1], positions[n]) && !farther(positions[0], positions[n], pageRows) {
				n++
			}
			lo, hi := min(positions[0], positions[n-1]), max(positions[0], positions[n-1])
			rows, err := gather(t.span(ctx, lo, hi+1))
			if err != nil {
				yield(front.Row{}, err)
				return
			}
			for _, p := range positions[:n] {
				if !yield(rows[p-lo], nil) {
					return
				}
			}
			positions = positions[n:]
		}
	}
}

func near(a, b es.Position) bool { return !farther(a, b, neighbours) }

func farther(a, b es.Position, n es.Position) bool { return max(a, b)-min(a, b) >= n }

// Close implements [front.Table].
func (t *table) Close() error {
	t.conn.close()
	return nil
}
