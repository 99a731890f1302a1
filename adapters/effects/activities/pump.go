package activities

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// pump takes over what one exe-unit reports, through any number of
// connections. Every event is recorded under "<activity>/<seq>".
type pump struct {
	u         *Units
	id        string // of the activity
	l         *living
	restarted bool // the daemon found the exe-unit, it did not start it

	after     int64 // last event that is recorded
	agreement string
	terms     Terms
	every     time.Duration // between recorded samples
	recorded  time.Time     // when the last recorded sample was taken
	last      *unit.Event   // last sample heard
	heard     time.Time
	silent    bool
	causes    map[string]es.Meta // causes of reports, by batch; "" = those about the activity
}

func (p *pump) stream() string { return activity.StreamID(identity.Provider, p.id) }

func (p *pump) by() identity.Caller {
	return identity.Caller{Actor: es.ActorExeUnit, Node: p.terms.Provider, Grade: es.GradeSelf}
}

func (p *pump) meta(key string) es.Meta {
	return es.Meta{
		Key: p.id + "/" + key, Correlation: p.agreement, Actor: es.ActorExeUnit,
		Identity: string(p.terms.Provider), Grade: es.GradeSelf,
	}
}

// because says what a report follows from: the acceptance of its batch, or the
// start of the exe-unit.
func (p *pump) because(ctx context.Context, batchID string, m es.Meta) es.Meta {
	c, ok := p.causes[batchID]
	if !ok {
		stream, typ := es.StreamOf(activity.Category, p.stream()), "activity.spawned.v1"
		if batchID != "" {
			stream, typ = es.StreamOf(batch.Category, batch.StreamID(identity.Provider, p.id, batchID)), acceptedType
		}
		if c = effects.Because(ctx, p.u.Log.Store, es.Meta{}, stream, typ); c.Cause == nil {
			return m
		}
		if p.causes == nil {
			p.causes = make(map[string]es.Meta)
		}
		p.causes[batchID] = c
	}
	m.CausationID, m.Cause = c.CausationID, c.Cause
	return m
}

func (p *pump) run(ctx context.Context) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
		begun := time.Now()
		gone, err := p.attach(ctx)
		if time.Since(begun) > time.Minute {
			pause = 50 * time.Millisecond
		}
		if gone {
			close(p.l.gone)
			return
		}
		if ctx.Err() != nil {
			return
		}
		p.u.Logger.Warn("exe-unit is attached again", "activity", p.id, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// attach hears an exe-unit until the connection ends. It says whether the
// exe-unit is gone and everything it said is recorded.
func (p *pump) attach(ctx context.Context) (gone bool, err error) {
	if err := p.know(ctx); err != nil {
		return false, err
	}
	token, err := p.u.Token(p.id)
	if err != nil {
		return false, err
	}
	conn, err := p.u.Supervisor.Attach(ctx, unit.Attachment{
		ActivityID: p.id, Dir: p.u.WorkDir(p.id), Token: token, After: p.after, Files: p.u.Files(p.terms),
	})
	var left *unit.GoneError
	if errors.As(err, &left) {
		return p.takeLeft(ctx, left)
	}
	if err != nil {
		return false, err
	}
	defer conn.Close() //nolint:errcheck // it goes on without us
	if err := p.takeUp(ctx, conn); err != nil {
		return false, err
	}
	defer p.leave()
	return p.hearAll(ctx, conn)
}

// know loads what the activity's agreement says.
func (p *pump) know(ctx context.Context) error {
	if p.agreement != "" {
		return nil
	}
	s, _, err := p.u.Activities.Load(ctx, p.stream())
	if err != nil {
		return err
	}
	if p.terms, err = p.u.Terms(ctx, s.AgreementID); err != nil {
		return err
	}
	p.agreement, p.every = s.AgreementID, recordUsage
	if n := p.terms.NoteInterval; n > 0 && n < p.every {
		p.every = n
	}
	return nil
}

// takeUp makes a connection the one in use, and hands over the scripts that
// were accepted before a crash and may not have reached the exe-unit.
func (p *pump) takeUp(ctx context.Context, conn unit.Conn) error {
	s, _, err := p.u.Activities.Load(ctx, p.stream())
	if err != nil {
		return err
	}
	if s.Ended { // while its exe-unit was being started
		return conn.Terminate(ctx, "the activity is over")
	}
	p.silent = s.Pair.Current == activity.PhaseUnresponsive
	if p.restarted {
		if s.PID != 0 { // else its start is about to be confirmed
			if err := p.tell(ctx, activity.Reattach{By: effects.Own(), PID: s.PID, Seq: max(p.after, 0)}, moment("reattached")); err != nil {
				return err
			}
		}
		open, err := p.u.OpenBatches(ctx, p.id)
		if err != nil {
			return err
		}
		for _, b := range open {
			s, _, err := p.u.Batches.Load(ctx, batch.StreamID(identity.Provider, b.ActivityID, b.BatchID))
			if err != nil {
				return err
			}
			if err := conn.Exec(ctx, b.BatchID, s.Script); err != nil {
				if errors.Is(err, unit.ErrLost) || ctx.Err() != nil {
					return err
				}
				p.u.Logger.Warn("accepted script could not be handed over", "activity", p.id, "batch", b.BatchID, "error", err)
			}
		}
		p.restarted = false
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	first := p.l.conn == nil
	p.l.conn = conn
	if first {
		select {
		case <-p.l.attached:
		default:
			close(p.l.attached)
		}
	}
	return nil
}

func (p *pump) leave() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.l.conn = nil
}

func (p *pump) hearAll(ctx context.Context, conn unit.Conn) (gone bool, err error) {
	p.heard = time.Now()
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-watch.C:
			if err := p.watch(ctx); err != nil {
				return false, err
			}
		case e, open := <-conn.Events():
			if !open {
				if p.l.exit != nil {
					return true, nil
				}
				return false, conn.Err()
			}
			if err := p.hear(ctx, e); err != nil {
				return false, err
			}
			if _, closed := e.Body.(unit.BatchClosed); closed {
				conn.Ack(e.Seq)
			}
			if p.l.exit != nil {
				conn.Ack(e.Seq)
				return true, nil
			}
		}
	}
}

// watch notices an exe-unit that says nothing, not even how much it used.
func (p *pump) watch(ctx context.Context) error {
	silence := time.Since(p.heard)
	if p.silent || p.u.Unresponsive == 0 || silence < p.u.Unresponsive {
		return nil
	}
	p.silent = true
	return p.tell(ctx, activity.MarkUnresponsive{By: effects.Own(), SilentMS: silence.Milliseconds()}, moment("silent"))
}

// takeLeft records what a dead exe-unit left in its journal, and that it is
// gone.
func (p *pump) takeLeft(ctx context.Context, left *unit.GoneError) (bool, error) {
	if left.Left != nil {
		for e := range left.Left {
			if err := p.hear(ctx, e); err != nil {
				return false, err
			}
		}
	}
	if p.l.exit == nil {
		if err := p.finish(ctx, activity.End{By: p.by(), Reason: "exe-unit lost", ErrorMessage: "the exe-unit's process was killed"}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// hear records one event.
func (p *pump) hear(ctx context.Context, e unit.Event) error {
	p.heard = time.Now()
	if p.silent {
		p.silent = false
		if err := p.tell(ctx, activity.MarkRecovered{By: effects.Own()}, moment("heard")); err != nil {
			return err
		}
	}
	if e.Seq < 0 {
		return nil
	}
	err := p.record(ctx, e, strconv.FormatInt(e.Seq, 10))
	if refused(err) {
		// The rules refuse what makes no sense; the exe-unit is not stopped for
		// it. What only did not work now is heard again.
		p.u.Logger.Error("an exe-unit's report was refused", "activity", p.id, "seq", e.Seq, "event", fmt.Sprintf("%T", e.Body), "error", err)
		err = nil
	}
	if err == nil {
		p.after = e.Seq
	}
	return err
}

func (p *pump) record(ctx context.Context, e unit.Event, key string) error {
	switch b := e.Body.(type) {
	case unit.StateChanged:
		if b.State == string(activity.PhaseTerminated) {
			return nil // Exited follows and tells more
		}
		pair := activity.Pair{Current: activity.Phase(b.State), Pending: activity.Phase(b.Pending)}
		return p.tell(ctx, activity.ReportState{By: p.by(), Pair: pair, Reason: b.Reason, ErrorMessage: b.Error}, key)
	case unit.VolumeMapped:
		return p.tell(ctx, activity.MapVolume{By: p.by(), Name: b.Dir, Path: b.Path}, key)
	case unit.LimitExceeded:
		return p.tell(ctx, activity.ExceedLimit{By: p.by(), Allowed: b.Value, Counter: b.Limit, Measured: "more"}, key)
	case unit.Sampled:
		return p.sample(ctx, e, key)
	case unit.Exited:
		if err := p.finish(ctx, activity.End{By: p.by(), Reason: b.Reason, Exit: exitOf(&b), Rusage: rusageOf(b.Rusage)}); err != nil {
			return err
		}
		p.l.exit = &b
		return nil
	}
	return p.recordBatch(ctx, e, key)
}

func (p *pump) recordBatch(ctx context.Context, e unit.Event, key string) error {
	switch b := e.Body.(type) {
	case unit.CommandStarted:
		return p.tellBatch(ctx, b.Batch, batch.StartCommand{At: e.At, By: p.by(), Command: b.Command, Index: int64(b.Index), Replay: replayOf(b.Replay)}, key)
	case unit.CommandOutput:
		return p.output(ctx, e, b, key)
	case unit.TransferFinished:
		return p.tellBatch(ctx, b.Batch, batch.FinishTransfer{At: e.At, By: p.by(), Bytes: b.Bytes, From: b.From, To: b.To, Index: int64(b.Index), SHA3: b.SHA3}, key)
	case unit.CommandFinished:
		return p.tellBatch(ctx, b.Batch, batch.FinishCommand{
			At: e.At, By: p.by(), Code: int64(b.Code), Fuel: b.Fuel, Index: int64(b.Index),
			Message: b.Message, Signal: b.Signal, Rusage: rusageOf(b.Rusage),
		}, key)
	case unit.BatchClosed:
		defer delete(p.causes, b.Batch)
		return p.tellBatch(ctx, b.Batch, batch.Close{At: e.At, By: p.by(), Outcome: batch.Outcome(b.Outcome)}, key)
	}
	return nil
}

// output records a piece of output; a large one is kept beside the log.
func (p *pump) output(ctx context.Context, e unit.Event, b unit.CommandOutput, key string) error {
	cmd := batch.AddOutput{
		At: e.At, By: p.by(), Index: int64(b.Index), Offset: b.Offset, Stream: batch.Stream(b.Stream), Format: batch.Str, Streamed: b.Streamed,
	}
	if b.Binary {
		cmd.Format = batch.Bin
	}
	if len(b.Bytes) <= inlineOutput {
		cmd.Bytes = b.Bytes
	} else {
		sum, n, err := p.u.Blobs.Put(piece(p.id, b.Bytes))
		if err != nil {
			return err
		}
		cmd.Blob = &batch.Blob{Bytes: n, SHA256: sum}
	}
	return p.tellBatch(ctx, b.Batch, cmd, key)
}

// sample keeps the newest reading in mind and records one now and then.
func (p *pump) sample(ctx context.Context, e unit.Event, key string) error {
	p.last = &e
	if e.At.Sub(p.recorded) < p.every {
		return nil
	}
	p.recorded = e.At
	b := e.Body.(unit.Sampled)
	_, err := p.u.Usage.Do(ctx, usage.StreamID(identity.Provider, p.id), usage.Sample{
		ActivityID: p.id, At: e.At, By: p.by(), Names: p.terms.UsageVector, Source: usage.FromProcess, Split: splitOf(b), Vector: b.Vector,
	}, p.because(ctx, "", p.meta(key)))
	return err
}

// finish records the last reading, then the end. The bill needs them in this
// order.
func (p *pump) finish(ctx context.Context, end activity.End) error {
	final := usage.Finalise{ActivityID: p.id, At: time.Now().UTC(), By: p.by(), Names: p.terms.UsageVector, Source: usage.FromProcess}
	if p.last != nil {
		b := p.last.Body.(unit.Sampled)
		final.At, final.Vector, final.Split = p.last.At, b.Vector, splitOf(b)
	} else if s, _, err := p.u.Usage.Load(ctx, usage.StreamID(identity.Provider, p.id)); err != nil {
		return err
	} else {
		final.Vector = s.Vector
	}
	if final.Vector == "" {
		final.Vector = zeros(len(p.terms.UsageVector))
	}
	_, err := p.u.Usage.Do(ctx, usage.StreamID(identity.Provider, p.id), final, p.because(ctx, "", p.meta("final")))
	if refused(err) { // the newest recorded reading is the last one then
		p.u.Logger.Error("the last usage of an activity was refused", "activity", p.id, "vector", final.Vector, "error", err)
	} else if err != nil {
		return err
	}
	if err := p.closeBatches(ctx, end.Reason); err != nil {
		return err
	}
	return p.tell(ctx, end, "end")
}

// closeBatches ends what the exe-unit can end no more.
func (p *pump) closeBatches(ctx context.Context, why string) error {
	open, err := p.u.OpenBatches(ctx, p.id)
	if err != nil {
		return err
	}
	for _, b := range open {
		c := batch.Close{At: time.Now().UTC(), By: p.by(), Message: why, Outcome: batch.Aborted}
		if err := p.tellBatch(ctx, b.BatchID, c, b.BatchID+"/abort"); err != nil {
			return err
		}
	}
	return nil
}

func (p *pump) tell(ctx context.Context, c activity.Command, key string) error {
	_, err := p.u.Activities.Do(ctx, p.stream(), c, p.because(ctx, "", p.meta(key)))
	return err
}

func (p *pump) tellBatch(ctx context.Context, batchID string, c batch.Command, key string) error {
	_, err := p.u.Batches.Do(ctx, batch.StreamID(identity.Provider, p.id, batchID), c, p.because(ctx, batchID, p.meta(key)))
	return err
}

// refused says whether an error is a no of the rules, which no second try
// changes. Everything else is about the store, the disk or the moment.
func refused(err error) bool {
	for _, no := range []error{
		identity.ErrForbidden, es.ErrTooLarge, es.ErrWrongCommand, usage.ErrVector, batch.ErrOrder, batch.ErrUnknown,
		activity.ErrUnknown, activity.ErrSide, activity.ErrState,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// moment makes a key for what is noticed here and now.
func moment(what string) string { return what + "/" + strconv.FormatInt(time.Now().UnixNano(), 36) }

func zeros(n int) string {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '0')
	}
	return string(append(b, ']'))
}

func splitOf(b unit.Sampled) *usage.Split {
	ms := func(sec string) int64 { f, _ := strconv.ParseFloat(sec, 64); return int64(f * 1000) }
	return &usage.Split{DownloadMS: ms(b.DownloadSec), RunMS: ms(b.RunSec)}
}

func exitOf(e *unit.Exited) *activity.Exit { return &activity.Exit{Code: int64(e.Code)} }

func rusageOf(r unit.Rusage) *dactivity.Rusage {
	return &dactivity.Rusage{CPUMicros: r.SystemUS + r.UserUS, MaxRSSBytes: r.MaxRSSBytes}
}

func replayOf(r *unit.Replay) *batch.Replay {
	if r == nil {
		return nil
	}
	out := &batch.Replay{
		Args: r.Args, Clock: r.Clock, Compiler: r.Engine, FuelTable: r.FuelVersion, Memory: r.MemoryPages << 16,
		Module: r.ModuleSHA3, Random: r.Random,
	}
	for _, e := range r.Env {
		if out.Env == nil {
			out.Env = make(map[string]string)
		}
		name, value, _ := strings.Cut(e, "=")
		out.Env[name] = value
	}
	for _, v := range r.Volumes {
		if out.Volumes == nil {
			out.Volumes = make(map[string]string)
		}
		out.Volumes[v.Path] = v.SHA256
	}
	return out
}

func sampled(e unit.Event) (unit.Sampled, bool) {
	b, ok := e.Body.(unit.Sampled)
	return b, ok
}
