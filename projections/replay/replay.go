// Package replay makes the decisions of a log again: every saga hears every
// fact once more, what it asks for is decided by the rules of this build, and
// the outcome is held against what was recorded then. Nothing is carried out.
//
// What sagas and deadlines decided is made again. What clients, peers,
// exe-units, chains and effects told is input: it is taken as it was.
package replay

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/saga/expiry"
)

// Handler decides commands of one category; *es.Aggregate is one.
type Handler interface {
	Handle(ctx context.Context, id string, cmd any, m es.Meta) error
}

// Config is what decides.
type Config struct {
	Log       *es.Log
	Processes []es.Process // fresh ones
	// Deciders makes the rules over a log, by category.
	Deciders func(*es.Log) map[string]Handler
	// Progress is called now and then; nil = not.
	Progress func(done, of es.Position)
}

// Fact is something that was decided.
type Fact struct {
	Position *es.Position // nil = it is not in the log
	Stream   es.Stream
	Type     string
	Data     string
}

// Difference is a decision that this build makes in another way.
type Difference struct {
	Position es.Position // of the decision in the log, or of what led to it
	Saga     string
	Key      string
	Heard    es.Position // what led to it; meaningless for Orphan
	Orphan   bool        // nothing leads to it any more
	Recorded []Fact      // then
	Decided  []Fact      // now
	Refused  string      // now: why nothing is decided
}

// Report is what came of it.
type Report struct {
	Events    es.Position
	Decisions int // made again
	Timed     int // of them, by deadlines: only what they are and where, since clocks are not recorded
	Silent    int // commands that led to nothing, then and now
	Inputs    int // facts from outside, taken as they were
	Erased    int // decisions whose content was erased, so that they cannot be compared
	First     *Difference
}

// Run makes all decisions again, in the order of the log, up to the first that
// differs.
func Run(ctx context.Context, c Config) (Report, error) {
	head, err := c.Log.Store.Head(ctx)
	if err != nil {
		return Report{}, err
	}
	r := &run{Config: c, head: head, then: &capture{base: c.Log.Store}, hears: make(map[string][]es.Process), last: make(map[string]es.Position)}
	r.Report.Events = head
	log := &es.Log{Store: r.then, Codec: c.Log.Codec, Sealer: reader{c.Log.Sealer}}
	r.deciders = c.Deciders(log)
	names := make(map[string]bool)
	for _, p := range c.Processes {
		names[p.Name()] = true
		for _, typ := range p.Hears() {
			name := es.FactName(typ)
			r.hears[name] = append(r.hears[name], p)
		}
	}
	for _, typ := range expiry.Hears {
		if _, ok := r.hears[es.FactName(typ)]; !ok {
			r.hears[es.FactName(typ)] = nil
		}
	}
	if r.recorded, err = index(ctx, c.Log, head, names); err != nil {
		return r.Report, err
	}
	if err := r.all(ctx); err != nil || r.First != nil {
		return r.Report, err
	}
	return r.Report, r.unheard(ctx)
}

type run struct {
	Config
	Report
	head     es.Position
	hears    map[string][]es.Process // by name of the fact
	recorded map[string]es.Position  // decisions of sagas, by key: where they begin
	deciders map[string]Handler
	then     *capture
	book     expiry.Book
	waiting  queue
	maybe    []asked
	last     map[string]es.Position // newest fact that led to a recorded decision, by saga
}

// asked is a command that is decided as of a position.
type asked struct {
	es.Command
	saga  string
	at    es.Position // the log had so many facts when it was decided
	heard es.Position
	seq   int
	known bool // it is recorded
}

// index finds the decisions of sagas.
func index(ctx context.Context, log *es.Log, head es.Position, sagas map[string]bool) (map[string]es.Position, error) {
	out := make(map[string]es.Position)
	for e, err := range es.Lend(ctx, log.Store, 0, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		if e.Position >= head {
			break
		}
		if !bytes.Contains(e.Meta, []byte(`"actor":"saga"`)) {
			continue
		}
		r, err := log.Glance(e.Event())
		if err != nil {
			return nil, err
		}
		if saga, _, _ := strings.Cut(r.Info.Key, "/"); sagas[saga] && r.Info.Actor == es.ActorSaga {
			if _, ok := out[r.Info.Key]; !ok {
				out[r.Info.Key] = e.Position
			}
		}
	}
	return out, nil
}

func (r *run) all(ctx context.Context) error {
	for e, err := range r.Log.Store.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return err
		}
		if e.Position >= r.head {
			break
		}
		if e.Position%4096 == 0 && r.Progress != nil {
			r.Progress(e.Position, r.head)
		}
		if err := r.decideUpTo(ctx, e.Position); err != nil || r.First != nil {
			return err
		}
		if err := r.hear(ctx, e); err != nil || r.First != nil {
			return err
		}
	}
	if r.Progress != nil {
		r.Progress(r.head, r.head)
	}
	return r.decideUpTo(ctx, r.head)
}

// hear lets the sagas hear a fact, and looks whose it is.
func (r *run) hear(ctx context.Context, e es.Event) error {
	hearers, heard := r.hears[es.FactName(e.Type)]
	decode := r.Log.Decode
	if !heard {
		decode = func(_ context.Context, e es.Event) (es.Recorded, error) { return r.Log.Glance(e) }
	}
	fact, err := decode(ctx, e)
	if err != nil {
		return err
	}
	switch {
	case fact.Info.Actor != es.ActorSaga:
		r.Inputs++
	case strings.HasPrefix(fact.Info.Key, "deadline/"):
		if err := r.timed(ctx, fact); err != nil || r.First != nil {
			return err
		}
	default:
		// decideUpTo has dealt with what was asked for; this was not.
		if at, open := r.recorded[fact.Info.Key]; open && at == e.Position {
			return r.orphan(ctx, fact)
		}
	}
	for _, p := range hearers {
		for _, c := range p.Hear(fact) {
			r.ask(p.Name(), c, e.Position)
		}
	}
	r.book.Hear(fact)
	return nil
}

func (r *run) ask(saga string, c es.Command, heard es.Position) {
	at, known := r.recorded[c.Meta.Key]
	if !known {
		at = heard + 1
	}
	r.waiting.n++
	heap.Push(&r.waiting, asked{Command: c, saga: saga, at: at, heard: heard, seq: r.waiting.n, known: known})
}

// decideUpTo decides what was decided when the log had at most n facts.
func (r *run) decideUpTo(ctx context.Context, n es.Position) error {
	for r.waiting.Len() > 0 && r.waiting.list[0].at <= n {
		a := heap.Pop(&r.waiting).(asked) //nolint:forcetypeassert // nothing else is in it
		decided, refusal, err := r.decide(ctx, a, a.at)
		if err != nil {
			return err
		}
		if !a.known {
			if len(decided) > 0 {
				r.maybe = append(r.maybe, a)
			} else {
				r.Silent++
			}
			continue
		}
		delete(r.recorded, a.Meta.Key)
		r.last[a.saga] = max(r.last[a.saga], a.heard)
		if err := r.compare(ctx, a, decided, refusal); err != nil || r.First != nil {
			return err
		}
	}
	return nil
}

// decide runs the rules on the log as it was when it had n facts.
func (r *run) decide(ctx context.Context, a asked, n es.Position) (decided []Fact, refusal, err error) {
	h, ok := r.deciders[a.Category]
	if !ok {
		return nil, nil, fmt.Errorf("nobody decides about %s", a.Category)
	}
	r.then.at(n)
	err = h.Handle(ctx, a.ID, a.Command.Command, a.Meta)
	switch {
	case errors.Is(err, errCaptured):
		return r.then.facts, nil, nil
	case errors.Is(err, es.ErrCorrupt) || ctx.Err() != nil:
		return nil, nil, err
	}
	return nil, err, nil
}

func (r *run) compare(ctx context.Context, a asked, decided []Fact, refusal error) error {
	recorded, erased, err := r.factsOf(ctx, a.at, a.Meta.Key)
	if err != nil {
		return err
	}
	r.Decisions++
	if erased {
		r.Erased++
		return nil
	}
	if same(recorded, decided) {
		return nil
	}
	d := &Difference{Position: a.at, Saga: a.saga, Key: a.Meta.Key, Heard: a.heard, Recorded: recorded, Decided: decided}
	if refusal != nil {
		d.Refused = refusal.Error()
	}
	r.First = d
	return nil
}

func same(a, b []Fact) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Stream != b[i].Stream || a[i].Type != b[i].Type || a[i].Data != b[i].Data {
			return false
		}
	}
	return true
}

// factsOf reads the facts that one command wrote.
func (r *run) factsOf(ctx context.Context, from es.Position, key string) (out []Fact, erased bool, err error) {
	for e, err := range r.Log.Store.ReadAll(ctx, from, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return nil, false, err
		}
		f, err := r.Log.Decode(ctx, e)
		if err != nil {
			return nil, false, err
		}
		if f.Info.Key != key || e.Position >= r.head {
			break
		}
		if _, gone := f.Data.(es.Erased); gone {
			erased = true
		}
		out = append(out, Fact{Position: &f.Position, Stream: f.Stream, Type: f.Type, Data: string(f.Event.Data)})
	}
	return out, erased, nil
}

// orphan is a decision that nothing leads to now.
func (r *run) orphan(ctx context.Context, f es.Recorded) error {
	recorded, _, err := r.factsOf(ctx, f.Position, f.Info.Key)
	saga, _, _ := strings.Cut(f.Info.Key, "/")
	r.First = &Difference{Position: f.Position, Saga: saga, Key: f.Info.Key, Orphan: true, Recorded: recorded}
	return err
}

// timed makes the decision of a deadline again. What the clock said then is
// not recorded, so only the kind of the decision is compared. A deadline that
// depends on the configuration of then is taken as it was.
func (r *run) timed(ctx context.Context, f es.Recorded) error {
	name := strings.TrimPrefix(f.Info.Key, "deadline/")
	cut := strings.LastIndexByte(name, '/')
	if cut < 0 {
		return nil
	}
	d, ok := r.book.Get(name[:cut])
	if !ok || fmt.Sprint(d.At.UnixMicro()) != name[cut+1:] {
		r.Inputs++
		return nil
	}
	a := asked{Command: es.Command{Order: d.Order(f.Recorded), Meta: es.Meta{Key: f.Info.Key}}, saga: "deadline", at: f.Position, heard: d.CauseAt, known: true}
	decided, refusal, err := r.decide(ctx, a, a.at)
	if err != nil {
		return err
	}
	recorded, _, err := r.factsOf(ctx, a.at, a.Meta.Key)
	if err != nil {
		return err
	}
	r.Decisions++
	r.Timed++
	alike := len(recorded) == len(decided)
	for i := range decided {
		alike = alike && decided[i].Stream == recorded[i].Stream && decided[i].Type == recorded[i].Type
	}
	r.book.Passed(d)
	if !alike {
		r.First = &Difference{Position: a.at, Saga: a.saga, Key: a.Meta.Key, Heard: a.heard, Recorded: recorded, Decided: decided}
		if refusal != nil {
			r.First.Refused = refusal.Error()
		}
	}
	return nil
}

// unheard looks at commands that led to nothing then and would now. One that
// was asked for when something else came first stays silent in the end; so
// does what the saga had not come to.
func (r *run) unheard(ctx context.Context) error {
	for _, a := range r.maybe {
		decided, _, err := r.decide(ctx, a, r.head)
		if err != nil {
			return err
		}
		if len(decided) == 0 || r.last[a.saga] <= a.heard {
			r.Silent++
			continue
		}
		r.First = &Difference{Position: a.heard, Saga: a.saga, Key: a.Meta.Key, Heard: a.heard, Decided: decided}
		return nil
	}
	return nil
}
