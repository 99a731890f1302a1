package effects_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// A machine that carries as many activities as it is meant to says so.
func TestNoMoreActivitiesLiveThanMay(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		p.bob.units.MaxAlive = 1
		agreement := p.deal()
		first, second := p.create(agreement), unique()
		defer p.b.sup.Kill("/units/" + first)
		ask := peer.CreateActivity{AgreementID: agreement, RequestID: second, TimeoutMS: 1000}
		create := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[ask.Kind()]
		from := peer.Caller{Node: alice, To: bob, Via: "memory"}
		_, err := create(t.Context(), from, ask)
		if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.Busy || no.RetryAfter == 0 {
			t.Fatalf("one too many: %v", err)
		}
		ask.RequestID = first // it lives already: that is no other one
		if _, err := create(t.Context(), from, ask); err != nil {
			t.Errorf("the one that lives: %v", err)
		}
		if used, most, refused := p.bob.units.Limit(t.Context()); used != 1 || most != 1 || refused != 1 {
			t.Errorf("%d of %d, %d refused", used, most, refused)
		}
	})
}

// slowStart starts an exe-unit when it is let.
type slowStart struct {
	unit.Supervisor
	let chan struct{}
}

func (s slowStart) Spawn(ctx context.Context, spec unit.Spec) (unit.Spawned, error) {
	<-s.let
	return s.Supervisor.Spawn(ctx, spec)
}

// An exe-unit takes its time to start. Who asks meanwhile is not let in by that.
func TestActivitiesThatAreJustMadeCount(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		let := make(chan struct{})
		p.bob.units.MaxAlive, p.bob.units.Supervisor = 1, slowStart{p.bob.units.Supervisor, let}
		create := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[peer.CreateActivity{}.Kind()]
		first := unique()
		defer p.b.sup.Kill("/units/" + first)
		for i, ask := range []peer.CreateActivity{
			{AgreementID: p.deal(), RequestID: first, TimeoutMS: 1000}, {AgreementID: p.deal(), RequestID: unique(), TimeoutMS: 1000},
		} {
			if _, err := create(t.Context(), peer.Caller{Node: alice, To: bob, Via: "memory"}, ask); err == nil {
				t.Errorf("%d: it is there", i)
			}
		}
		if used, _, refused := p.bob.units.Limit(t.Context()); used != 1 || refused != 1 {
			t.Errorf("%d live or will, %d were refused", used, refused)
		}
		close(let)
		synctest.Wait()
	})
}

// A requestor speaks to the identity that provides: what it asks another one of
// the same node would be written down as that one's doing.
func TestAnotherIdentityOfTheNodeProvidesNothing(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		agreement := p.deal()
		id := p.create(agreement)
		defer p.b.sup.Kill("/units/" + id)
		in := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers()
		synctest.Wait() // what bob has to write down of the spawn is there
		before, _ := p.bob.l.Store.Head(t.Context())
		for _, m := range []peer.Message{
			peer.CreateActivity{AgreementID: agreement, RequestID: unique(), TimeoutMS: 1000},
			peer.CreateActivity{AgreementID: agreement, RequestID: id, TimeoutMS: 1000},
			peer.Exec{ActivityID: id, BatchID: unique(), Script: "[]"},
			peer.GetActivityState{ActivityID: id},
			peer.GetActivityUsage{ActivityID: id},
			peer.DestroyActivity{ActivityID: id},
		} {
			_, err := in.Calls[m.Kind()](t.Context(), peer.Caller{Node: alice, To: eve, Via: "memory"}, m)
			if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.NotFound {
				t.Errorf("%s: %v", m.Kind(), err)
			}
		}
		if after, _ := p.bob.l.Store.Head(t.Context()); after != before {
			t.Errorf("%d facts were written", after-before)
		}
	})
}

// No number breaks what follows a batch.
func TestABatchIsFollowedFromAnyNumber(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.create(p.deal())
		defer p.b.sup.Kill("/units/" + id)
		batchID, _ := p.exec(id, hello)
		p.closed(id, batchID)
		follow := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Streams[peer.FollowBatch{}.Kind()]
		for _, after := range []int64{math.MinInt64, -2, -1, 0, 1 << 40, math.MaxInt64 - 1, math.MaxInt64} {
			n := 0
			for _, err := range follow(t.Context(), peer.Caller{Node: alice, To: bob}, peer.FollowBatch{ActivityID: id, BatchID: batchID, After: after}) {
				if n++; err != nil {
					t.Errorf("after %d: %v", after, err)
				}
			}
			if told := n > 0; told != (after < 1<<40) {
				t.Errorf("after %d: %d facts", after, n)
			}
		}
	})
}

// A script under a taken id, and one that no fact can hold, are refused for good.
func TestAScriptThatCannotBeTakenIsRefused(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.create(p.deal())
		defer p.b.sup.Kill("/units/" + id)
		batchID, _ := p.exec(id, hello)
		p.closed(id, batchID)
		exec := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[peer.Exec{}.Kind()]
		long := `[{"transfer":{"from":"` + strings.Repeat("x", 300<<10) + `","to":"y"}}]`
		for name, m := range map[string]peer.Exec{"taken": {ActivityID: id, BatchID: batchID, Script: "[]"}, "long": {ActivityID: id, BatchID: unique(), Script: long}} {
			_, err := exec(t.Context(), peer.Caller{Node: alice, To: bob, MessageID: name}, m)
			if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.BadRequest {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Scripts cost the provider's disk: they have a pace, and short ones of many
// commands do too.
func TestScriptsHaveAPace(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.create(p.deal())
		defer p.b.sup.Kill("/units/" + id)
		exec := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[peer.Exec{}.Kind()]
		text := "[" + strings.Repeat(`{"sign":{}},`, 511) + `{"sign":{}}]`
		taken := 0
		for range 100 {
			_, err := exec(t.Context(), peer.Caller{Node: alice, To: bob, MessageID: unique()}, peer.Exec{ActivityID: id, BatchID: unique(), Script: text})
			if no, ok := effects.RefusalOf(err); ok && no.Code == peer.Busy && no.RetryAfter > 0 {
				break
			}
			taken++
		}
		if taken < 5 || taken > 20 {
			t.Errorf("%d scripts of 512 commands are taken at once", taken)
		}
	})
}

// Whoever asks often is told what is known: each new sample is kept for good.
func TestSamplesHaveAPace(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.create(p.deal())
		defer p.b.sup.Kill("/units/" + id)
		var taken atomic.Int64
		p.b.sup.Vector = func(unit.Spec) string { taken.Add(1); return "[]" }
		usage := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[peer.GetActivityUsage{}.Kind()]
		for range 200 {
			if _, err := usage(t.Context(), peer.Caller{Node: alice, To: bob}, peer.GetActivityUsage{ActivityID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if n := taken.Load(); n < 1 || n > 20 {
			t.Errorf("%d samples are taken for 200 questions at once", n)
		}
	})
}

// brokenFiles are files whose trouble names where they are.
type brokenFiles struct{}

var errBroken = errors.New("open /home/op/secret: permission denied")

func (brokenFiles) Metadata(context.Context, identity.NodeID, string) (int64, error) {
	return 0, errBroken
}

func (brokenFiles) Chunk(context.Context, identity.NodeID, string, int64, int64) ([]byte, error) {
	return nil, errBroken
}

func (brokenFiles) Upload(context.Context, identity.NodeID, string, int64, []byte) error {
	return errBroken
}

func (brokenFiles) UploadFinished(context.Context, identity.NodeID, string, string) error {
	return errBroken
}

// What a stranger is not told stays in the node's log.
func TestTroubleWithFilesIsNotTold(t *testing.T) {
	t.Parallel()
	in := (&activities.Inbound{Units: &activities.Units{}, LocalFiles: brokenFiles{}}).Answers()
	for _, m := range []peer.Message{peer.FileMetadata{}, peer.FileChunk{}, peer.FileUpload{}, peer.FileUploadFinished{}} {
		_, err := in.Calls[m.Kind()](t.Context(), peer.Caller{Node: eve, To: bob}, m)
		if no, told := effects.RefusalOf(err); told || !errors.Is(err, errBroken) {
			t.Errorf("%s: the stranger is told %v", m.Kind(), no)
		}
	}
}

// The provider began a script, its answer got lost, and its daemon comes back
// without reaching the exe-unit yet. It has the script all the same, and a
// refusal would let the requestor run it twice.
func TestAScriptThatWasBegunIsNotRefused(t *testing.T) {
	var away atomic.Bool
	rented(t, forever, func(t *testing.T, p *pair, id string) {
		p.b.sup.AttachError = func(unit.Attachment) error {
			if away.Load() {
				return unit.ErrLost
			}
			return nil
		}
		var asked atomic.Int64
		p.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
			return netmemory.Fault{LoseReply: kind == "activity.exec" && asked.Add(1) == 1}
		})
		time.AfterFunc(time.Second, func() {
			away.Store(true)
			p.bob.stop()
			p.bob = start(t, p.n, bob, p.b)
		})
		b, s := p.exec(id, hello)
		if !s.Accepted || asked.Load() < 2 {
			t.Fatalf("asked %d times: %s %s", asked.Load(), s.RefusedCode, s.RefusedWhy)
		}
		away.Store(false)
		p.b.sup.Kill("/units/" + id)
		if s := p.closed(id, b); s.Outcome != batch.Aborted || len(s.Results()) != 3 {
			t.Errorf("%s, %+v", s.Outcome, s.Results())
		}
		p.same(id, b)
	})
}
