// Package fake is an exe-unit without processes, for tests of a daemon. It
// keeps the rules of the states and the journal of the real one; what commands
// do is a function of the test.
package fake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

// Result is what a command comes to. An Err makes it fail with code -1.
type Result struct {
	Code           int
	Stdout, Stderr string
	Err            error
	Fuel           int64
}

// Supervisor is a scripted [unit.Supervisor]. The zero value works: every
// command succeeds and says nothing.
type Supervisor struct {
	// Do carries out a command. It must return when ctx ends.
	Do func(ctx context.Context, s unit.Spec, c script.Command, files unit.Files) Result
	// Vector is the usage that samples tell, nil = zeros.
	Vector func(s unit.Spec) string
	// SpawnError, when set, is what Spawn fails with.
	SpawnError func(s unit.Spec) error
	// AttachError, when set, is asked before each Attach; what it says is what
	// that fails with. It must be safe for concurrent use.
	AttachError func(a unit.Attachment) error

	mu    sync.Mutex
	units map[string]*exeUnit // by work dir
	pids  int
}

var _ unit.Supervisor = (*Supervisor)(nil)

// exeUnit is one activity.
type exeUnit struct {
	sup     *Supervisor
	spec    unit.Spec
	spawned unit.Spawned

	mu      sync.Mutex
	journal []unit.Event
	changed chan struct{}
	pair    script.Pair
	life    int
	batches map[string]*batch
	conn    *conn
	acked   int64
	gone    bool // as if killed
	over    bool // Exited is told
	files   unit.Files
}

type batch struct {
	text  string
	ctx   context.Context
	abort context.CancelCauseFunc
	done  chan struct{}
}

// Spawn starts an activity.
func (s *Supervisor) Spawn(_ context.Context, spec unit.Spec) (unit.Spawned, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.SpawnError != nil {
		if err := s.SpawnError(spec); err != nil {
			return unit.Spawned{}, err
		}
	}
	if u := s.units[spec.WorkDir]; u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.dead() {
			return unit.Spawned{}, u.goneAfter(-1)
		}
		return u.spawned, unit.ErrExists
	}
	if s.units == nil {
		s.units = map[string]*exeUnit{}
	}
	s.pids++
	u := &exeUnit{sup: s, spec: spec, changed: make(chan struct{}), batches: map[string]*batch{}, acked: -1}
	u.spawned = unit.Spawned{PID: s.pids, Started: time.Now().UTC().Truncate(time.Microsecond), RuntimeHash: strings.Repeat("0", 64), Enforced: []string{}}
	s.units[spec.WorkDir] = u
	u.set(script.Pair{Current: script.Initialized}, "")
	return u.spawned, nil
}

// Attach connects to an activity.
func (s *Supervisor) Attach(_ context.Context, a unit.Attachment) (unit.Conn, error) {
	if s.AttachError != nil {
		if err := s.AttachError(a); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	u := s.units[a.Dir]
	s.mu.Unlock()
	if u == nil {
		return nil, &unit.GoneError{ActivityID: a.ActivityID, Left: func(func(unit.Event) bool) {}}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.dead():
		return nil, u.goneAfter(a.After)
	case a.Token != u.spec.Token || a.ActivityID != u.spec.ActivityID:
		return nil, unit.ErrToken
	case a.After >= int64(len(u.journal)):
		return nil, fmt.Errorf("event %d is not in the journal", a.After)
	}
	if u.conn != nil {
		u.conn.drop(unit.ErrLost)
	}
	u.conn = &conn{u: u, events: make(chan unit.Event), stop: make(chan struct{})}
	u.files = a.Files
	u.signal()
	go u.conn.tell(a.After + 1)
	return u.conn, nil
}

// Kill ends an activity's exe-unit as SIGKILL would: without a last word.
func (s *Supervisor) Kill(workDir string) {
	s.mu.Lock()
	u := s.units[workDir]
	s.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone = true
	for _, b := range u.batches {
		b.abort(unit.ErrGone)
	}
	if u.conn != nil {
		u.conn.drop(unit.ErrLost)
	}
}

// dead says whether nobody answers any more: killed, or over and recorded.
func (u *exeUnit) dead() bool {
	return u.gone || u.over && u.acked >= int64(len(u.journal))-1
}

func (u *exeUnit) goneAfter(after int64) error {
	left := u.journal[min(int64(len(u.journal)), after+1):]
	return &unit.GoneError{ActivityID: u.spec.ActivityID, Left: func(yield func(unit.Event) bool) {
		for _, e := range left {
			if !yield(e) {
				return
			}
		}
	}}
}

// append adds events. The caller holds the lock. A killed one writes nothing.
func (u *exeUnit) append(bodies ...unit.Body) (last unit.Event) {
	if u.gone {
		return last
	}
	for _, b := range bodies {
		last = unit.Event{Seq: int64(len(u.journal)), At: time.Now().UTC().Truncate(time.Microsecond), Body: b}
		u.journal = append(u.journal, last)
	}
	u.signal()
	return last
}

func (u *exeUnit) signal() {
	close(u.changed)
	u.changed = make(chan struct{})
}

func (u *exeUnit) set(p script.Pair, reason string) {
	if p != u.pair {
		u.pair = p
		u.append(unit.StateChanged{State: string(p.Current), Pending: string(p.Pending), Reason: reason})
	}
}

func (u *exeUnit) exec(id, text string) error {
	steps, err := script.Parse(text)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if b, ok := u.batches[id]; ok {
		if b.text == text {
			return nil
		}
		return fmt.Errorf("Batch %s already exists", id) //nolint:staticcheck // clients know this text
	}
	if !u.pair.Alive() || u.gone {
		return unit.ErrGone
	}
	b := &batch{text: text, done: make(chan struct{})}
	b.ctx, b.abort = context.WithCancelCause(context.Background())
	u.batches[id] = b
	u.append(unit.BatchAccepted{Batch: id, Commands: len(steps), Script: text})
	go u.run(id, b, steps)
	return nil
}

func (u *exeUnit) run(id string, b *batch, steps []script.Step) {
	defer close(b.done)
	outcome := unit.Done
	for i, s := range steps {
		ok := b.ctx.Err() == nil && u.step(id, b, i, s)
		if b.ctx.Err() != nil && !ok {
			outcome = unit.Aborted
		} else if !ok {
			outcome = unit.Failed
		}
		if !ok {
			break
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.append(unit.BatchClosed{Batch: id, Outcome: outcome})
}

func (u *exeUnit) step(id string, b *batch, index int, s script.Step) bool {
	u.mu.Lock()
	pair, err := u.pair.Begin(s.Command)
	if err == nil {
		u.set(pair, "")
	}
	life, files := u.life, u.files
	u.append(unit.CommandStarted{Batch: id, Index: index, Command: s.Text})
	u.mu.Unlock()
	r := Result{Err: err}
	_, ends := s.Command.(script.Terminate)
	if err == nil && ends {
		u.reset(id)
	}
	if err == nil && u.sup.Do != nil {
		r = u.sup.Do(b.ctx, u.spec, s.Command, files)
	}
	if b.ctx.Err() != nil {
		r.Err = context.Cause(b.ctx)
	}
	f := unit.CommandFinished{Batch: id, Index: index, Code: r.Code, Fuel: r.Fuel}
	if r.Err != nil {
		f.Code, f.Message = -1, r.Err.Error()
	} else if r.Code != 0 {
		f.Message = script.ExitMessage(r.Code)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.output(id, index, s.Command, r)
	if err == nil && u.pair.Alive() && (ends || life == u.life) {
		u.set(u.pair.End(s.Command, f.Message == ""), "")
	}
	u.append(f)
	return f.Message == ""
}

// output tells what the captures of a command keep.
func (u *exeUnit) output(id string, index int, c script.Command, r Result) {
	for i, text := range []string{r.Stdout, r.Stderr} {
		capture := script.CaptureOf(c, i == 1)
		k := script.NewKeeper(capture, 8<<20)
		pieces := append([]script.Piece{k.Write([]byte(text))}, k.Rest()...)
		at := int64(0)
		for _, p := range pieces {
			if len(p.Bytes) == 0 {
				continue
			}
			u.append(unit.CommandOutput{
				Batch: id, Index: index, Stream: []string{unit.Stdout, unit.Stderr}[i], Bytes: p.Bytes,
				Offset: at, Binary: capture.Binary, Streamed: capture.Live,
			})
			at += int64(len(p.Bytes))
		}
	}
}

func (u *exeUnit) reset(by string) {
	u.mu.Lock()
	u.life++
	var others []*batch
	for id, b := range u.batches {
		if id != by {
			b.abort(errors.New("aborted by a terminate command"))
			others = append(others, b)
		}
	}
	u.mu.Unlock()
	for _, b := range others {
		<-b.done
	}
}

func (u *exeUnit) sample() unit.Sampled {
	v := "[" + strings.TrimSuffix(strings.Repeat("0,", len(u.spec.UsageVector)), ",") + "]"
	if u.sup.Vector != nil {
		v = u.sup.Vector(u.spec)
	}
	return unit.Sampled{Vector: v, DownloadSec: "0", RunSec: "0"}
}

func (u *exeUnit) terminate(reason string) {
	u.mu.Lock()
	if u.gone || u.pair.Pending == script.Terminated || u.over {
		u.mu.Unlock()
		return
	}
	u.set(script.Pair{Current: u.pair.Current, Pending: script.Terminated}, reason)
	var all []*batch
	for _, b := range u.batches {
		b.abort(errors.New("the activity is terminated"))
		all = append(all, b)
	}
	u.mu.Unlock()
	for _, b := range all {
		<-b.done
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pair = script.Pair{Current: script.Terminated}
	u.append(u.sample(), unit.StateChanged{State: string(script.Terminated), Reason: reason}, unit.Exited{Reason: reason})
	u.over = true
}
