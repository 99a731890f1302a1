package replay

import (
	"context"
	"hash/maphash"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/domain/es"
)

const (
	parcelEvents = 512
	parcelBytes  = 256 << 10
	parcels      = 3 // for each worker: one that is filled, one that waits, one that is worked on
)

// parcel is a number of events on their way to a worker, and the memory that
// they lie in. It is used again and again.
type parcel struct {
	events []es.Lent
	bytes  []byte
}

// add copies an event into the parcel, if there is room.
func (p *parcel) add(e *es.Lent) bool {
	need := len(e.Stream) + len(e.Data)
	switch {
	case len(p.events) == 0 && need > cap(p.bytes):
		p.bytes = make([]byte, 0, max(need, parcelBytes))
	case len(p.events) == parcelEvents || len(p.bytes)+need > cap(p.bytes):
		return false
	}
	kept := *e
	kept.Stream, kept.Data, kept.Meta = p.copy(e.Stream), p.copy(e.Data), nil
	p.events = append(p.events, kept)
	return true
}

func (p *parcel) copy(b []byte) []byte {
	from := len(p.bytes)
	p.bytes = append(p.bytes, b...)
	return p.bytes[from:len(p.bytes):len(p.bytes)]
}

// worker sees all events of its streams, in order.
type worker interface {
	see(ctx context.Context, e *es.Lent) error
}

// share reads a log once and lets each processor work on some of its streams.
// Events come without their metadata.
func share[W worker](ctx context.Context, s es.Store, hire func() W) ([]W, error) {
	return shareAmong(ctx, s, min(runtime.NumCPU(), runtime.GOMAXPROCS(0)), hire)
}

func shareAmong[W worker](ctx context.Context, s es.Store, workers int, hire func() W) ([]W, error) {
	all := make([]W, workers)
	work, within := errgroup.WithContext(ctx)
	posts := make([]post, len(all))
	for i := range all {
		all[i] = hire()
		posts[i] = newPost()
		work.Go(func() error { return posts[i].deliver(within, all[i]) })
	}
	work.Go(func() error {
		for i := range posts {
			defer close(posts[i].full)
		}
		seed := maphash.MakeSeed()
		for e, err := range es.Lend(within, s, 0, es.Filter{}) {
			if err == nil {
				err = posts[maphash.Bytes(seed, e.Stream)%uint64(len(posts))].put(within, e)
			}
			if err != nil {
				return err
			}
		}
		for i := range posts {
			if err := posts[i].send(within); err != nil {
				return err
			}
		}
		return nil
	})
	return all, work.Wait()
}

// post brings parcels to one worker, and back when they are empty.
type post struct {
	open        *parcel
	full, empty chan *parcel
}

func newPost() post {
	p := post{open: &parcel{}, full: make(chan *parcel, parcels), empty: make(chan *parcel, parcels)}
	for range parcels - 1 {
		p.empty <- &parcel{}
	}
	return p
}

func (p *post) put(ctx context.Context, e *es.Lent) error {
	for !p.open.add(e) {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send sends what was put so far.
func (p *post) send(ctx context.Context) error {
	p.full <- p.open // there is room for all parcels
	select {
	case p.open = <-p.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *post) deliver(ctx context.Context, w worker) error {
	for parcel := range p.full {
		for i := range parcel.events {
			if err := w.see(ctx, &parcel.events[i]); err != nil {
				return err
			}
		}
		clear(parcel.events)
		parcel.events, parcel.bytes = parcel.events[:0], parcel.bytes[:0]
		p.empty <- parcel
	}
	return nil
}
