package effects

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
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
	// Resumed says that the intent is older than this runner: another may have
	// carried it out and not have lived to say so.
	Resumed bool
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
	lanes      = 128 // effects of different streams that may run at once
	briefPause = 10 * time.Millisecond
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
	Effects map[string]Effect // by event type; older versions of it are carried out too
	Logger  *slog.Logger
	// QueueOf names the queue of an intent, where one stream should have
	// several. The default is the stream.
	QueueOf func(es.Recorded) string

	begun   es.Position       // head of the log when Run began
	effects map[string]Effect // by name of the fact

	mu     sync.Mutex
	queues map[string]*queue
	known  map[es.ID]string // open intents → their queue
	idle   []string         // lanes that have nothing to do
	ready  []string         // queues that wait for a lane, in order
	pub    message.Publisher
	ctx    context.Context //nolint:containedctx // of Run; timers outlive the call that set them
}

// queue holds the open intents of one stream in order; only the first is tried.
type queue struct {
	waiting []es.Recorded
	attempt int
	timer   *time.Timer
	woken   bool            // while an attempt was under way
	peer    identity.NodeID // that the last attempt did not reach, "" = it was not that
}

// Run takes up every open intent and follows the log for new ones until ctx
// ends. It returns when nothing of it is under way any more.
func (r *Runner) Run(ctx context.Context) error {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	if r.begun, err = r.Log.Store.Head(ctx); err != nil {
		return err
	}
	router, err := r.start(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer r.stopTimers()
	defer cancel()
	failed := make(chan error, 1)
	wg.Go(func() { failed <- router.Run(ctx) })
	select {
	case <-router.Running():
	case err := <-failed:
		return err
	}
	if err := r.work(ctx, &wg); parent.Err() == nil {
		return err
	}
	return nil
}

func (r *Runner) work(ctx context.Context, wg *sync.WaitGroup) error {
	if err := r.relist(ctx); err != nil {
		return err
	}
	wg.Go(func() { r.relistNowAndThen(ctx) })
	return r.follow(ctx, r.begun)
}

// start builds the router: one handler for each lane. A lane tries one effect
// at a time and lanes run beside each other; whichever is idle takes the next.
func (r *Runner) start(ctx context.Context) (*message.Router, error) {
	r.mu.Lock()
	r.queues, r.known, r.ctx = make(map[string]*queue), make(map[es.ID]string), ctx
	r.idle, r.ready = nil, nil
	r.mu.Unlock()
	r.effects = make(map[string]Effect, len(r.Effects))
	for typ, e := range r.Effects {
		r.effects[es.FactName(typ)] = e
	}
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
		lane := "effects." + strconv.Itoa(i)
		router.AddConsumerHandler(lane, lane, bus, func(m *message.Message) error {
			r.attempt(string(m.Payload))
			r.rest(lane)
			return nil
		})
		r.idle = append(r.idle, lane)
	}
	r.pub = bus
	return router, nil
}

// follow adds the intents that the log gets.
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
	if r.effect(e) == nil {
		return nil
	}
	rec, err := r.Log.Decode(ctx, e)
	if err != nil {
		return err
	}
	r.take(rec)
	return nil
}

// effect carries out an intent, nil = that is not ours.
func (r *Runner) effect(e es.Event) Effect { return r.effects[es.FactName(e.Type)] }

// take adds an intent that is ours to carry out. One whose content was erased
// asks for nothing any more.
func (r *Runner) take(rec es.Recorded) {
	if r.effect(rec.Event) == nil {
		return
	}
	if in, ok := rec.Data.(es.Intent); ok && in.IsIntent() {
		r.add(rec)
	}
}

// relist takes up intents that the log holds and this process does not know.
func (r *Runner) relist(ctx context.Context) error {
	open, err := r.Intents.OpenIntents(ctx)
	if err != nil {
		return fmt.Errorf("list open intents: %w", err)
	}
	held := r.positions()
	for _, p := range open {
		if held[p] {
			continue
		}
		for rec, err := range r.Log.ReadAll(ctx, p, es.Filter{}) {
			if err != nil {
				return err
			}
			r.take(rec)
			break
		}
	}
	return nil
}

// positions are those of the intents that wait here.
func (r *Runner) positions() map[es.Position]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[es.Position]bool, len(r.known))
	for _, q := range r.queues {
		for _, rec := range q.waiting {
			out[rec.Position] = true
		}
	}
	return out
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
	if len(q.waiting) == 1 {
		r.publish(name)
		return
	}
	// The first is being tried: it stays the first.
	slices.SortFunc(q.waiting[1:], func(a, b es.Recorded) int { return cmp.Compare(a.Position, b.Position) })
}

// publish hands the first intent of a queue to an idle lane, or lets it wait
// for one. The caller holds the lock.
func (r *Runner) publish(name string) {
	if len(r.idle) == 0 {
		r.ready = append(r.ready, name)
		return
	}
	lane := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	msg := message.NewMessage(watermill.NewShortUUID(), []byte(name))
	if err := r.pub.Publish(lane, msg); err != nil && r.ctx.Err() == nil {
		r.Logger.Error("a lane of effects takes no messages", "lane", lane, "queue", name, "error", err)
	}
}

// rest gives a lane back, or sets it to what waits.
func (r *Runner) rest(lane string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, lane)
	if len(r.ready) > 0 {
		name := r.ready[0]
		r.ready = r.ready[1:]
		r.publish(name)
	}
}

// attempt is one try at the first intent of a queue.
func (r *Runner) attempt(name string) {
	r.mu.Lock()
	q, ok := r.queues[name]
	if !ok {
		r.mu.Unlock()
		return
	}
	q.attempt++
	q.woken = false
	a := Attempt{Intent: q.waiting[0], N: q.attempt, Resumed: q.waiting[0].Position < r.begun}
	r.mu.Unlock()
	err := r.try(r.ctx, a)
	switch {
	case r.ctx.Err() != nil:
	case err != nil:
		r.later(name, a, err)
	default:
		r.next(name)
	}
}

func (r *Runner) try(ctx context.Context, a Attempt) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("effect panicked: %v", p)
		}
	}()
	// An intent that was listed before it was answered, or whose answer was
	// written although the store could not say so, is done.
	if done, err := r.answered(ctx, a.Intent); done || err != nil {
		return err
	}
	begun := time.Now()
	out, err := r.effect(a.Intent.Event)(ctx, a)
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
	if err == nil && es.StreamOf(out.Order.Category, out.Order.ID) == a.Intent.Stream {
		return r.recorded(ctx, a, out)
	}
	return err
}

// recorded makes sure that an outcome left its fact. Rules that say nothing to
// the outcome of an open intent are a defect too.
func (r *Runner) recorded(ctx context.Context, a Attempt, out Outcome) error {
	done, err := r.answered(ctx, a.Intent)
	if err != nil || done {
		return err
	}
	err = fmt.Errorf("%T left no fact", out.Order.Command)
	r.Logger.Error("the rules were silent to an outcome", "intent", a.Intent.Type, "stream", a.Intent.Stream, "error", err)
	return err
}

// answered says whether the intent's stream holds its outcome.
func (r *Runner) answered(ctx context.Context, intent es.Recorded) (bool, error) {
	final := es.EventID(intent.Stream, es.FinalKey(intent.ID), 0)
	for e, err := range r.Log.Store.ReadStream(ctx, intent.Stream, intent.Revision+1, es.Forward, 0) {
		if err != nil {
			return false, err
		}
		if e.ID == final {
			return true, nil
		}
	}
	return false, nil
}

func (r *Runner) later(name string, a Attempt, err error) {
	pause := min(firstPause<<min(a.N-1, 20), longPause)
	var ra *RetryAfter
	if errors.As(err, &ra) {
		pause = max(ra.In, briefPause)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[name]
	q.peer = ""
	var call *peer.CallError
	if errors.As(err, &call) {
		q.peer = call.To
	}
	if q.woken { // while this attempt was under way
		pause = min(pause, firstPause)
	}
	r.Logger.Info("effect is tried again", "intent", a.Intent.Type, "stream", a.Intent.Stream, "attempt", a.N, "in", pause, "error", err)
	q.timer = time.AfterFunc(pause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		q.timer = nil
		r.publish(name)
	})
}

func (r *Runner) next(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[name]
	delete(r.known, q.waiting[0].ID)
	q.waiting, q.attempt = q.waiting[1:], 0
	if len(q.waiting) == 0 {
		delete(r.queues, name)
		return
	}
	r.publish(name)
}

// Wake tries the queues that wait for their next attempt now. match chooses
// them by name; it is called under a lock and must not call the runner.
func (r *Runner) Wake(match func(queue string) bool) {
	r.wake(func(name string, _ *queue) bool { return match(name) })
}

// WakePeer tries what could not be told to a node now, since it was seen again.
func (r *Runner) WakePeer(node identity.NodeID) {
	r.wake(func(_ string, q *queue) bool { return q.peer == node })
}

func (r *Runner) wake(match func(string, *queue) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, q := range r.queues {
		switch {
		case !match(name, q):
		case q.timer == nil:
			q.woken = true
		case q.timer.Stop():
			q.timer = nil
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
