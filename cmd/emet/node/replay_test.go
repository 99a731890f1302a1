package node

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/settlement"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/replay"
	"github.com/emet-node/emet/projections/story/storytest"
)

const (
	buyer  identity.NodeID = "0x00000000000000000000000000000000000000b1"
	seller identity.NodeID = "0x00000000000000000000000000000000000000c2"
)

// shop is a provider whose sagas run over a log; the world is what the test says.
type shop struct {
	t     *testing.T
	log   *es.Log
	agg   *Aggregates
	sagas []es.Process
	heard es.Position
	clock time.Time
	n     int
	offer offer.Published
	story string
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, clock: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), sagas: processes(settlement.Config{})}
	s.log = &es.Log{Store: memory.New().WithClock(func() time.Time { return s.clock }), Codec: eventschemas.New()}
	s.agg = newAggregates(s.log)
	do := func(c agent.Command) {
		s.n++
		if _, err := s.agg.Providers.Do(t.Context(), string(seller), c, es.Meta{Key: fmt.Sprint("in/", s.n), Actor: es.ActorOperator, Identity: string(seller)}); err != nil {
			t.Fatal(err)
		}
	}
	do(agent.Setup{
		By: operator, Provider: seller, Hardware: agent.Hardware{Architecture: "x86_64", Cores: 2, MemGiB: "1", StorageGiB: "1", Threads: 1},
		Presets: []agent.Preset{{Name: "default", Runtime: "wasmtime", Initial: "0", Coeffs: map[string]string{"golem.usage.duration_sec": "0.1"}}},
		Rules:   agent.Rulebook{MaxAgreements: 1},
	})
	do(agent.RecordTest{By: operator, Provider: seller, Runtime: agent.Runtime{Name: "wasmtime", Version: "1", Counters: []string{"golem.usage.duration_sec"}}})
	do(agent.Enable{By: operator, Provider: seller, NodeName: "s", Platforms: []agent.Platform{{Address: string(seller), Platform: "erc20-hoodi-tglm"}}})
	s.run()
	for r, err := range s.log.ReadAll(t.Context(), 0, es.Filter{Types: []string{"offer.published.v1"}}) {
		if err != nil {
			t.Fatal(err)
		}
		s.offer = r.Data.(offer.Published)
	}
	if s.offer.OfferID == "" {
		t.Fatal("no offer was published")
	}
	return s
}

// tell writes what came from outside, and lets the sagas answer.
func (s *shop) tell(stream string, facts ...any) {
	s.t.Helper()
	s.n++
	s.clock = s.clock.Add(time.Second)
	m := es.Meta{Key: fmt.Sprint("in/", s.n), Actor: es.ActorPeer, Identity: string(seller), Peer: string(buyer), Correlation: s.story}
	if _, err := s.log.Append(s.t.Context(), m, nil, es.Facts{Stream: es.Stream(stream), Expected: es.Any, Facts: facts}); err != nil {
		s.t.Fatal(err)
	}
	s.run()
}

func (s *shop) run() {
	s.t.Helper()
	router := s.agg.router()
	for {
		before := s.heard
		for r, err := range s.log.ReadAll(s.t.Context(), s.heard, es.Filter{}) {
			if err != nil {
				s.t.Fatal(err)
			}
			s.heard = r.Position + 1
			for _, p := range s.sagas {
				if !slices.Contains(p.Hears(), r.Type) {
					continue
				}
				for _, c := range p.Hear(r) {
					_ = router.Do(s.t.Context(), c.Order, c.Meta) // refusals are news only
				}
			}
		}
		if s.heard == before {
			return
		}
	}
}

// asks is a requestor's first counter-proposal, for work that lasts so long.
func (s *shop) asks(n int, lasts time.Duration) string {
	thread := fmt.Sprintf("%032x", n)
	demandID := fmt.Sprintf("%032x-%064x", n, n)
	expires := s.clock.Add(time.Hour)
	initial := negotiation.Proposal{Created: s.clock, Expires: expires, Properties: s.offer.Properties, Constraints: s.offer.Constraints}
	initial.ProposalID = market.PairHash(s.offer.OfferID, demandID, initial.Created)
	ask := negotiation.Proposal{
		Created: s.clock.Add(time.Millisecond), Expires: expires, Constraints: "()",
		Properties: fmt.Sprintf(`{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.srv.comp.expiration":%d}`, s.clock.Add(lasts).UnixMilli()),
	}
	ask.ProposalID = market.PairHash(s.offer.OfferID, demandID, ask.Created)
	s.tell("negotiation-"+thread, negotiation.Opened{
		NegotiationID: thread, OfferID: s.offer.OfferID, DemandID: demandID, DemandExpires: expires, Provider: seller, Requestor: buyer, Side: identity.Provider, Initial: initial,
	}, negotiation.CounterReceived{NegotiationID: thread, Prev: initial.ProposalID, Proposal: ask})
	return thread
}

// wants proposes an agreement about what was last said in a thread.
func (s *shop) wants(thread string) string {
	s.t.Helper()
	n, _, err := s.agg.Negotiations.Load(s.t.Context(), thread)
	if err != nil {
		s.t.Fatal(err)
	}
	ask, bid := n.Steps[1], n.Steps[len(n.Steps)-1]
	id := thread + thread
	s.tell("agreement-P-"+id, agreement.Received{AgreementID: id, Side: identity.Provider, Terms: agreement.Terms{
		Created: s.clock, ValidTo: s.clock.Add(time.Hour), DemandID: n.DemandID, OfferID: n.OfferID, NegotiationID: thread, ProposalID: bid.ProposalID,
		DemandProperties: ask.Properties, DemandConstraints: ask.Constraints, OfferProperties: bid.Properties, OfferConstraints: bid.Constraints,
		Provider: seller, Requestor: buyer,
	}})
	return id
}

// traded is a shop with a day of business: refused and accepted proposals, an
// agreement, one too many, and the end of the first.
func traded(t *testing.T) *shop {
	t.Helper()
	s := openShop(t)
	s.asks(1, time.Minute) // too short
	first, second := s.asks(2, 20*time.Minute), s.asks(3, 20*time.Minute)
	deal := s.wants(first)
	s.wants(second) // while the only slot is taken
	s.asks(4, 20*time.Minute)
	s.tell("agreement-P-"+deal, agreement.Approved{AgreementID: deal, Side: identity.Provider})
	s.tell("agreement-P-"+deal, agreement.Terminated{AgreementID: deal, Side: identity.Provider, By: identity.Requestor, Reason: "{}"})
	return s
}

func again(t *testing.T, log *es.Log, change func([]es.Process) []es.Process) replay.Report {
	t.Helper()
	settle, err := settledAs(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	report, err := replay.Run(t.Context(), replay.Config{Log: log, Processes: change(processes(settle)), Deciders: deciders})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func asTheyAre(p []es.Process) []es.Process { return p }

func TestTheSameBuildDecidesTheSame(t *testing.T) {
	t.Parallel()
	s := traded(t)
	report := again(t, s.log, asTheyAre)
	if report.First != nil {
		t.Fatalf("%+v", *report.First)
	}
	decided := map[string]int{}
	for r, err := range s.log.ReadAll(t.Context(), 0, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		decided[string(r.Info.Actor)]++
	}
	if report.Decisions < 10 || decided["saga"] < 10 || report.Inputs != decided["peer"]+decided["operator"] {
		t.Errorf("%+v of %v", report, decided)
	}
}

// A log that a build of before wrote leads to the same decisions.
func TestALogOfBeforeDecidesTheSame(t *testing.T) {
	t.Parallel()
	s := traded(t)
	if err := storytest.Write(t.Context(), s.log); err != nil {
		t.Fatal(err)
	}
	var at time.Time
	then := &es.Log{Store: memory.New().WithClock(func() time.Time { return at }), Codec: eventschemas.New()}
	if n, err := storytest.Former(t.Context(), s.log.Store, then.Store, func(was time.Time) { at = was }); err != nil || n == 0 {
		t.Fatalf("%d facts were other before, %v", n, err)
	}
	now, before := again(t, s.log, asTheyAre), again(t, then, asTheyAre)
	if now.First != nil || now.Decisions < 10 || !reflect.DeepEqual(now, before) {
		t.Errorf("now %+v\nbefore %+v %+v", now, before, before.First)
	}
}

// kind is a saga that never refuses a proposal.
type kind struct{ es.Process }

func (k kind) Hear(r es.Recorded) []es.Command {
	out := k.Process.Hear(r)
	for i, c := range out {
		if d, ok := c.Command.(negotiation.RecordDecision); ok && d.Outcome == "reject" {
			d.Outcome = "counter"
			out[i].Command = d
		}
	}
	return out
}

// deaf is a saga that asks for nothing when it hears of one kind of fact.
type deaf struct {
	es.Process
	to string
}

func (d deaf) Hear(r es.Recorded) []es.Command {
	out := d.Process.Hear(r)
	if r.Type == d.to {
		return nil
	}
	return out
}

// eager is a saga that asks for more than it did.
type eager struct{ es.Process }

func (e eager) Hear(r es.Recorded) []es.Command {
	out := e.Process.Hear(r)
	if c, ok := r.Data.(negotiation.CounterReceived); ok {
		more := es.Command{Order: es.Order{Category: negotiation.Category, ID: c.NegotiationID, Command: negotiation.Close{By: identity.Caller{Actor: es.ActorSaga}, Why: "more"}}}
		more.Meta = es.Caused(r, es.ActorSaga, fmt.Sprintf("negotiator/%s/%d/9", seller, r.Position))
		out = append(out, more)
	}
	return out
}

func TestAnotherBuildIsFoundOut(t *testing.T) {
	t.Parallel()
	s := traded(t)
	change := func(name string, how func(es.Process) es.Process) func([]es.Process) []es.Process {
		return func(all []es.Process) []es.Process {
			for i, p := range all {
				if p.Name() == name {
					all[i] = how(p)
				}
			}
			return all
		}
	}
	for name, c := range map[string]struct {
		change func([]es.Process) []es.Process
		want   func(replay.Difference) bool
	}{
		"another verdict": {change("negotiator", func(p es.Process) es.Process { return kind{p} }), func(d replay.Difference) bool {
			return d.Saga == "negotiator" && len(d.Recorded) == 1 && strings.Contains(d.Recorded[0].Data, `"outcome":"reject"`) && strings.Contains(d.Decided[0].Data, `"outcome":"counter"`)
		}},
		"nothing any more": {change("negotiator", func(p es.Process) es.Process { return deaf{p, "agreement.received.v1"} }), func(d replay.Difference) bool {
			return d.Orphan && len(d.Recorded) > 0 && len(d.Decided) == 0
		}},
		"more than then": {change("negotiator", func(p es.Process) es.Process { return eager{p} }), func(d replay.Difference) bool {
			return len(d.Recorded) == 0 && len(d.Decided) == 1 && d.Decided[0].Type == "negotiation.closed.v1"
		}},
	} {
		report := again(t, s.log, c.change)
		if report.First == nil || !c.want(*report.First) {
			t.Errorf("%s: %+v", name, report.First)
		}
	}
}

// tampered copies a log with one fact changed.
func tampered(t *testing.T, from *es.Log, typ, old, replaced string) *es.Log {
	t.Helper()
	var clock time.Time
	store := memory.New().WithClock(func() time.Time { return clock })
	changed := false
	for e, err := range from.Store.ReadAll(context.Background(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if data := string(e.Data); !changed && e.Type == typ && strings.Contains(data, old) {
			e.Data, changed = []byte(strings.Replace(data, old, replaced, 1)), true
		}
		clock = e.Recorded
		if _, err := store.Append(t.Context(), nil, es.Write{Stream: e.Stream, Expected: es.Any, Events: []es.NewEvent{e.NewEvent}}); err != nil {
			t.Fatal(err)
		}
	}
	if !changed {
		t.Fatalf("no %s has %s", typ, old)
	}
	return &es.Log{Store: store, Codec: from.Codec}
}

func TestAChangedFactIsFoundOut(t *testing.T) {
	t.Parallel()
	s := traded(t)
	for name, log := range map[string]*es.Log{
		"a decision": tampered(t, s.log, "negotiation.decided.v1", `"outcome":"reject"`, `"outcome":"rejekt"`),
		"the rules":  tampered(t, s.log, "provider.rules_changed.v1", `"maxAgreements":1`, `"maxAgreements":2`),
		"a proposal": tampered(t, s.log, "negotiation.counter_received.v1", `golem.com.payment.chosen-platform`, `golem.com.payment.frozen-platform`),
		"the offer":  tampered(t, s.log, "provider.presets_changed.v1", `"0.1"`, `"0.2"`),
		"the terms":  tampered(t, s.log, "agreement.received.v1", s.offer.OfferID, "0"+s.offer.OfferID[1:]),
	} {
		report := again(t, log, asTheyAre)
		if report.First == nil {
			t.Errorf("%s was changed and nothing differs", name)
		}
	}
}
