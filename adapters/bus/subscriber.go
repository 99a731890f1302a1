package bus

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

// Metadata of a message, besides its UUID, which is the id of the event.
const (
	metaStream      = "stream"
	metaRevision    = "revision"
	metaPosition    = "position"
	metaType        = "type"
	metaCorrelation = "correlation"
	metaCausation   = "causation"
)

const (
	firstNack   = 100 * time.Millisecond
	longestNack = time.Minute
	noteEvery   = time.Second // how often it is noted that nothing wanted came
)

// Subscriber hands out what the log holds for one webhook, from the position
// that it has reached, one message at a time: Ack moves the position, Nack has
// the message handed out again after a pause. It is a message.Subscriber; the
// topic is not looked at, since the webhook says what it wants.
type Subscriber struct {
	Store  es.Store
	State  *State
	Hook   Hook
	Logger *slog.Logger

	mu     sync.Mutex
	closed bool
	stops  []context.CancelFunc
	wg     sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// Subscribe implements message.Subscriber.
func (s *Subscriber) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	st, err := s.State.Status(ctx, s.Hook)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, es.ErrClosed
	}
	ctx, stop := context.WithCancel(ctx)
	s.stops = append(s.stops, stop)
	out := make(chan *message.Message)
	s.wg.Go(func() {
		defer close(out)
		(&telling{Subscriber: s, out: out, next: st.Next, noted: st.Next}).run(ctx)
	})
	return out, nil
}

// Close implements message.Subscriber.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, stop := range s.stops {
		stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// telling is one subscription.
type telling struct {
	*Subscriber
	out   chan<- *message.Message
	next  es.Position // everything before was taken, or is not wanted
	noted es.Position // what the state says of that
	at    time.Time   // when it was noted
}

// run goes on until ctx ends. A log that cannot be read is tried again.
func (t *telling) run(ctx context.Context) {
	for pause := firstNack; ; pause = min(2*pause, longestNack) {
		err := t.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		t.Logger.Warn("the log cannot be read for a webhook", "webhook", t.Hook.ID, "error", err)
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

func (t *telling) follow(ctx context.Context) error {
	var after *es.Position
	if t.next > 0 {
		p := t.next - 1
		after = &p
	}
	sub := t.Store.Subscribe(ctx, after, t.Hook.Filter.Store())
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := t.message(ctx, sub)
		if err != nil {
			return err
		}
		switch {
		case m.Event != nil:
			if err := t.tell(ctx, *m.Event); err != nil {
				return err
			}
		case m.Checkpoint != nil:
			t.next = max(t.next, *m.Checkpoint+1)
		}
		if t.next > t.noted && time.Since(t.at) >= noteEvery {
			t.note(ctx)
		}
	}
}

// message waits for the next message, and not long if there is something to
// note.
func (t *telling) message(ctx context.Context, sub es.Subscription) (es.Message, error) {
	if t.next == t.noted {
		return sub.Next(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, noteEvery)
	defer cancel()
	m, err := sub.Next(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return es.Message{}, nil
	}
	return m, err
}

// tell hands out an event until it is taken.
func (t *telling) tell(ctx context.Context, e es.Event) error {
	item := news.Of(e)
	if t.Hook.Filter.Sees(item) {
		body, err := item.JSON()
		if err != nil {
			return err
		}
		for pause := firstNack; !t.taken(ctx, item, body); pause = min(2*pause, longestNack) {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
		t.next = e.Position + 1
		t.note(ctx)
		return nil
	}
	t.next = e.Position + 1
	return nil
}

func (t *telling) taken(ctx context.Context, item news.Item, body []byte) bool {
	m := message.NewMessage(item.ID, body)
	for name, value := range map[string]string{
		metaStream: item.Stream, metaRevision: strconv.FormatInt(item.Revision, 10), metaPosition: strconv.FormatUint(item.Position, 10),
		metaType: item.Type, metaCorrelation: item.Correlation, metaCausation: item.Causation,
	} {
		if value != "" {
			m.Metadata.Set(name, value)
		}
	}
	of, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(of)
	select {
	case t.out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked():
	case <-ctx.Done():
	}
	return false
}

// note writes down how far the webhook was told. Should that fail it is told
// some things again after a restart.
func (t *telling) note(ctx context.Context) {
	t.at = time.Now()
	if err := t.State.Passed(context.WithoutCancel(ctx), t.Hook.ID, t.next); err != nil {
		t.Logger.Warn("how far a webhook was told cannot be written down", "webhook", t.Hook.ID, "error", err)
		return
	}
	t.noted = t.next
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
