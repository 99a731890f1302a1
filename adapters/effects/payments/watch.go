package payments

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// watch is how something on the chain is followed until it is over.
type watch struct {
	log  *es.Log
	fact string // type of the facts whose streams are watched from then on
	// open lists the ids of the streams that are watched from the start.
	open  func(ctx context.Context) ([]string, error)
	every time.Duration // between looks
	// look looks at one; done means that it need not be looked at again. What
	// failed is told and looked at again.
	look   func(ctx context.Context, id string) (done bool, err error)
	failed func(id string, err error)
}

// watched are the streams that are watched, by id, with the time since when.
type watched struct {
	mu  sync.Mutex
	ids map[string]time.Time
}

// run watches until ctx ends: now and then, and at once when there is a fact.
func (o *watched) run(ctx context.Context, w watch) error {
	o.ids = make(map[string]time.Time)
	head, err := w.log.Store.Head(ctx)
	if err != nil {
		return err
	}
	ids, err := w.open(ctx)
	if err != nil {
		return fmt.Errorf("what is open before %s: %w", w.fact, err)
	}
	for _, id := range ids {
		o.add(id)
	}
	ctx, cancel := context.WithCancel(ctx)
	heard, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() { failed <- o.hear(ctx, w, head, heard) }()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			cancel()
			return err
		case <-ctx.Done():
			cancel()
			return <-failed
		case <-heard:
		case <-tick.C:
		}
		o.look(ctx, w)
	}
}

func (o *watched) add(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids[id] = time.Now()
}

// due says whether something is watched for so long, and if so begins anew.
func (o *watched) due(id string, after time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.ids[id]) < after {
		return false
	}
	o.ids[id] = time.Now()
	return true
}

func (o *watched) hear(ctx context.Context, w watch, from es.Position, heard chan<- struct{}) error {
	var after *es.Position
	if from > 0 {
		p := from - 1
		after = &p
	}
	sub := w.log.Store.Subscribe(ctx, after, es.Filter{Types: []string{w.fact}})
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Event == nil {
			continue
		}
		o.add(m.Event.Stream.Key())
		select {
		case heard <- struct{}{}:
		default:
		}
	}
}

func (o *watched) look(ctx context.Context, w watch) {
	o.mu.Lock()
	ids := make([]string, 0, len(o.ids))
	for id := range o.ids {
		ids = append(ids, id)
	}
	o.mu.Unlock()
	for _, id := range ids {
		done, err := w.look(ctx, id)
		if err != nil && ctx.Err() == nil {
			w.failed(id, err)
		}
		if done {
			o.mu.Lock()
			delete(o.ids, id)
			o.mu.Unlock()
		}
	}
}
