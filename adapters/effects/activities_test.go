package effects_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/adapters/exeunit/fake"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/peer"
)

// create rents an activity and returns its id.
func (p *pair) create(agreementID string) string {
	p.alice.t.Helper()
	id := unique()
	p.alice.act(id, activity.RequestCreation{
		ActivityID: id, AgreementID: agreementID, AgreementState: "Approved", By: p.alice.client(), Provider: bob, Requestor: alice, TimeoutMS: 20000,
	}, agreementID)
	s, err := p.alice.activities.Await(context.Background(), activity.StreamID(identity.Requestor, id), activity.State.Answered)
	if err != nil || !s.Exists {
		p.alice.t.Fatalf("%+v, %v", s, err)
	}
	return id
}

func (x *node) act(id string, c activity.Command, story string) {
	x.t.Helper()
	if _, err := x.activities.Do(context.Background(), activity.StreamID(identity.Requestor, id), c, x.meta(story)); err != nil {
		x.t.Fatal(err)
	}
}

// exec gives a script and waits for the answer.
func (p *pair) exec(activityID, text string) (string, batch.State) {
	p.alice.t.Helper()
	return p.execWithin(5*time.Second, activityID, text)
}

func (p *pair) execWithin(timeout time.Duration, activityID, text string) (string, batch.State) {
	p.alice.t.Helper()
	ctx, id := context.Background(), unique()
	a, _, err := p.alice.activities.Load(ctx, activity.StreamID(identity.Requestor, activityID))
	if err != nil {
		p.alice.t.Fatal(err)
	}
	stream := batch.StreamID(identity.Requestor, activityID, id)
	if _, err := p.alice.batches.Do(ctx, stream, batch.RequestExec{
		ActivityID: activityID, AgreementID: a.AgreementID, BatchID: id, By: p.alice.client(), Provider: bob, Requestor: alice, Script: text,
		TimeoutMS: timeout.Milliseconds(),
	}, p.alice.meta(a.AgreementID)); err != nil {
		p.alice.t.Fatal(err)
	}
	s, err := p.alice.batches.Await(ctx, stream, batch.State.Answered)
	if err != nil {
		p.alice.t.Fatal(err)
	}
	return id, s
}

// closed waits until the requestor knows the end of a batch.
func (p *pair) closed(activityID, id string) batch.State {
	p.alice.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	s, err := p.alice.batches.Await(ctx, batch.StreamID(identity.Requestor, activityID, id), batch.State.IsClosed)
	if err != nil {
		p.alice.t.Fatalf("%v: %s", err, p.alice.types("batch", batch.StreamID(identity.Requestor, activityID, id)))
	}
	return s
}

const hello = `[{"deploy":{}},{"start":{}},{"run":{"entry_point":"hello","args":["x"],"capture":{"stdout":{"atEnd":{"format":"str"}}}}}]`

// same says whether both sides hold the same facts about a batch.
func (p *pair) same(activityID, id string) {
	p.alice.t.Helper()
	told := func(x *node, side identity.Side) (out []string) {
		for r, err := range x.l.ReadStream(context.Background(), es.StreamOf("batch", batch.StreamID(side, activityID, id)), 0) {
			if err != nil {
				x.t.Fatal(err)
			}
			switch r.Data.(type) {
			case batch.ExecRequested, batch.Accepted, batch.Refused: // each side has its own
			default:
				out = append(out, r.Type+" "+string(r.Event.Data))
			}
		}
		return out
	}
	r, q := told(p.alice, identity.Requestor), told(p.bob, identity.Provider)
	if strings.Join(r, "\n") != strings.Join(q, "\n") || len(r) == 0 {
		p.alice.t.Errorf("requestor:\n%s\nprovider:\n%s", strings.Join(r, "\n"), strings.Join(q, "\n"))
	}
}

func (x *node) activity(side identity.Side, id string) activity.State {
	x.t.Helper()
	s, _, err := x.activities.Load(context.Background(), activity.StreamID(side, id))
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// rented is a pair with an activity whose commands do what the test says.
func rented(t *testing.T, do func(ctx context.Context, c script.Run) fake.Result, f func(t *testing.T, p *pair, id string)) {
	between(t, func(t *testing.T, p *pair) {
		p.b.sup.Do = func(ctx context.Context, _ unit.Spec, c script.Command, _ unit.Files) fake.Result {
			if run, ok := c.(script.Run); ok {
				return do(ctx, run)
			}
			return fake.Result{}
		}
		p.b.sup.Vector = func(s unit.Spec) string { return "[" + strings.Repeat("1.5,", len(s.UsageVector)-1) + "2.5]" }
		id := p.create(p.deal())
		defer p.b.sup.Kill("/units/" + id)
		f(t, p, id)
	})
}

func say(text string) func(context.Context, script.Run) fake.Result {
	return func(context.Context, script.Run) fake.Result { return fake.Result{Stdout: text} }
}

// forever is a command that ends when it is told to.
func forever(ctx context.Context, _ script.Run) fake.Result {
	<-ctx.Done()
	return fake.Result{}
}

func TestAWholeActivity(t *testing.T) {
	rented(t, say("hello world"), func(t *testing.T, p *pair, id string) {
		b, s := p.exec(id, hello)
		if !s.Accepted {
			t.Fatalf("%+v", s)
		}
		s = p.closed(id, b)
		r := s.Results()
		if s.Outcome != batch.Done || len(r) != 3 || string(r[2].Stdout.Pieces[0].Bytes) != "hello world" {
			t.Fatalf("%+v", r)
		}
		p.same(id, b)
		if err := p.alice.buyer.Refresh(t.Context(), id); err != nil || p.alice.activity(identity.Requestor, id).Pair.Current != activity.Ready {
			t.Errorf("%v, %+v", err, p.alice.activity(identity.Requestor, id))
		}
		if u, err := p.alice.buyer.Usage(t.Context(), id); err != nil || u.Vector == "" {
			t.Errorf("%+v, %v", u, err)
		}
		p.alice.act(id, activity.RequestDestruction{By: p.alice.client(), Cause: activity.ByRequestor, TimeoutMS: 5000}, "")
		time.Sleep(3 * time.Second)
		if a, b := p.alice.activity(identity.Requestor, id), p.bob.activity(identity.Provider, id); !a.Ended || !b.Ended || b.Exit == nil {
			t.Errorf("%+v\n%+v", a, b)
		}
		p.usageBeforeTheEnd(id)
		p.settled()
	})
}

// usageBeforeTheEnd: the bill needs the last reading when it hears of the end.
func (p *pair) usageBeforeTheEnd(id string) {
	p.alice.t.Helper()
	var order []string
	if err := p.bob.scan(func(r es.Recorded) {
		if strings.HasSuffix(string(r.Stream), id) && (r.Type == "usage.finalised.v1" || r.Type == "activity.terminated.v1") {
			order = append(order, r.Type)
		}
	}); err != nil {
		p.alice.t.Fatal(err)
	}
	if fmt.Sprint(order) != "[usage.finalised.v1 activity.terminated.v1]" {
		p.alice.t.Errorf("%v", order)
	}
	if u, _, err := p.bob.usages.Load(context.Background(), "P-"+id); err != nil || !u.Final || !strings.Contains(u.Vector, "2.5") {
		p.alice.t.Errorf("%+v, %v", u, err)
	}
}

func TestLargeOutputIsKeptBesideBothLogs(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 6<<10) // 96 KiB
	rented(t, say(text), func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		s := p.closed(id, b)
		var got strings.Builder
		for _, piece := range s.Results()[2].Stdout.Pieces {
			if piece.Blob == nil {
				got.Write(piece.Bytes)
				continue
			}
			f, err := p.a.blobs.Open(piece.Blob.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, piece.Blob.Bytes)
			if _, err := f.Read(b); err != nil {
				t.Fatal(err)
			}
			got.Write(b)
		}
		if got.String() != text {
			t.Errorf("%d bytes, want %d", got.Len(), len(text))
		}
		if len(p.a.blobs.m) == 0 || len(p.b.blobs.m) == 0 {
			t.Error("it is in the log")
		}
		p.same(id, b)
	})
}

// The provider's daemon is away while a command runs, comes back, and neither
// side loses or doubles anything. The same for the requestor's.
// A script that did not reach the provider in its time does not reach it later.
func TestAScriptDoesNotRunAfterItsTime(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]netmemory.Fault{"silent": {LoseRequest: true}, "out of reach": {Refuse: true}, "slow": {Delay: 4 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			rented(t, say("late"), func(t *testing.T, p *pair, id string) {
				p.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
					if kind == "activity.exec" {
						return fault
					}
					return netmemory.Fault{}
				})
				begun := time.Now()
				b, s := p.execWithin(time.Second, id, hello)
				if took := time.Since(begun); s.RefusedCode != activities.Unreachable || took < 700*time.Millisecond || took > 1100*time.Millisecond {
					t.Errorf("%s (%s) after %v", s.RefusedCode, s.RefusedWhy, took)
				}
				p.n.Faults(nil)
				time.Sleep(time.Hour)
				at, _, err := p.bob.batches.Load(t.Context(), batch.StreamID(identity.Provider, id, b))
				if err != nil || at.ID != "" {
					t.Errorf("the provider has it: %+v, %v", at, err)
				}
				p.settled()
			})
		})
	}
}

func TestDaemonsComeAndGo(t *testing.T) {
	for _, who := range []string{"provider", "requestor"} {
		t.Run(who, func(t *testing.T) {
			goOn := make(chan struct{})
			rented(t, func(ctx context.Context, _ script.Run) fake.Result {
				select {
				case <-goOn:
					return fake.Result{Stdout: "late"}
				case <-ctx.Done():
					return fake.Result{}
				}
			}, func(t *testing.T, p *pair, id string) {
				goOn = make(chan struct{}) // of the bubble
				b, _ := p.exec(id, hello)
				time.Sleep(time.Second)
				for range 2 {
					if who == "provider" {
						p.bob.stop()
						time.Sleep(5 * time.Second)
						p.bob = start(t, p.n, bob, p.b)
					} else {
						p.alice.stop()
						time.Sleep(5 * time.Second)
						p.alice = start(t, p.n, alice, p.a)
					}
					time.Sleep(5 * time.Second)
				}
				close(goOn)
				s := p.closed(id, b)
				if s.Outcome != batch.Done || len(s.Results()) != 3 {
					t.Errorf("%+v", s.Results())
				}
				p.same(id, b)
				if who == "provider" {
					if s := p.bob.activity(identity.Provider, id); s.PID == 0 {
						t.Error("the process id got lost")
					}
				}
				// The unit that was found again can be ended.
				p.alice.act(id, activity.RequestDestruction{By: p.alice.client(), Cause: activity.ByRequestor, TimeoutMS: 5000}, "")
				time.Sleep(5 * time.Second)
				if !p.bob.activity(identity.Provider, id).Ended || !p.alice.activity(identity.Requestor, id).Ended {
					t.Error("it lives")
				}
				p.usageBeforeTheEnd(id)
			})
		})
	}
}

func TestAKilledExeUnit(t *testing.T) {
	rented(t, forever, func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		time.Sleep(3 * time.Second)
		p.b.sup.Kill("/units/" + id)
		time.Sleep(10 * time.Second)
		s := p.bob.activity(identity.Provider, id)
		if !s.Ended || s.Reason != "exe-unit lost" {
			t.Fatalf("%+v", s)
		}
		if s := p.closed(id, b); s.Outcome != batch.Aborted {
			t.Errorf("%s", s.Outcome)
		}
		q, _, err := p.bob.batches.Load(t.Context(), batch.StreamID(identity.Provider, id, b))
		if err != nil || q.Outcome != batch.Aborted {
			t.Errorf("%s, %v", q.Outcome, err)
		}
		if u, _, err := p.bob.usages.Load(t.Context(), "P-"+id); err != nil || !u.Final {
			t.Errorf("%+v, %v", u, err)
		}
		// A dead one takes no scripts, in the words that clients know.
		if _, s := p.exec(id, hello); !strings.Contains(s.RefusedWhy, "GSB error: endpoint address not found") {
			t.Errorf("%s: %s", s.RefusedCode, s.RefusedWhy)
		}
		p.settled()
	})
}

func TestAProviderOutOfReachAbortsTheBatch(t *testing.T) {
	rented(t, forever, func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		time.Sleep(10 * time.Minute) // silence over a standing connection is no outage
		p.bob.stop()
		begun := time.Now()
		s := p.closed(id, b)
		if took := time.Since(begun); s.Outcome != batch.Aborted || took < 25*time.Second || took > time.Minute {
			t.Errorf("%s after %s", s.Outcome, took)
		}
		p.bob = start(t, p.n, bob, p.b)
	})
}

func TestTheEndOfTheAgreementEndsTheActivity(t *testing.T) {
	rented(t, forever, func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		p.alice.tellAgreement(identity.Requestor, p.alice.activity(identity.Requestor, id).AgreementID, agreement.Terminate{By: p.alice.client()})
		time.Sleep(15 * time.Second)
		if a, q := p.alice.activity(identity.Requestor, id), p.bob.activity(identity.Provider, id); !a.Ended || !q.Ended {
			t.Errorf("%+v\n%+v", a, q)
		}
		if s := p.closed(id, b); s.Outcome != batch.Aborted {
			t.Errorf("%s", s.Outcome)
		}
		p.settled()
	})
}

func TestMessagesOfActivitiesGetLost(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"activity.create", "activity.exec", "activity.follow", "activity.destroy"} {
		for name, fault := range map[string]netmemory.Fault{"twice": {Twice: true}, "reply lost": {LoseReply: true}, "refused": {Refuse: true}} {
			t.Run(kind+" "+name, func(t *testing.T) {
				between(t, func(t *testing.T, p *pair) {
					var runs, struck atomic.Int64
					p.b.sup.Do = func(_ context.Context, _ unit.Spec, c script.Command, _ unit.Files) fake.Result {
						if _, ok := c.(script.Run); ok {
							runs.Add(1)
						}
						return fake.Result{Stdout: "x"}
					}
					agreementID := p.deal()
					p.n.Faults(func(_, _ identity.NodeID, k string) netmemory.Fault {
						if k != kind || struck.Add(1) > 1 {
							return netmemory.Fault{}
						}
						return fault
					})
					id := p.create(agreementID)
					b, s := p.exec(id, hello)
					if !s.Accepted {
						t.Fatalf("%s: %s", s.RefusedCode, s.RefusedWhy)
					}
					if s := p.closed(id, b); s.Outcome != batch.Done || runs.Load() != 1 {
						t.Errorf("%s, %d runs", s.Outcome, runs.Load())
					}
					p.same(id, b)
					p.alice.act(id, activity.RequestDestruction{By: p.alice.client(), Cause: activity.ByRequestor, TimeoutMS: 5000}, "")
					time.Sleep(time.Minute)
					if !p.bob.activity(identity.Provider, id).Ended || !p.alice.activity(identity.Requestor, id).Ended || struck.Load() == 0 {
						t.Error("it lives")
					}
					p.settled()
				})
			})
		}
	}
}

func TestAFailedSpawnEndsTheActivity(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		p.b.sup.SpawnError = func(unit.Spec) error { return fmt.Errorf("no such runtime") }
		id, agreementID := unique(), p.deal()
		p.alice.act(id, activity.RequestCreation{
			ActivityID: id, AgreementID: agreementID, AgreementState: "Approved", By: p.alice.client(), Provider: bob, Requestor: alice, TimeoutMS: 20000,
		}, agreementID)
		time.Sleep(10 * time.Second)
		if s := p.alice.activity(identity.Requestor, id); !strings.Contains(s.Failure, "no such runtime") || s.FailureCode != string(peer.Failed) {
			t.Errorf("%+v", s)
		}
		if !p.bob.activity(identity.Provider, id).Ended {
			t.Error("it lives at the provider")
		}
		p.settled()
	})
}

func TestOneActivityAtATime(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		agreementID := p.deal()
		type answer struct {
			m   peer.Message
			err error
		}
		got := make(chan answer, 8)
		for range 8 {
			go func() {
				m, err := p.alice.net.Call(t.Context(), alice, bob, peer.CreateActivity{AgreementID: agreementID, RequestID: unique(), TimeoutMS: 5000})
				got <- answer{m, err}
			}()
		}
		made := 0
		for range 8 {
			if a := <-got; a.err == nil {
				made++
			}
		}
		if made != 1 {
			t.Errorf("%d activities", made)
		}
	})
}

func TestStrangersLearnNothingOfActivities(t *testing.T) {
	rented(t, say("secret"), func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		p.closed(id, b)
		mallory := p.n.Join([]identity.NodeID{eve}, effects.Inbound{}, nil)
		defer mallory.Close() //nolint:errcheck // a test
		synctest.Wait()       // what bob has to write down of the batch is there
		head, _ := p.bob.l.Store.Head(t.Context())
		for _, m := range []peer.Message{
			peer.GetActivityState{ActivityID: id},
			peer.GetActivityUsage{ActivityID: id},
			peer.Exec{ActivityID: id, BatchID: unique(), Script: hello},
			peer.DestroyActivity{ActivityID: id},
		} {
			_, err := mallory.Call(t.Context(), eve, bob, m)
			if no, _ := refusal(err); no != peer.NotFound {
				t.Errorf("%s: %v", m.Kind(), err)
			}
		}
		for m, err := range mallory.Stream(t.Context(), eve, bob, peer.FollowBatch{ActivityID: id, BatchID: b, After: -1}) {
			if no, _ := refusal(err); no != peer.NotFound {
				t.Errorf("%v, %v", m, err)
			}
		}
		_, err := mallory.Call(t.Context(), eve, bob, peer.CreateActivity{
			AgreementID: p.alice.activity(identity.Requestor, id).AgreementID, RequestID: unique(), TimeoutMS: 1000,
		})
		if no, _ := refusal(err); no != peer.NotFound {
			t.Errorf("%v", err)
		}
		if now, _ := p.bob.l.Store.Head(t.Context()); now != head {
			t.Error("strangers wrote facts")
		}
	})
}

// Who follows again from any place hears the rest once; past the end there is
// nothing to wait for.
func TestFollowingFromAnyPlace(t *testing.T) {
	rented(t, say("x"), func(t *testing.T, p *pair, id string) {
		b, _ := p.exec(id, hello)
		p.closed(id, b)
		var all []int64
		for after := int64(-3); after < 20; after++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			var got []int64
			for m, err := range p.alice.net.Stream(ctx, alice, bob, peer.FollowBatch{ActivityID: id, BatchID: b, After: after}) {
				if err != nil {
					t.Fatalf("after %d: %v", after, err)
				}
				data, err := json.Marshal(m)
				var e peer.BatchEvent
				if err = jsonInto(data, err, &e); err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Seq)
			}
			cancel()
			if after <= -1 {
				all = got
			}
			if want := all[min(int(max(after, -1))+1, len(all)):]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %d: %v, want %v", after, got, want)
			}
		}
		if len(all) < 6 || all[0] != 0 {
			t.Errorf("%v", all)
		}
	})
}

func jsonInto(b []byte, err error, to any) error {
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// The exe-unit's samples come on; only some are facts, and the last one is.
func TestSilenceAndRecovery(t *testing.T) {
	rented(t, say("x"), func(t *testing.T, p *pair, id string) {
		time.Sleep(20 * time.Second) // the fake one tells no samples of its own
		if s := p.bob.activity(identity.Provider, id); s.Pair.Current != activity.PhaseUnresponsive {
			t.Fatalf("%+v", s.Pair)
		}
		for range 3 {
			b, _ := p.exec(id, `[{"deploy":{}}]`)
			p.closed(id, b)
			synctest.Wait()
			if s := p.bob.activity(identity.Provider, id); s.Pair.Current == activity.PhaseUnresponsive {
				t.Errorf("%+v", s.Pair)
			}
			time.Sleep(20 * time.Second)
			if s := p.bob.activity(identity.Provider, id); s.Pair.Current != activity.PhaseUnresponsive {
				t.Errorf("%+v", s.Pair)
			}
		}
	})
}
