package effects

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/emet-node/emet/domain/es"
)

// An Effect does what an intent asks for and returns the order that records
// the outcome. An error means that nothing can be said yet: the effect is
// tried again later with a higher attempt number, until it returns an outcome.
// It must be safe to run any number of times for one intent.
type Effect func(ctx context.Context, a Attempt) (Outcome, error)

// Attempt is one try at an intent.
type Attempt struct {
	Intent es.Recorded
	N      int // from 1
}

// Outcome is how an effect ended. Its order closes the intent.
type Outcome struct {
	Order    es.Order
	Actor    es.Actor // default ActorEffect
	Grade    es.Grade // default GradeSelf
	Peer     string   // node that answered, if one did
	Endpoint string
}

// RetryAfter is an error that asks for the next attempt at a certain time
// instead of the usual growing pause.
type RetryAfter struct {
	In  time.Duration
	Err error
}

func (r *RetryAfter) Error() string { return r.Err.Error() }
func (r *RetryAfter) Unwrap() error { return r.Err }

// Intents lists the intents that have no outcome. It waits until it has seen
// the whole log as of the call.
type Intents interface {
	OpenIntents(ctx context.Context) ([]es.Position, error)
}

const (
	lanes      = 64 // effects of different streams that may run at once
	firstPause = time.Second
	longPause  = 6 * time.Hour
	relistTime = time.Minute
)

// Runner works through open intents. Intents of one stream run one at a time
// and in order; a stream that has to wait holds up no other.
type Runner struct {
	Log     *es.Log
	Router  Router
	Intents Intents
	Effects map[string]Effect // by event type
	Logger  *slog.Logger
	// QueueOf names the queue of an intent, where one stream should have
	// several. The default is the stream.
	QueueOf func(es.Recorded) string

	mu     sync.Mutex
	queues map[string]*queue
	known  map[es.ID]string // open intents → their queue
	pub    message.Publisher
	ctx    context.Context //nolint:containedctx // of Run; timers outlive the call that set them
}

// queue holds the open intents of one stream in order; only the first is tried.
type queue struct {
	waiting []es.Recorded
	attempt int
	timer   *time.Timer
}

// Run takes up every open intent and follows the log for new ones until ctx
// ends.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	router, err := r.start(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- router.Run(ctx) }()
	select {
	case <-router.Running():
	case err := <-failed:
		return err
	}
	head, err := r.Log.Store.Head(ctx)
	if err != nil {
		return err
	}
	if err := r.relist(ctx); err != nil {
		return err
	}
	go r.relistNowAndThen(ctx)
	err = r.follow(ctx, head)
	cancel()
	<-failed
	r.stopTimers()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// start builds the router: one handler for each lane, so that a lane's effects
// run one after the other and lanes run beside each other.
func (r *Runner) start(ctx context.Context) (*message.Router, error) {
	r.queues, r.known, r.ctx = make(map[string]*queue), make(map[es.ID]string), ctx
	logger := watermill.NewSlogLoggerWithLevelMapping(r.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: slog.LevelDebug - 4,
	})
	bus := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 64}, logger)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, logger)
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(middleware.Recoverer)
	for i := range lanes {
		router.AddConsumerHandler(laneName(i), laneName(i), bus, r.attempt)
	}
	r.pub = bus
	return router, nil
}

func laneName(i int) string { return "effects." + strconv.Itoa(i) }

func lane(queue string) string {
	h := fnv.New32a()
	h.Write([]byte(queue))
	return laneName(int(h.Sum32() % lanes))
}

// follow adds the intents that the log gets and drops those that it answers.
func (r *Runner) follow(ctx context.Context, from es.Position) error {
	var after *es.Position
	if from > 0 {
		p := from - 1
		after = &p
	}
	sub := r.Log.Store.Subscribe(ctx, after, es.Filter{})
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if m.Event == nil {
			continue
		}
		if err := r.see(ctx, *m.Event); err != nil {
			return err
		}
	}
}

func (r *Runner) see(ctx context.Context, e es.Event) error {
	rec := es.Recorded{Event: e}
	if _, mine := r.Effects[e.Type]; mine {
		var err error
		if rec, err = r.Log.Decode(ctx, e); err != nil {
			return err
		}
		if in, ok := rec.Data.(es.Intent); ok && in.IsIntent() {
			r.add(rec)
		}
	}
	return nil
}

// relist takes up intents that the log holds and this process does not know.
func (r *Runner) relist(ctx context.Context) error {
	open, err := r.Intents.OpenIntents(ctx)
	if err != nil {
		return fmt.Errorf("list open intents: %w", err)
	}
	for _, p := range open {
		for rec, err := range r.Log.ReadAll(ctx, p, es.Filter{}) {
			if err != nil {
				return err
			}
			if _, mine := r.Effects[rec.Type]; mine {
				r.add(rec)
			}
			break
		}
	}
	return nil
}

func (r *Runner) relistNowAndThen(ctx context.Context) {
	for sleep(ctx, relistTime) == nil {
		if err := r.relist(ctx); err != nil && ctx.Err() == nil {
			r.Logger.Warn("open intents could not be listed", "error", err)
		}
	}
}

func (r *Runner) add(rec es.Recorded) {
	name := string(rec.Stream)
	if r.QueueOf != nil {
		name = r.QueueOf(rec)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.known[rec.ID]; ok {
		return
	}
	r.known[rec.ID] = name
	q, ok := r.queues[name]
	if !ok {
		q = &queue{}
		r.queues[name] = q
	}
	q.waiting = append(q.waiting, rec)
	slices.SortFunc(q.waiting, func(a, b es.Recorded) int { return int(a.Position) - int(b.Position) })
	if len(q.waiting) == 1 {
		r.publish(name)
	}
}

// publish hands the first intent of a queue to its lane.
func (r *Runner) publish(name string) {
	msg := message.NewMessage(watermill.NewShortUUID(), []byte(name))
	if err := r.pub.Publish(lane(name), msg); err != nil && r.ctx.Err() == nil {
		r.Logger.Error("effect queue refused a message; the next listing finds the intent again", "queue", name, "error", err)
	}
}

// attempt is a lane's handler: one try at the first intent of a queue.
func (r *Runner) attempt(msg *message.Message) error {
	name := string(msg.Payload)
	r.mu.Lock()
	q, ok := r.queues[name]
	if !ok || len(q.waiting) == 0 {
		r.mu.Unlock()
		return nil
	}
	q.attempt++
	a := Attempt{Intent: q.waiting[0], N: q.attempt}
	r.mu.Unlock()
	err := r.try(r.ctx, a)
	if r.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		r.later(name, a, err)
		return nil
	}
	r.next(name, a.Intent.ID)
	return nil
}

func (r *Runner) try(ctx context.Context, a Attempt) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("effect panicked: %v", p)
		}
	}()
	begun := time.Now()
	out, err := r.Effects[a.Intent.Type](ctx, a)
	if err != nil {
		return err
	}
	m := es.Caused(a.Intent, es.ActorEffect, es.FinalKey(a.Intent.ID))
	if out.Actor != "" {
		m.Actor = out.Actor
	}
	if out.Grade != "" {
		m.Grade = out.Grade
	}
	m.Peer = out.Peer
	m.Effect = &es.EffectMeta{Attempt: a.N, Endpoint: out.Endpoint, DurationMicros: time.Since(begun).Microseconds()}
	err = r.Router.Do(ctx, out.Order, m)
	if err != nil && !transient(err) {
		// The rules must take the outcome of an open intent. When they do not,
		// that is a defect; the intent stays open and visible.
		r.Logger.Error("the rules refused an outcome", "intent", a.Intent.Type, "stream", a.Intent.Stream,
			"outcome", fmt.Sprintf("%T", out.Order.Command), "error", err)
	}
	return err
}

func (r *Runner) later(name string, a Attempt, err error) {
	pause := min(firstPause<<min(a.N-1, 20), longPause)
	var ra *RetryAfter
	if errors.As(err, &ra) {
		pause = ra.In
	}
	r.Logger.Info("effect is tried again", "intent", a.Intent.Type, "stream", a.Intent.Stream, "attempt", a.N, "in", pause, "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if q, ok := r.queues[name]; ok {
		q.timer = time.AfterFunc(pause, func() { r.publish(name) })
	}
}

func (r *Runner) next(name string, done es.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, done)
	q := r.queues[name]
	q.waiting, q.attempt = q.waiting[1:], 0
	if len(q.waiting) == 0 {
		delete(r.queues, name)
		return
	}
	r.publish(name)
}

// Wake tries the queues that wait for their next attempt now, for instance
// when a peer was seen again. match chooses them by name.
func (r *Runner) Wake(match func(queue string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, q := range maps.All(r.queues) {
		if q.timer != nil && match(name) && q.timer.Stop() {
			r.publish(name)
		}
	}
}

func (r *Runner) stopTimers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.queues {
		if q.timer != nil {
			q.timer.Stop()
		}
	}
}
