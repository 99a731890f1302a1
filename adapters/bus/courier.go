package bus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

const closeTime = 5 * time.Second

// Courier tells webhooks the news.
type Courier struct {
	Store  es.Store
	State  *State
	Sender *Sender
	// Hooks lists the webhooks there are.
	Hooks func() ([]Hook, error)
	// GiveUp is how long one fact is tried before it is set aside; 0 = 24 h.
	GiveUp time.Duration
	// FirstPause is the pause after the first failure; 0 = 1 s.
	FirstPause time.Duration
	Logger     *slog.Logger

	mu      sync.Mutex
	changed chan struct{}
	again   map[string]bool // webhooks whose pause is over

	delivered, failed, aside atomic.Int64
}

// Counts are what happened since the process began.
type Counts struct{ Delivered, Failed, SetAside int64 }

// Counts tells what happened.
func (c *Courier) Counts() Counts {
	return Counts{Delivered: c.delivered.Load(), Failed: c.failed.Load(), SetAside: c.aside.Load()}
}

// Changed says that there are other webhooks now.
func (c *Courier) Changed() { c.wake("") }

// Again ends the pause of a webhook whose receiver is back.
func (c *Courier) Again(id string) { c.wake(id) }

func (c *Courier) wake(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id != "" {
		if c.again == nil {
			c.again = make(map[string]bool)
		}
		c.again[id] = true
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// wait is closed at the next change; again are the webhooks whose pause ended
// since the last call.
func (c *Courier) wait() (changed <-chan struct{}, again map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	again, c.again = c.again, nil
	return c.changed, again
}

// lookAgain is how often it is looked whether all webhooks are served.
const lookAgain = time.Minute

// Run delivers until ctx ends. One webhook that does not answer holds up no
// other, and whatever is wrong with webhooks is only told: the node goes on.
func (c *Courier) Run(ctx context.Context) error {
	routes := make(map[string]*route)
	defer func() {
		for _, r := range routes {
			r.stop()
		}
	}()
	for {
		changed, again := c.wait()
		if err := c.settle(ctx, routes, again); err != nil && ctx.Err() == nil {
			c.Logger.Error("webhooks are not served as they should be", "error", err)
		}
		look := time.NewTimer(lookAgain)
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
		}
		look.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// settle ends what is not wanted any more and opens what is wanted and not
// there.
func (c *Courier) settle(ctx context.Context, routes map[string]*route, again map[string]bool) error {
	hooks, err := c.Hooks()
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	for id := range again {
		if err := c.State.Hurry(ctx, id); err != nil {
			return err
		}
	}
	for id, r := range routes {
		if again[id] || r.over() || !slices.ContainsFunc(hooks, func(h Hook) bool { return h.ID == id }) {
			r.stop()
			delete(routes, id)
		}
	}
	for _, h := range hooks {
		if routes[h.ID] != nil || ctx.Err() != nil {
			continue
		}
		r, err := c.open(ctx, h)
		if err != nil {
			return err
		}
		routes[h.ID] = r
	}
	return nil
}

// route is one webhook that is served.
type route struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *route) stop() {
	r.cancel()
	<-r.done
}

func (r *route) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// open starts the router of a webhook. From outside to inside: the poison
// queue takes what failed for good, the retry takes what failed, and a panic is
// a failure.
func (c *Courier) open(ctx context.Context, h Hook) (*route, error) {
	logger := watermill.NewSlogLoggerWithLevelMapping(c.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: slog.LevelDebug - 4, slog.LevelError: slog.LevelDebug,
	})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTime}, logger)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	poison, err := middleware.PoisonQueueWithFilter(shelf{c}, h.ID, func(error) bool { return ctx.Err() == nil })
	if err != nil {
		cancel()
		return nil, err
	}
	sub := &Subscriber{Store: c.Store, State: c.State, Hook: h, Logger: c.Logger}
	router.AddConsumerHandler(h.ID, h.ID, sub, c.deliver(h)).AddMiddleware(poison, c.patience(h), middleware.Recoverer)
	r := &route{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer cancel()
		if err := router.Run(ctx); err != nil && ctx.Err() == nil {
			c.Logger.Error("a webhook is not served", "webhook", h.ID, "error", err)
		}
	}()
	return r, nil
}

// deliver is one attempt.
func (c *Courier) deliver(h Hook) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		ctx := m.Context()
		err := c.Sender.Send(ctx, h, m.UUID, m.Payload)
		if ctx.Err() != nil {
			return ctx.Err() // nobody knows what came of it; it is told again
		}
		c.note(ctx, h, m.Metadata.Get(metaPosition), err)
		return err
	}
}

// note writes down what came of an attempt. That it could not is no reason to
// tell the receiver again.
func (c *Courier) note(ctx context.Context, h Hook, position string, failure error) {
	var err error
	if failure == nil {
		c.delivered.Add(1)
		err = c.State.Took(context.WithoutCancel(ctx), h.ID, time.Now())
	} else {
		c.failed.Add(1)
		c.Logger.Info("a webhook did not take a fact", "webhook", h.ID, "host", host(h.URL), "position", position, "error", failure)
		err = c.State.Refused(context.WithoutCancel(ctx), h.ID, failure.Error(), time.Now())
	}
	if err != nil {
		c.Logger.Warn("what came of a delivery cannot be written down", "webhook", h.ID, "error", err)
	}
}

// shelf is the poison queue: what is published to it is set aside for the
// webhook that the topic names. It keeps where the fact is, not the fact.
type shelf struct{ c *Courier }

var _ message.Publisher = shelf{}

// Publish implements message.Publisher.
func (s shelf) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		p, err := strconv.ParseUint(m.Metadata.Get(metaPosition), 10, 64)
		if err != nil {
			return fmt.Errorf("set aside event %s: its position is not known", m.UUID)
		}
		reason := m.Metadata.Get(middleware.ReasonForPoisonedKey)
		err = s.c.State.SetAside(context.WithoutCancel(m.Context()), Aside{
			Hook: topic, Position: es.Position(p), Event: m.UUID, Type: m.Metadata.Get(metaType), Stream: m.Metadata.Get(metaStream),
			Reason: reason, At: time.Now(),
		})
		if err != nil {
			s.c.Logger.Warn("a fact that a webhook does not take cannot be set aside", "webhook", topic, "position", p, "error", err)
			return err
		}
		s.c.aside.Add(1)
		s.c.Logger.Warn("a webhook does not take a fact; it is set aside", "webhook", topic, "position", p, "type", m.Metadata.Get(metaType), "error", reason)
	}
	return nil
}

// Close implements message.Publisher.
func (shelf) Close() error { return nil }

// Retry tells a webhook once more what was set aside, in order, and forgets
// what it takes. It returns what came of each, nil = taken.
func (c *Courier) Retry(ctx context.Context, h Hook, asides []Aside) ([]error, error) {
	out := make([]error, len(asides))
	for i, a := range asides {
		item, err := c.at(ctx, a.Position)
		if err != nil {
			return out, err
		}
		body, err := item.JSON()
		if err != nil {
			return out, err
		}
		out[i] = c.Sender.Send(ctx, h, item.ID, body)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		c.note(ctx, h, strconv.FormatUint(item.Position, 10), out[i])
		if out[i] == nil {
			err = c.State.Drop(ctx, h.ID, a.Position)
		} else {
			a.Reason, a.At = out[i].Error(), time.Now()
			err = c.State.SetAside(ctx, a)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (c *Courier) at(ctx context.Context, p es.Position) (news.Item, error) {
	for e, err := range c.Store.ReadAll(ctx, p, es.Forward, es.Filter{}, 1) {
		if err != nil {
			return news.Item{}, err
		}
		if e.Position == p {
			return news.Of(e), nil
		}
	}
	return news.Item{}, fmt.Errorf("the log has no position %d", p)
}

// TestType is the type of what [Courier.Test] sends. No fact has it.
const TestType = "$webhook.test"

// Test sends a webhook something to try it with, once. It is no fact and has
// the position that the next fact will get.
func (c *Courier) Test(ctx context.Context, h Hook) error {
	head, err := c.Store.Head(ctx)
	if err != nil {
		return err
	}
	item := news.Item{
		Position: uint64(head), ID: watermill.NewUUID(), Stream: "$webhook", Type: TestType, Recorded: time.Now().UTC().Truncate(time.Microsecond),
		Data: []byte(`{"webhook":"` + h.ID + `"}`), Meta: []byte("{}"),
	}
	body, err := item.JSON()
	if err != nil {
		return err
	}
	if err := c.Sender.Send(ctx, h, item.ID, body); err != nil {
		return err
	}
	c.Again(h.ID)
	return nil
}
