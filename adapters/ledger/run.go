package ledger

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// When checkpoints are signed.
const (
	every       = time.Second // if the log grew
	everyEvents = 4096
	askAgain    = time.Minute // an identity that could not vouch
)

// Run signs until ctx ends, and then a last time: every second in which the
// log grew, every 4096 events, and at once when something happened that will
// want a proof. It fails with a [*ledger.Rewritten] when the log is not the one
// that was signed. What goes wrong otherwise is tried again.
func (k *Keeper) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	now, unlocks := make(chan struct{}, 1), make(chan struct{}, 1)
	head, err := k.store.Head(ctx)
	if err != nil {
		return err
	}
	g.Go(func() error { return k.listen(ctx, head, now, unlocks) })
	g.Go(func() error { return k.work(ctx, now, unlocks) })
	err = g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = nil
	}
	if isRewritten(err) {
		return err
	}
	return errors.Join(err, k.Close())
}

func isRewritten(err error) bool {
	var r *ledger.Rewritten
	return errors.As(err, &r)
}

// listen wakes those who sign and those who attest.
func (k *Keeper) listen(ctx context.Context, head es.Position, now, unlocks chan<- struct{}) error {
	var after *es.Position
	if head > 0 {
		p := head - 1
		after = &p
	}
	s := k.store.Subscribe(ctx, after, es.Filter{Types: append([]string{unlocked}, moments...)})
	defer s.Close() //nolint:errcheck // nothing is lost with it
	signedAt := head
	for {
		m, err := s.Next(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, es.ErrClosed):
			return nil
		case err != nil:
			return err
		case m.Event != nil && m.Event.Type == unlocked:
			wake(unlocks)
		case m.Event != nil:
			signedAt = m.Event.Position
			wake(now)
		case m.Checkpoint != nil && *m.Checkpoint >= signedAt+everyEvents-1:
			signedAt = *m.Checkpoint
			wake(now)
		}
	}
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake
	}
}

func (k *Keeper) work(ctx context.Context, now, unlocks <-chan struct{}) error {
	tick, ask := time.NewTicker(every), time.NewTicker(askAgain)
	defer tick.Stop()
	defer ask.Stop()
	for {
		err := k.try(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-now:
		case <-unlocks:
			err = k.attest(ctx)
		case <-ask.C:
			err = k.attest(ctx)
		}
		if err != nil && ctx.Err() == nil {
			k.logger.Warn("who vouches for the log could not be recorded; it is tried again", "error", err)
		}
	}
}

// try signs. Only that the log was rewritten ends it for good.
func (k *Keeper) try(ctx context.Context) error {
	_, err := k.Sign(ctx)
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, ledger.ErrUnsigned), errors.Is(err, ledger.ErrHeld), errors.Is(err, es.ErrClosed):
		return nil
	case isRewritten(err), errors.Is(err, es.ErrCorrupt):
		return err
	}
	k.logger.Warn("the log could not be signed; it is tried again", "error", err)
	return nil
}
