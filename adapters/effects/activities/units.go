package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	dactivity "github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Terms is what a provider's exe-units need of an agreement.
type Terms struct {
	Requestor, Provider identity.NodeID
	State               string   // of the agreement, as REST spells it
	Runtime             string   // golem.runtime.name of the offer
	ImageRef            string   // golem.srv.comp.task_package of the demand
	UsageVector         []string // golem.com.usage.vector of the offer
	MemoryBytes         int64    // golem.inf.mem.gib of the offer, 0 = not said
	StorageBytes        int64
	Threads             int
	MultiActivity       bool          // golem.srv.caps.multi-activity of the demand
	NoteInterval        time.Duration // between debit notes, 0 = none agreed
}

// Piece is content for a [BlobStore] of which is known whose it is: it may be
// sealed with the key of the subject, and is erased with it.
type Piece struct {
	io.Reader
	Subject string
}

func piece(activityID string, b []byte) Piece {
	return Piece{Reader: bytes.NewReader(b), Subject: dactivity.Subject(activityID)}
}

// BlobStore keeps what is too large for the log.
type BlobStore interface {
	// Put stores content and returns its address, a SHA-256 in hex, and size.
	Put(content io.Reader) (sha256 string, bytes int64, err error)
	Open(sha256 string) (io.ReadCloser, error)
}

// Limits of what is taken over from an exe-unit.
const (
	inlineOutput  = 4 << 10 // larger pieces of output are kept beside the log
	recordUsage   = 15 * time.Second
	attachPatient = 2 * time.Second
)

// Units runs the exe-units of a provider: it spawns them, takes over what they
// report, hands them scripts and ends them. An exe-unit outlives the daemon; a
// daemon that comes back finds it again.
type Units struct {
	Log        *es.Log
	Activities *es.Aggregate[activity.Command, activity.Event, activity.State]
	Batches    *es.Aggregate[batch.Command, batch.Event, batch.State]
	Usage      *es.Aggregate[usage.Command, usage.Event, usage.State]
	Supervisor unit.Supervisor
	Blobs      BlobStore
	// Terms reads an agreement of the provider's side. One that there is not is
	// market.ErrNotFound.
	Terms func(ctx context.Context, agreementID string) (Terms, error)
	// Files is how an exe-unit of an agreement reaches its requestor's files.
	Files func(t Terms) unit.Files
	// Token returns the secret shared with an activity's exe-unit, made at the
	// first call and the same ever after.
	Token func(activityID string) (string, error)
	// Alive lists the activities that have an exe-unit, Made also those that get
	// one; Batches the batches of one that were accepted and are not closed. All
	// have seen the whole log.
	Alive, Made func(ctx context.Context) ([]string, error)
	OpenBatches func(ctx context.Context, activityID string) ([]OpenBatch, error)

	WorkDir       func(activityID string) string
	CacheDir      string
	AllowLoopback bool
	WallClock     time.Duration
	OrphanAfter   time.Duration
	Unresponsive  time.Duration // silence that counts as such
	// MaxAlive bounds the activities that have or get an exe-unit at the same
	// time, 0 = 64.
	MaxAlive int
	Logger   *slog.Logger

	mu   sync.Mutex
	live map[string]*living
	wg   sync.WaitGroup
	over bool
	ctx  context.Context //nolint:containedctx // of Run: attending goes on after the call that began it
	// up is closed when Run begins, found when it attends all that it found alive.
	up, found chan struct{}

	creating sync.Mutex // held from the look at what is alive to the fact
	refused  atomic.Int64
}

const maxAlive = 64

func (u *Units) maxAlive() int {
	if u.MaxAlive > 0 {
		return u.MaxAlive
	}
	return maxAlive
}

// Limit is how many activities live, how many may, and how often one more was
// refused.
func (u *Units) Limit(ctx context.Context) (used, most, refused int64) {
	alive, _ := u.Made(ctx) // none, when the log cannot be read
	return int64(len(alive)), int64(u.maxAlive()), u.refused.Load()
}

// living is an exe-unit that is attended.
type living struct {
	attached chan struct{} // closed at the first attachment
	gone     chan struct{} // closed when the exe-unit is gone and all it said is recorded

	mu   sync.Mutex
	conn unit.Conn
	exit *unit.Exited
}

// Init must be called before anything else.
func (u *Units) Init() {
	u.live, u.up, u.found = make(map[string]*living), make(chan struct{}), make(chan struct{})
}

// Run attends the exe-units that are alive and those that are spawned, until
// ctx ends. The exe-units live on.
func (u *Units) Run(ctx context.Context) error {
	u.ctx = ctx
	close(u.up)
	defer u.leave()
	alive, err := u.Alive(ctx)
	if err != nil {
		return fmt.Errorf("activities with an exe-unit: %w", err)
	}
	for _, id := range alive {
		u.attend(id, true)
	}
	close(u.found)
	<-ctx.Done()
	return nil
}

// leave waits until nothing is attended any more.
func (u *Units) leave() {
	u.mu.Lock()
	u.over = true
	u.mu.Unlock()
	u.wg.Wait()
}

// attend starts (once) to take over what an exe-unit reports.
func (u *Units) attend(activityID string, restarted bool) *living {
	<-u.up
	u.mu.Lock()
	defer u.mu.Unlock()
	if l, ok := u.live[activityID]; ok {
		return l
	}
	l := &living{attached: make(chan struct{}), gone: make(chan struct{})}
	if u.over {
		return l
	}
	u.live[activityID] = l
	u.wg.Go(func() {
		p := pump{u: u, id: activityID, l: l, restarted: restarted, after: -1}
		p.run(u.ctx)
		u.mu.Lock()
		delete(u.live, activityID)
		u.mu.Unlock()
	})
	return l
}

func (u *Units) find(activityID string) (*living, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, ok := u.live[activityID]
	return l, ok
}

// Spawn starts the exe-unit of an activity.
func (u *Units) Spawn(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(activity.SpawnRequested)
	order := func(c activity.Command) effects.Outcome {
		return effects.Outcome{Order: es.Order{Category: activity.Category, ID: a.Intent.Stream.Key(), Command: c}}
	}
	s, _, err := u.Activities.Load(ctx, a.Intent.Stream.Key())
	if err != nil {
		return effects.Outcome{}, err
	}
	if s.Ended {
		return order(activity.FailSpawn{By: effects.Own(), Message: "the activity ended before its exe-unit was started"}), nil
	}
	spec, err := u.spec(ctx, e)
	if err != nil {
		return order(activity.FailSpawn{By: effects.Own(), Message: err.Error()}), nil
	}
	spawned, err := u.Supervisor.Spawn(ctx, spec)
	if err != nil && !errors.Is(err, unit.ErrExists) {
		if ctx.Err() != nil {
			return effects.Outcome{}, err
		}
		return order(activity.FailSpawn{By: effects.Own(), Message: err.Error()}), nil
	}
	u.attend(e.ActivityID, err != nil) // one that was there already may have scripts
	return order(activity.ConfirmSpawn{
		By: effects.Own(), PID: int64(spawned.PID), RuntimeHash: spawned.RuntimeHash, Enforced: spawned.Enforced,
	}), nil
}

func (u *Units) spec(ctx context.Context, e activity.SpawnRequested) (unit.Spec, error) {
	t, err := u.Terms(ctx, e.AgreementID)
	if err != nil {
		return unit.Spec{}, err
	}
	token, err := u.Token(e.ActivityID)
	if err != nil {
		return unit.Spec{}, err
	}
	return unit.Spec{
		ActivityID: e.ActivityID, AgreementID: e.AgreementID, Runtime: e.Runtime, ImageRef: t.ImageRef,
		WorkDir: u.WorkDir(e.ActivityID), CacheDir: u.CacheDir, Token: token, UsageVector: t.UsageVector,
		SampleEvery: time.Second, AllowLoopback: u.AllowLoopback, OrphanAfter: u.OrphanAfter,
		Limits: unit.Limits{MemoryBytes: t.MemoryBytes, StorageBytes: t.StorageBytes, Threads: t.Threads, WallClock: u.WallClock},
	}, nil
}

// ErrNoUnit says that the activity has no exe-unit that answers. The text is
// what clients know.
var ErrNoUnit = errors.New("GSB error: endpoint address not found")

// errNotYet is an ErrNoUnit that a moment of patience may change.
var errNotYet = fmt.Errorf("%w", ErrNoUnit)

// Exec hands a script to the exe-unit of an activity.
func (u *Units) Exec(ctx context.Context, activityID, batchID, script string) error {
	conn, err := u.conn(ctx, activityID)
	if err != nil {
		return err
	}
	return conn.Exec(ctx, batchID, script)
}

// conn waits a moment for the connection to an exe-unit.
func (u *Units) conn(ctx context.Context, activityID string) (unit.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attachPatient)
	defer cancel()
	select {
	case <-u.found:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the node is starting", errNotYet)
	}
	l, ok := u.find(activityID)
	if !ok {
		return nil, fmt.Errorf("%w: activity %s has no exe-unit", ErrNoUnit, activityID)
	}
	select {
	case <-l.attached:
	case <-l.gone:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the exe-unit of activity %s does not answer yet", errNotYet, activityID)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		select {
		case <-l.gone:
			return nil, fmt.Errorf("%w: the exe-unit of activity %s is gone", ErrNoUnit, activityID)
		default:
			return nil, fmt.Errorf("%w: the exe-unit of activity %s is attached again", errNotYet, activityID)
		}
	}
	return l.conn, nil
}

// Destroy ends an exe-unit, waits until all it said is recorded, and tells how
// it ended.
func (u *Units) Destroy(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(activity.DestructionRequested)
	done := activity.ConfirmDestruction{By: effects.Own(), Reason: e.Reason}
	out := effects.Outcome{Order: es.Order{Category: activity.Category, ID: a.Intent.Stream.Key()}}
	l, ok := u.find(e.ActivityID)
	if !ok {
		s, _, err := u.Activities.Load(ctx, a.Intent.Stream.Key())
		if err != nil {
			return effects.Outcome{}, err
		}
		if s.PID == 0 || s.Ended {
			out.Order.Command = done
			return out, nil
		}
		l = u.attend(e.ActivityID, true)
	}
	if conn, err := u.conn(ctx, e.ActivityID); err == nil {
		if err := conn.Terminate(ctx, reasonOf(e)); err != nil && ctx.Err() != nil {
			return effects.Outcome{}, err
		}
	}
	select {
	case <-l.gone:
	case <-ctx.Done():
		return effects.Outcome{}, ctx.Err()
	case <-time.After(10 * time.Second):
		return effects.Outcome{}, fmt.Errorf("the exe-unit of activity %s did not end yet", e.ActivityID)
	}
	if l.exit != nil {
		done.Exit, done.Rusage = exitOf(l.exit), rusageOf(l.exit.Rusage)
	}
	out.Order.Command = done
	return out, nil
}

func reasonOf(e activity.DestructionRequested) string {
	if e.Reason != "" {
		return e.Reason
	}
	return "destroyed by " + string(e.By)
}

// Kill ends an exe-unit from outside of any activity's life, as when a node
// stops for good. What it says at its end is heard by the next start.
func (u *Units) Kill(ctx context.Context, activityID, reason string) error {
	token, err := u.Token(activityID)
	if err != nil {
		return err
	}
	conn, err := u.Supervisor.Attach(ctx, unit.Attachment{ActivityID: activityID, Dir: u.WorkDir(activityID), Token: token, After: -1})
	if errors.Is(err, unit.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it ends
	if err := conn.Terminate(ctx, reason); err != nil {
		return err
	}
	return dismiss(ctx, conn)
}

// dismiss lets an exe-unit that has ended go: it waits for somebody who takes
// its last word. Its journal keeps all of them until they are recorded.
func dismiss(ctx context.Context, conn unit.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, open := <-conn.Events():
			if !open {
				return nil
			}
			if _, ok := e.Body.(unit.Exited); ok {
				conn.Ack(e.Seq)
				return nil
			}
		}
	}
}
