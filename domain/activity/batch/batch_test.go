package batch_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
)

const (
	act   = "0123456789abcdef0123456789abcdef"
	id    = "fedcba9876543210fedcba9876543210"
	deal  = "agreement-of-alice-and-bob"
	alice = identity.NodeID("0xa11ce00000000000000000000000000000000000")
	bob   = identity.NodeID("0xb0b0000000000000000000000000000000000000")
	text  = `[{"deploy":{}},{"start":{}},{"run":{"entry_point":"/bin/sh"}}]`
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	client = identity.Caller{Actor: es.ActorREST, Node: alice, Role: identity.RoleManager}
	peer   = identity.Caller{Actor: es.ActorPeer, Node: bob}
	asker  = identity.Caller{Actor: es.ActorPeer, Node: alice}
	foe    = identity.Caller{Actor: es.ActorPeer, Node: "0x3a11049000000000000000000000000000000000"}
	self   = identity.Caller{Actor: es.ActorEffect}
	unit   = identity.Caller{Actor: es.ActorExeUnit}

	ask    = batch.RequestExec{ActivityID: act, AgreementID: deal, BatchID: id, By: client, Provider: bob, Requestor: alice, Script: text, TimeoutMS: 5000}
	asked  = batch.ExecRequested{ActivityID: act, AgreementID: deal, BatchID: id, Commands: 3, Provider: bob, Requestor: alice, Script: text, TimeoutMS: 5000}
	taken  = batch.Accepted{ActivityID: act, AgreementID: deal, BatchID: id, Commands: 3, Provider: bob, Requestor: alice, Side: identity.Requestor}
	accept = batch.Accept{ActivityID: act, AgreementID: deal, BatchID: id, By: asker, Provider: bob, Requestor: alice, Script: text}
)

func story() estest.Story[batch.Command, batch.Event, batch.State] { return estest.For(batch.Rules) }

func started(i int64) batch.CommandStarted {
	return batch.CommandStarted{ActivityID: act, At: noon, BatchID: id, Command: `{"deploy":{}}`, Index: i}
}

func ended(i, code int64) batch.CommandFinished {
	return batch.CommandFinished{ActivityID: act, At: noon, BatchID: id, Code: code, Index: i}
}

func said(i, offset int64, s string) batch.CommandOutput {
	return batch.CommandOutput{ActivityID: act, At: noon, BatchID: id, Bytes: []byte(s), Format: batch.Str, Index: i, Offset: offset, Stream: batch.Stdout, Streamed: true}
}

func TestAScriptIsSentOnce(t *testing.T) {
	t.Parallel()
	story().When(ask).Then(t, asked)
	story().Given(asked).When(ask).Then(t)
	story().Given(asked).When(batch.ConfirmExec{By: self}).Then(t, taken)
	story().Given(asked, taken).When(batch.ConfirmExec{By: self}).Then(t)
	story().Given(asked).When(batch.RefuseExec{By: self, Code: "busy", Message: "Busy"}).
		Then(t, batch.Refused{ActivityID: act, BatchID: id, Code: "busy", Message: "Busy"})
}

// The client says how long its script may be on its way: the fact keeps it, the
// rules bound it, and a repetition changes nothing.
func TestAScriptKeepsTheTimeThatItHas(t *testing.T) {
	t.Parallel()
	for ms, ok := range map[int64]bool{0: true, 1: true, 1000: true, 300_000: true, -1: false, 300_001: false, 1 << 62: false} {
		c, want := ask, asked
		c.TimeoutMS, want.TimeoutMS = ms, ms
		if ok {
			story().When(c).Then(t, want)
			story().Given(asked).When(c).Then(t)
			continue
		}
		var bad *batch.TimeoutError
		out := story().When(c)
		if !errors.As(out.Err, &bad) || bad.MS != ms || !strings.Contains(bad.Error(), "0 s to 300 s") {
			t.Errorf("%d ms: %v", ms, out.Err)
		}
	}
}

// A script that came too late is refused once; what the provider says
// afterwards does not make it accepted.
func TestAScriptThatCameTooLate(t *testing.T) {
	t.Parallel()
	late := batch.Refused{ActivityID: act, BatchID: id, Code: "unreachable", Message: "too late"}
	story().Given(asked).When(batch.RefuseExec{By: self, Code: "unreachable", Message: "too late"}).Then(t, late)
	s := story().Given(asked, late)
	s.When(batch.ConfirmExec{By: self}).Then(t)
	s.When(batch.RefuseExec{By: self, Code: "unreachable", Message: "again"}).Then(t)
	s.When(ask).Then(t)
	if s := s.State(); !s.Answered() || s.Accepted || s.RefusedCode != "unreachable" {
		t.Errorf("%+v", s)
	}
}

func TestADuplicateIDWithAnotherScriptIsRefused(t *testing.T) {
	t.Parallel()
	s := story().After(t, accept)
	s.When(accept).Then(t)
	other := accept
	other.Script = `[]`
	var exists *batch.ExistsError
	if out := s.When(other); !errors.As(out.Err, &exists) || exists.Error() != "Batch "+id+" already exists" {
		t.Fatalf("got %v", out.Err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	c := ask
	c.By = identity.Caller{Actor: es.ActorREST, Node: bob, Role: identity.RoleManager}
	story().When(c).Refused(t, identity.ErrForbidden)
	a := accept
	a.By = foe
	story().When(a).Refused(t, identity.ErrForbidden)
	s := story().Given(asked, taken)
	s.When(batch.StartCommand{At: noon, By: foe}).Refused(t, identity.ErrForbidden)
	s.When(batch.StartCommand{At: noon, By: client}).Refused(t, identity.ErrForbidden)
	s.When(batch.StartCommand{At: noon, By: peer, Command: `{"deploy":{}}`}).Then(t, started(0))
	story().When(batch.StartCommand{By: unit}).Refused(t, batch.ErrUnknown)
	story().After(t, accept).When(batch.StartCommand{At: noon, By: asker}).Refused(t, identity.ErrForbidden)
}

func TestNotAScript(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{``, `null`, `{}`, `[1]`, `["run"]`, `[{}]`, `[{"run":{},"start":{}}]`, `[{"run":{}}`} {
		c := ask
		c.Script = bad
		story().When(c).Refused(t, batch.ErrScript)
	}
	if n, err := batch.Count(`[]`); n != 0 || err != nil {
		t.Fatalf("an empty script counts %d, %v", n, err)
	}
}

func TestReportsFollowEachOther(t *testing.T) {
	t.Parallel()
	s := story().Given(asked, taken)
	start := batch.StartCommand{At: noon, By: peer, Index: 1}
	s.When(start).Refused(t, batch.ErrOrder)
	s.When(batch.FinishCommand{At: noon, By: peer}).Refused(t, batch.ErrOrder)
	s.Given(started(0), ended(0, 0)).When(batch.FinishCommand{At: noon, By: peer}).Then(t)
	s.Given(started(0), ended(0, 1)).When(start).Refused(t, batch.ErrOrder)
	story().Given(asked).When(batch.StartCommand{At: noon, By: peer}).Refused(t, batch.ErrOrder)
	s.Given(started(0), ended(0, 0)).When(batch.Close{At: noon, By: peer, Outcome: batch.Done}).Refused(t, batch.ErrOrder)
	s.Given(started(0), ended(0, 0)).When(batch.Close{At: noon, By: peer, Outcome: batch.Failed}).Refused(t, batch.ErrOrder)
}

// What a provider says of a batch stays in memory while it may say more. Then it
// counts as what it takes.
func TestABatchWeighsWhatItSaid(t *testing.T) {
	t.Parallel()
	s := story().Given(asked, taken, started(0))
	const pieces, size = 100, 4000
	for i := range int64(pieces) {
		s = s.Given(said(0, i*size, strings.Repeat("x", size)))
	}
	if got := s.State().Weight(); got != 0 {
		t.Errorf("a batch that is open weighs %d", got)
	}
	s = s.Given(ended(0, 0), batch.Closed{ActivityID: act, At: noon, BatchID: id, Outcome: batch.Done})
	if got := s.State().Weight(); got < pieces*size || got > 2*pieces*size {
		t.Errorf("%d bytes of output weigh %d", pieces*size, got)
	}
}

func TestOutputHasNoGaps(t *testing.T) {
	t.Parallel()
	s := story().Given(asked, taken, started(0), said(0, 0, "hello "))
	add := batch.AddOutput{At: noon, By: peer, Bytes: []byte("world"), Format: batch.Str, Offset: 6, Stream: batch.Stdout, Streamed: true}
	s.When(add).Then(t, said(0, 6, "world"))
	add.Offset = 0
	s.When(add).Then(t)
	add.Offset = 7
	s.When(add).Refused(t, batch.ErrOrder)
	add.Stream = "stdin"
	s.When(add).Refused(t, nil)
}

func TestResultsOfABatchThatSucceeds(t *testing.T) {
	t.Parallel()
	s := story().Given(asked, taken, started(0), said(0, 0, "a"), said(0, 1, "b"), ended(0, 0), started(1), ended(1, 0), started(2), ended(2, 0)).
		After(t, batch.Close{At: noon, By: peer, Outcome: batch.Done}).State()
	rs := s.Results()
	if len(rs) != 3 || !rs[2].BatchFinished || rs[1].BatchFinished || rs[0].BatchFinished {
		t.Fatalf("results %+v", rs)
	}
	if v, err := rs[0].Stdout.Value(nil); v != "ab" || err != nil {
		t.Fatalf("stdout %v, %v", v, err)
	}
	if v, _ := rs[0].Stderr.Value(nil); v != nil {
		t.Fatalf("an empty stderr shows %v, want null", v)
	}
	var kinds []batch.Kind
	for i, e := range s.Events() {
		if e.ID != int64(i) {
			t.Fatalf("event %d has id %d", i, e.ID)
		}
		kinds = append(kinds, e.Kind)
	}
	want := []batch.Kind{"started", "stdout", "stdout", "finished", "started", "finished", "started", "finished"}
	if !reflect.DeepEqual(kinds, want) {
		t.Fatalf("events %v", kinds)
	}
}

func TestCapturedAtTheEndIsNotStreamed(t *testing.T) {
	t.Parallel()
	o := said(0, 0, "x")
	o.Streamed = false
	s := story().Given(asked, taken, started(0), o, ended(0, 0)).State()
	if n := len(s.Events()); n != 2 {
		t.Fatalf("%d runtime events, want started and finished", n)
	}
	if v, _ := s.Results()[0].Stdout.Value(nil); v != "x" {
		t.Fatalf("stdout %v", v)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	open := func(b batch.Blob) ([]byte, error) { return []byte{0xff, 'h'}, nil }
	o := batch.Output{Format: batch.Bin, Pieces: []batch.Piece{{Bytes: []byte{1}}, {Blob: &batch.Blob{Bytes: 2}}}}
	if v, err := o.Value(open); err != nil || !reflect.DeepEqual(v, []int{1, 255, 'h'}) {
		t.Fatalf("%v %v", v, err)
	}
	o.Format = batch.Str
	if v, _ := o.Value(open); v != "\x01ÿh" {
		t.Fatalf("%q: bytes that are no UTF-8 keep their numbers", v)
	}
}

func TestAnActivityThatEndsAbortsItsBatch(t *testing.T) {
	t.Parallel()
	abort := batch.Close{At: noon, By: self, Outcome: batch.Aborted, Message: "exe-unit lost"}
	s := story().Given(asked, taken, started(0), ended(0, 0), started(1), said(1, 0, "half")).After(t, abort).State()
	rs := s.Results()
	last := rs[len(rs)-1]
	if len(rs) != 2 || last.OK || !last.BatchFinished || last.Message != "exe-unit lost" || last.Index != 1 {
		t.Fatalf("results %+v", rs)
	}
	if v, _ := last.Stdout.Value(nil); v != "half" {
		t.Fatalf("what it said is lost: %v", v)
	}
	es := s.Events()
	if e := es[len(es)-1]; e.Kind != batch.Finished || e.Code == 0 {
		t.Fatalf("the stream ends with %+v: clients take anything else for success", e)
	}
	// before it was accepted
	s = story().Given(asked).After(t, abort).State()
	if rs := s.Results(); len(rs) != 1 || !rs[0].BatchFinished {
		t.Fatalf("results %+v", rs)
	}
	story().Given(asked).After(t, abort).When(batch.ConfirmExec{By: self}).
		Then(t, batch.Refused{ActivityID: act, BatchID: id, Code: "abandoned", Message: "the activity ended before the script was accepted"})
}

// TestWhatIsOverIsNotAborted holds that an activity that ends after the last
// command takes nothing back, whether or not the provider closed the batch.
func TestWhatIsOverIsNotAborted(t *testing.T) {
	t.Parallel()
	abort := batch.Close{At: noon, By: self, Outcome: batch.Aborted, Message: "the activity was destroyed"}
	last := story().Given(asked, taken, started(0), ended(0, 0), started(1), ended(1, 0), started(2))
	last.Given(ended(2, 0)).When(abort).Then(t, batch.Closed{ActivityID: act, At: noon, BatchID: id, Outcome: batch.Done})
	last.Given(ended(2, 7)).When(abort).Then(t, batch.Closed{ActivityID: act, At: noon, BatchID: id, Message: abort.Message, Outcome: batch.Aborted})
}

func TestAnEmptyScript(t *testing.T) {
	t.Parallel()
	c := accept
	c.Script = "[]"
	s := story().After(t, c, batch.Close{At: noon, By: unit, Outcome: batch.Done}).State()
	if len(s.Results()) != 0 || !s.IsClosed() {
		t.Fatalf("%+v", s)
	}
}

// The laws of results: a prefix list from 0; at most one says that the batch
// is finished and it is the last; a batch that is closed has one (unless its
// script is empty); ids of runtime events count from 0; older lists are
// prefixes of newer ones.
func TestLawsOfResults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s batch.State
		var lives []batch.State
		do := func(c batch.Command) {
			facts, err := batch.Rules.Decide(s, c)
			if err != nil {
				return
			}
			if s.IsClosed() && len(facts) > 0 && !s.ExecOpen {
				t.Fatalf("%T after the end decided %v", c, facts)
			}
			for _, f := range facts {
				s = batch.Rules.Evolve(s, f)
				lives = append(lives, s)
			}
		}
		do(rapid.SampledFrom([]batch.Command{ask, accept}).Draw(t, "side"))
		index := rapid.Int64Range(0, 3)
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			do(rapid.SampledFrom([]batch.Command{
				batch.ConfirmExec{By: self},
				batch.RefuseExec{By: self, Code: "busy"},
				batch.StartCommand{At: noon, By: self, Index: index.Draw(t, "i")},
				batch.AddOutput{At: noon, By: self, Index: s.Index, Bytes: []byte("x"), Offset: index.Draw(t, "o"), Stream: batch.Stdout, Streamed: true},
				batch.FinishTransfer{At: noon, By: self, Index: s.Index},
				batch.FinishCommand{At: noon, By: self, Index: s.Index, Code: rapid.Int64Range(0, 1).Draw(t, "code")},
				batch.Close{At: noon, By: self, Outcome: batch.Done},
				batch.Close{At: noon, By: self, Outcome: batch.Failed},
				batch.Close{At: noon, By: self, Outcome: batch.Aborted},
			}).Draw(t, "command"))
		}
		for _, old := range lives {
			check(t, old)
			if n := len(old.Results()); n > 0 && !reflect.DeepEqual(old.Results(), s.Results()[:n]) {
				t.Fatal("an older list is no prefix of a newer one")
			}
		}
	})
}

func check(t *rapid.T, s batch.State) {
	rs := s.Results()
	for i, r := range rs {
		if r.Index != int64(i) {
			t.Fatalf("result %d has index %d", i, r.Index)
		}
		if r.BatchFinished && i != len(rs)-1 {
			t.Fatalf("result %d of %d says the batch is finished", i, len(rs))
		}
	}
	if s.IsClosed() && (len(rs) == 0 || !rs[len(rs)-1].BatchFinished) {
		t.Fatalf("closed (%s), and no result says so: %+v", s.Outcome, rs)
	}
	for i, e := range s.Events() {
		if e.ID != int64(i) {
			t.Fatalf("runtime event %d has id %d", i, e.ID)
		}
	}
}

// Whatever a requestor sends as a script is counted or refused, and a counted
// one survives being written into a fact.
func FuzzCount(f *testing.F) {
	f.Add(text)
	f.Add(`[]`)
	f.Add(`[{"run":null}]`)
	f.Fuzz(func(t *testing.T, script string) {
		n, err := batch.Count(script)
		if err != nil {
			return
		}
		s := batch.Rules.Evolve(batch.State{}, batch.Accepted{ActivityID: act, BatchID: id, Commands: n, Script: script, Side: identity.Provider})
		if s.Commands != n || n < 0 {
			t.Fatalf("%d commands of %q", n, script)
		}
	})
}
