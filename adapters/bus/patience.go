package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/emet-node/emet/domain/es"
)

// How deliveries are tried again: after pauses that double.
const (
	firstPause = time.Second
	longPause  = 5 * time.Minute
	refusals   = 3         // attempts at what a receiver understands and does not want
	longWish   = time.Hour // longest pause that a receiver may ask for
)

// Trying is a fact that a webhook did not take yet. It is kept, so that a
// process which begins anew goes on where the last one was.
type Trying struct {
	Position es.Position
	Attempts int
	Refused  int       // of them, understood and not wanted
	Since    time.Time // of the first one
	Next     time.Time // when it is tried again
}

// patience tries a fact until it is taken, finally refused, or too old. Then the
// failure is passed on.
func (c *Courier) patience(h Hook) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			p, err := strconv.ParseUint(m.Metadata.Get(metaPosition), 10, 64)
			if err != nil {
				return nil, err
			}
			return c.persist(m, h, es.Position(p), next)
		}
	}
}

func (c *Courier) persist(m *message.Message, h Hook, p es.Position, next message.HandlerFunc) ([]*message.Message, error) {
	ctx := m.Context()
	t, err := c.State.Trying(ctx, h.ID)
	if err != nil {
		return nil, err
	}
	if t.Position != p || t.Attempts == 0 {
		t = Trying{Position: p}
	}
	for {
		if err := sleep(ctx, min(time.Until(t.Next), longWish)); err != nil {
			return nil, err
		}
		out, err := next(m)
		if err == nil || ctx.Err() != nil {
			return out, err
		}
		again := c.onceMore(&t, err, time.Now())
		if err := c.State.Try(context.WithoutCancel(ctx), h.ID, t); err != nil {
			c.Logger.Warn("how often a fact was tried cannot be written down", "webhook", h.ID, "error", err)
		}
		if !again {
			return nil, err
		}
		m.SetContext(ctx) // a middleware may have ended the other one
	}
}

// onceMore notes a failed attempt and says whether there is another one, and when.
func (c *Courier) onceMore(t *Trying, failure error, now time.Time) bool {
	first, giveUp := c.FirstPause, c.GiveUp
	if first == 0 {
		first = firstPause
	}
	if giveUp == 0 {
		giveUp = 24 * time.Hour
	}
	if t.Attempts++; t.Attempts == 1 {
		t.Since = now
	}
	pause := longPause
	if t.Attempts < 30 {
		pause = min(first<<(t.Attempts-1), longPause)
	}
	if first > longPause {
		pause = first
	}
	pause += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(pause)) //nolint:gosec // no secret
	var no *RefusedError
	if errors.As(failure, &no) {
		if no.Final() {
			t.Refused++
		}
		pause = max(pause, min(no.After, longWish))
	}
	t.Next = now.Add(pause)
	return t.Refused < refusals && !t.Next.After(t.Since.Add(giveUp))
}
