package supervisor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/transfer"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

const (
	maxOpenBatches = 64
	defaultMemory  = 1 << 30
	// maxSpill is how much output an activity may keep in all.
	maxSpill = 256 << 20
)

// core is one activity: its state, its batches and what it uses. All of its
// history is in the journal.
type core struct {
	spec    unit.Spec
	journal *journal
	meter   *meter
	mover   transfer.Mover
	cache   transfer.Cache
	push    func(unit.Event) // to whoever is attached; not journaled
	ended   chan struct{}    // closed when Exited is in the journal
	spill   atomic.Int64     // output that may still be kept

	mu      sync.Mutex
	pair    script.Pair
	life    int // counts terminate commands: what began before one changes no state after it
	batches map[string]*batch
	working sync.WaitGroup

	// What a deploy made; written by commands only, which exclude each other.
	env     map[string]string
	image   image
	volumes []volume
	child   *child
	spare   *child // started, and asked for nothing yet
	over    bool   // none is started any more
	childMu sync.Mutex
	ending  sync.Once
}

// batch is one script on its way.
type batch struct {
	id     string
	script [sha256.Size]byte // its digest: batches are remembered to the end
	ctx    context.Context
	abort  context.CancelCauseFunc
	done   chan struct{}
}

// volume is a directory of the activity as a guest sees it.
type volume struct {
	point
	Name string // below the work dir's volumes
	Dir  string
}

var (
	errTerminated = errors.New("the activity is terminated")
	errAborted    = errors.New("aborted by a terminate command")
)

func newCore(s unit.Spec, j *journal, push func(unit.Event), files unit.Files) *core {
	c := &core{
		spec: s, journal: j, push: push, ended: make(chan struct{}), batches: map[string]*batch{},
		meter: &meter{began: time.Now(), dir: filepath.Join(s.WorkDir, "volumes")},
		cache: transfer.Cache{Dir: filepath.Join(s.CacheDir, "images")},
	}
	c.spill.Store(maxSpill)
	c.mover = transfer.Mover{
		Client: transfer.NewClient(s.AllowLoopback), Files: files,
		Retry: []time.Duration{2 * time.Second, 4 * time.Second},
	}
	if s.Limits.StorageBytes > 0 {
		c.mover.Room = func() int64 { return max(0, s.Limits.StorageBytes-c.meter.stored(0)) }
	}
	c.set(script.Pair{Current: script.Initialized}, "")
	return c
}

// set changes the pair and tells so. The caller holds the lock, or nobody else
// knows the core yet.
func (c *core) set(p script.Pair, reason string) {
	if p == c.pair {
		return
	}
	c.pair = p
	c.journal.append(unit.StateChanged{State: string(p.Current), Pending: string(p.Pending), Reason: reason})
}

// exec takes a script and returns the number of an event that must be durable
// before the script counts as taken. It runs at once, beside other batches; the
// rules of the states keep them apart.
func (c *core) exec(id, text string) (seq int64, err error) {
	steps, err := script.Parse(text)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.batches[id]; ok {
		if b.script == sha256.Sum256([]byte(text)) {
			return c.journal.last(), nil
		}
		return 0, fmt.Errorf("%w: Batch %s already exists", ErrBatch, id)
	}
	if !c.pair.Alive() {
		return 0, fmt.Errorf("%w: %w", unit.ErrGone, errTerminated)
	}
	if c.open() >= maxOpenBatches {
		return 0, fmt.Errorf("%d batches are open, at most %d may be", c.open(), maxOpenBatches)
	}
	b := &batch{id: id, script: sha256.Sum256([]byte(text)), done: make(chan struct{})}
	b.ctx, b.abort = context.WithCancelCause(context.Background())
	c.batches[id] = b
	taken := c.journal.append(unit.BatchAccepted{Batch: id, Commands: len(steps), Script: text})
	c.working.Add(1)
	go c.run(b, steps)
	return taken.Seq, nil
}

func (c *core) open() (n int) {
	for _, b := range c.batches {
		select {
		case <-b.done:
		default:
			n++
		}
	}
	return n
}

// run carries out a batch: strictly in order, up to the first failure.
func (c *core) run(b *batch, steps []script.Step) {
	defer c.working.Done()
	defer b.abort(nil)
	defer close(b.done)
	outcome := unit.Done
	for i, s := range steps {
		if b.ctx.Err() != nil {
			outcome = unit.Aborted
			break
		}
		if !c.step(b, i, s) {
			outcome = unit.Failed
			if b.ctx.Err() != nil {
				outcome = unit.Aborted
			}
			break
		}
	}
	c.journal.append(unit.BatchClosed{Batch: b.id, Outcome: outcome})
}

// result is how a command ended.
type result struct {
	err    error
	code   int // of the guest, when err is nil
	signal string
	fuel   int64
	rusage unit.Rusage
}

// step carries out one command and says whether it was a success.
func (c *core) step(b *batch, index int, s script.Step) bool {
	c.mu.Lock()
	pair, err := c.pair.Begin(s.Command)
	life := c.life
	if err == nil {
		c.set(pair, "")
	}
	c.mu.Unlock()
	out := c.newOutput(b, index, s.Command)
	began := time.Now()
	var r result
	if err != nil {
		c.journal.append(unit.CommandStarted{Batch: b.id, Index: index, Command: s.Text})
		r.err = err
	} else {
		r = c.perform(b, index, s, out)
	}
	r.rusage.WallUS = time.Since(began).Microseconds()
	out.close()
	f := unit.CommandFinished{Batch: b.id, Index: index, Code: r.code, Signal: r.signal, Fuel: r.fuel, Rusage: r.rusage}
	switch {
	case r.err != nil:
		f.Code, f.Message = -1, r.err.Error()
	case r.code != 0:
		f.Message = script.ExitMessage(r.code)
	}
	c.mu.Lock()
	_, ends := s.Command.(script.Terminate)
	if err == nil && c.pair.Alive() && (ends || life == c.life) {
		c.set(c.pair.End(s.Command, f.Message == ""), "")
	}
	c.mu.Unlock()
	c.journal.append(f)
	return f.Message == ""
}

func (c *core) perform(b *batch, index int, s script.Step, out *output) result {
	if run, ok := s.Command.(script.Run); ok {
		return c.runGuest(b, index, s.Text, run, out)
	}
	c.journal.append(unit.CommandStarted{Batch: b.id, Index: index, Command: s.Text})
	switch cmd := s.Command.(type) {
	case script.Deploy:
		return result{err: c.deploy(b, index, cmd, out)}
	case script.Start:
		return result{err: c.start(b.ctx, out)}
	case script.Transfer:
		return result{err: c.transfer(b, index, cmd)}
	case script.Terminate:
		return result{err: c.reset(b)}
	}
	return result{} // sign: there is no key of the activity yet, and so nothing to say
}

// reset is the terminate command: other batches are aborted, the runtime is
// killed, and the activity may be deployed again.
func (c *core) reset(by *batch) error {
	c.mu.Lock()
	c.life++
	var others []*batch
	for _, b := range c.batches {
		if b != by {
			b.abort(errAborted)
			others = append(others, b)
		}
	}
	c.mu.Unlock()
	for _, b := range others {
		select {
		case <-b.done:
		case <-time.After(drainFor + termFor + 2*time.Second):
			return fmt.Errorf("batch %s does not end", b.id)
		}
	}
	c.dropChild(nil)
	return nil
}

// terminate ends the activity, once; later calls wait for the first.
func (c *core) terminate(reason string, code int) {
	c.ending.Do(func() {
		c.mu.Lock()
		c.set(script.Pair{Current: c.pair.Current, Pending: script.Terminated}, reason)
		for _, b := range c.batches {
			b.abort(errTerminated)
		}
		c.mu.Unlock()
		c.awaitBatches(drainFor + termFor + 2*time.Second)
		c.dropAll()
		final := c.meter.sample(c.spec.UsageVector, true)
		c.mu.Lock()
		c.pair = script.Pair{Current: script.Terminated}
		c.mu.Unlock()
		e := c.journal.append(final,
			unit.StateChanged{State: string(script.Terminated), Reason: reason},
			unit.Exited{Reason: reason, Code: code, Rusage: c.meter.rusage()})
		c.journal.durably(e.Seq, nil)
		close(c.ended)
	})
}

func (c *core) awaitBatches(within time.Duration) {
	done := make(chan struct{})
	go func() { c.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(within):
	}
}

// sampling writes the usage at a fixed pace and watches the storage limit.
func (c *core) sampling() {
	every := c.spec.SampleEvery
	if every <= 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		c.journal.append(c.meter.sample(c.spec.UsageVector, false))
		limit := c.spec.Limits.StorageBytes
		if limit > 0 && c.meter.stored(5*time.Second) > limit {
			c.journal.append(unit.LimitExceeded{Limit: counterStorage, Value: gib(limit)})
			go c.terminate(fmt.Sprintf("Usage limit exceeded: %q exceeded the value of %s", counterStorage, gib(limit)), 1)
			return
		}
	}
}

func (c *core) transferVolumes() (list []transfer.Volume) {
	for _, v := range c.volumes {
		if !v.Private {
			list = append(list, transfer.Volume{Path: v.Path, Dir: v.Dir})
		}
	}
	return list
}

func (c *core) guestMounts() (list []exeunit.Mount) {
	for _, v := range c.volumes {
		list = append(list, exeunit.Mount{Dir: v.Dir, Path: v.Path, ReadOnly: v.ReadOnly})
	}
	return list
}
