package effects_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/provider/agent"
)

// pair is alice and bob on one network, bob with an offer that alice knows.
type pair struct {
	n          *netmemory.Network
	alice, bob *node
	a, b       *disk
}

func between(t *testing.T, f func(t *testing.T, p *pair)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{n: netmemory.New(), a: newDisk(), b: newDisk()}
		p.bob = start(t, p.n, bob, p.b)
		p.bob.sell(agent.Rulebook{MaxAgreements: 2})
		p.alice = start(t, p.n, alice, p.a)
		defer func() { p.alice.stop(); p.bob.stop() }()
		synctest.Wait()
		f(t, p)
	})
}

// known is the offer of bob's that alice heard of.
func (p *pair) known() peer.Offer {
	p.alice.t.Helper()
	live := p.bob.live()
	if len(live) != 1 {
		p.alice.t.Fatalf("%d offers", len(live))
	}
	got := p.alice.book.Get([]string{live[0].OfferID})
	if len(got) != 1 {
		p.alice.t.Fatal("the offer is not known")
	}
	return got[0]
}

// draft negotiates until bob's draft is there.
func (p *pair) draft() *talk {
	p.alice.t.Helper()
	k := p.alice.match(p.known())
	for range 3 {
		if _, err := k.counter(k.last().ProposalID); err != nil {
			p.alice.t.Fatal(err)
		}
		pass(time.Second)
		if last := k.last(); last.Issuer == identity.Requestor {
			p.alice.t.Fatalf("%s, %s", last.Phase, p.alice.types("negotiation", k.thread))
		}
		if len(k.state().Steps) >= 5 {
			break
		}
	}
	return k
}

// deal is an approved agreement.
func (p *pair) deal() string {
	p.alice.t.Helper()
	id := p.draft().agree(time.Minute)
	pass(time.Second)
	p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
	return id
}

func (p *pair) phases(id string, r, q agreement.Phase) {
	p.alice.t.Helper()
	if at := p.alice.agreement(identity.Requestor, id).Phase; at != r {
		p.alice.t.Errorf("the requestor is at %s, not %s: %s", at, r, p.alice.types("agreement", "R-"+id))
	}
	if at := p.bob.agreement(identity.Provider, id).Phase; at != q {
		p.alice.t.Errorf("the provider is at %s, not %s: %s", at, q, p.bob.types("agreement", "P-"+id))
	}
}

func (p *pair) settled() {
	p.alice.t.Helper()
	if a, b := p.alice.open(), p.bob.open(); len(a)+len(b) > 0 {
		p.alice.t.Errorf("open intents: %v %v", a, b)
	}
}

func TestOffersReachTheOtherNodeAndLeaveIt(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		o := p.known()
		// A stranger's word does not take it away, its owner's does.
		mallory := p.n.Join([]identity.NodeID{eve}, effects.Inbound{}, nil)
		defer mallory.Close() //nolint:errcheck // a test
		for _, w := range []identity.NodeID{eve, bob} {
			if err := mallory.Broadcast(t.Context(), eve, peer.OffersAnnounced{Withdrawn: []peer.Withdrawal{{ID: o.ID, Provider: w}}}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		p.known()
		if _, err := p.bob.providers.Do(t.Context(), string(bob), agent.Disable{By: identity.Caller{Actor: es.ActorOperator}}, p.bob.meta("")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := p.alice.book.Get([]string{o.ID}); len(got) != 0 {
			t.Error("the withdrawn offer is still there")
		}
	})
}

// At every moment there is one offer for the preset, made of the newest rules.
func TestChangesInQuickSuccessionMakeOneOffer(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		set := func(n int) {
			if _, err := p.bob.providers.Do(t.Context(), string(bob), agent.Setup{
				By: identity.Caller{Actor: es.ActorOperator}, Provider: bob, Rules: agent.Rulebook{MaxAgreements: 2, OfferTTLSec: int64(3000 + n)},
				Hardware: agent.Hardware{Architecture: "x86_64", Cores: 4, MemGiB: fmt.Sprint(n), StorageGiB: "10", Threads: 2},
				Presets:  []agent.Preset{{Name: "wasm", Runtime: "wasmtime", Initial: "0", Coeffs: map[string]string{"golem.usage.duration_sec": "0.001"}}},
			}, p.bob.meta("")); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			set(i + 1)
		}
		synctest.Wait()
		live := p.bob.live()
		if len(live) != 1 || !strings.Contains(live[0].Properties, `"golem.inf.mem.gib":10.0`) || live[0].Expires.Sub(live[0].Created) != 3010*time.Second {
			t.Errorf("%+v", live)
		}
		// Two thirds through its life it gives way to a fresh one.
		time.Sleep(40 * time.Minute)
		fresh := p.bob.live()
		if len(fresh) != 1 || fresh[0].OfferID == live[0].OfferID {
			t.Errorf("%+v", fresh)
		}
		p.known()
	})
}

func TestAWholeDeal(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.deal()
		// The approval may be there before the answer to the confirmation is.
		got := strings.Replace(p.alice.types("agreement", "R-"+id), "approval_received commit_requested confirmed", "confirmed approval_received commit_requested", 1)
		if want := "created confirmation_requested confirmed approval_received commit_requested approved"; strings.Replace(got, "approval_received confirmed", "confirmed approval_received", 1) != want {
			t.Errorf("%s", got)
		}
		if got, want := p.bob.types("agreement", "P-"+id), "received approval_requested approval_delivered approved"; got != want {
			t.Logf("%s, usually %s", got, want)
		}
		r, q := p.alice.agreement(identity.Requestor, id), p.bob.agreement(identity.Provider, id)
		if r.ProposedSignature != q.ProposedSignature || r.ApprovedSignature != q.ApprovedSignature || r.CommittedSignature != q.CommittedSignature ||
			!strings.HasPrefix(q.CommittedSignature, "emet1:") {
			t.Errorf("%+v\n%+v", r, q)
		}
		p.settled()
	})
}

// Whatever one kind of message suffers, the sides come to the same end.
func TestADealSurvivesFaults(t *testing.T) {
	t.Parallel()
	kinds := []string{"market.open", "market.counter", "market.propose_agreement", "market.approve", "market.commit", "market.terminate"}
	for _, kind := range kinds {
		for name, fault := range map[string]netmemory.Fault{
			"twice": {Twice: true}, "late": {Delay: 2 * time.Second}, "reply lost": {LoseReply: true}, "refused": {Refuse: true},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				between(t, func(t *testing.T, p *pair) {
					var mu sync.Mutex
					struck := 0
					p.n.Faults(func(_, _ identity.NodeID, k string) netmemory.Fault {
						mu.Lock()
						defer mu.Unlock()
						if k != kind || struck >= 1 {
							return netmemory.Fault{}
						}
						struck++
						return fault
					})
					k := p.alice.match(p.known())
					for len(k.state().Steps) < 3 {
						if prev := k.last(); prev.Issuer == identity.Provider {
							if _, err := k.counter(prev.ProposalID); err != nil {
								t.Fatal(err)
							}
						} else if prev.Sending == negotiation.Failed {
							if _, err := k.counter(prev.Prev); err != nil {
								t.Fatal(err)
							}
						}
						pass(6 * time.Second)
					}
					if k.last().Issuer != identity.Provider {
						t.Fatal(p.alice.types("negotiation", k.thread))
					}
					id := k.agree(2 * time.Minute)
					time.Sleep(30 * time.Second)
					p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
					p.alice.tellAgreement(identity.Requestor, id, agreement.Terminate{By: p.alice.client(), Reason: `{"message":"done"}`})
					time.Sleep(time.Minute)
					p.phases(id, agreement.PhaseTerminated, agreement.PhaseTerminated)
					p.settled()
					for _, types := range []string{p.alice.types("agreement", "R-"+id), p.bob.types("agreement", "P-"+id)} {
						for _, once := range []string{"received", "approval_received", "approved", "terminated"} {
							if n := count(types, once); n > 1 {
								t.Errorf("%s is there %d times: %s", once, n, types)
							}
						}
					}
				})
			})
		}
	}
}

func count(types, typ string) (n int) {
	for f := range strings.FieldsSeq(types) {
		if f == typ {
			n++
		}
	}
	return n
}

func TestAnUnreachableProviderFailsTheCounter(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.alice.match(p.known())
		match := k.last().ProposalID
		p.n.Partition([]identity.NodeID{alice}, []identity.NodeID{bob})
		id, err := k.counter(match)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // what clients give it
		s := k.state()
		lost, _ := s.Find(id)
		if prev, _ := s.Find(match); lost.Sending != negotiation.Failed || prev.Counter != "" {
			t.Fatalf("%+v", s.Steps)
		}
		p.settled()
		p.n.Partition()
		if _, err := k.counter(match); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if k.last().Issuer != identity.Provider {
			t.Errorf("%s", p.alice.types("negotiation", k.thread))
		}
	})
}

// A rejection is final here at once, and told when the other is there.
func TestNoticesAreRepeatedUntilTheyArrive(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		p.n.Partition([]identity.NodeID{alice}, []identity.NodeID{bob})
		if _, err := p.alice.negotiations.Do(t.Context(), k.thread, negotiation.Reject{
			At: moment(), By: p.alice.client(), ProposalID: k.last().ProposalID, Reason: `{"message":"too dear"}`,
		}, p.alice.meta(k.thread)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if got := p.alice.types("negotiation", k.thread); !strings.HasSuffix(got, "rejection_requested") {
			t.Fatal(got)
		}
		p.n.Partition()
		p.alice.runner.Wake(func(string) bool { return true })
		pass(time.Second)
		if got := p.alice.types("negotiation", k.thread); !strings.HasSuffix(got, "rejection_delivered") {
			t.Error(got)
		}
	})
}

func TestBothTerminateAtOnce(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := p.deal()
		p.n.Faults(func(identity.NodeID, identity.NodeID, string) netmemory.Fault {
			return netmemory.Fault{Delay: 300 * time.Millisecond}
		})
		p.alice.tellAgreement(identity.Requestor, id, agreement.Terminate{By: p.alice.client(), Reason: `{"message":"mine"}`})
		p.bob.tellAgreement(identity.Provider, id, agreement.Terminate{By: p.bob.client(), Reason: `{"message":"yours"}`})
		pass(time.Second)
		p.phases(id, agreement.PhaseTerminated, agreement.PhaseTerminated)
		p.settled()
	})
}

func TestCancelAgainstApprove(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 50, 150, 250, 350, 450, 550} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			between(t, func(t *testing.T, p *pair) {
				k := p.draft()
				p.n.Faults(func(identity.NodeID, identity.NodeID, string) netmemory.Fault {
					return netmemory.Fault{Delay: 200 * time.Millisecond}
				})
				id := k.agree(time.Minute)
				time.Sleep(after * time.Millisecond)
				_, err := p.alice.agreements.Do(t.Context(), agreement.StreamID(identity.Requestor, id), agreement.Cancel{By: p.alice.client()}, p.alice.meta(id))
				time.Sleep(30 * time.Second)
				want := agreement.PhaseCancelled
				if err != nil {
					want = agreement.PhaseApproved
				}
				p.phases(id, want, want)
				p.settled()
			})
		})
	}
}

func TestAnAgreementThatNobodyAnswersExpires(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		p.n.Partition([]identity.NodeID{alice}, []identity.NodeID{bob})
		id := k.agree(time.Minute)
		time.Sleep(2 * time.Minute)
		if s := p.alice.agreement(identity.Requestor, id); s.Phase != agreement.PhaseExpired {
			t.Errorf("%s: %s", s.Phase, p.alice.types("agreement", "R-"+id))
		}
		p.settled()
	})
}

func TestALockedKeyFailsTheConfirmationInTime(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		p.a.locks.Store(true)
		id := k.agree(time.Minute)
		time.Sleep(25 * time.Second)
		if got := p.alice.types("agreement", "R-"+id); got != "created confirmation_requested confirmation_failed" {
			t.Fatal(got)
		}
		p.a.locks.Store(false)
		p.alice.tellAgreement(identity.Requestor, id, agreement.Confirm{At: moment(), By: p.alice.client()})
		pass(time.Second)
		p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
	})
}

func TestStrangersAndForgersAreRefused(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		id := p.deal()
		mallory := p.n.Join([]identity.NodeID{eve}, effects.Inbound{}, nil)
		defer mallory.Close() //nolint:errcheck // a test
		head, _ := p.bob.l.Store.Head(t.Context())
		now := moment()
		for _, m := range []peer.Message{
			peer.ProposalCountered{Prev: k.last().ProposalID, Proposal: peer.ProposalText{ID: unique(), Properties: "{}", Created: now, Expires: now.Add(time.Hour)}},
			peer.ProposalRejected{ProposalID: k.last().ProposalID},
			peer.AgreementProposed{AgreementID: id, ProposalID: k.last().ProposalID, Created: now, ValidTo: now.Add(time.Hour)},
			peer.AgreementCommitted{AgreementID: id},
			peer.AgreementCancelled{AgreementID: id},
			peer.AgreementTerminated{AgreementID: id},
			peer.AgreementApproved{AgreementID: id},
		} {
			_, err := mallory.Call(t.Context(), eve, bob, m)
			if no, ok := refusal(err); !ok || no != peer.NotFound {
				t.Errorf("%s of a stranger: %v", m.Kind(), err)
			}
			// Speaking as alice is not possible at all.
			if _, err := mallory.Call(t.Context(), alice, bob, m); err == nil {
				t.Errorf("%s in the name of another was answered", m.Kind())
			}
		}
		if now, _ := p.bob.l.Store.Head(t.Context()); now != head {
			t.Errorf("strangers wrote %d facts", now-head)
		}
		p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
	})
}

func refusal(err error) (peer.Code, bool) {
	if no, ok := err.(*peer.Refusal); ok { //nolint:errorlint // the network hands it out as it is
		return no.Code, true
	}
	return "", false
}

func TestWrongSignaturesAreRefused(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		p.bob.stop() // so that nobody signs on alice's behalf meanwhile
		p.bob = start(t, p.n, bob, p.b)
		draft, now := k.last().ProposalID, moment()
		id := market.PairHash(k.offer.ID, k.demand.DemandID, now)
		propose := func(signature string) error {
			_, err := p.alice.net.Call(t.Context(), alice, bob, peer.AgreementProposed{
				AgreementID: id, Created: now, ProposalID: draft, ValidTo: now.Add(time.Hour), Signature: signature,
			})
			return err
		}
		if no, _ := refusal(propose("emet1:00")); no != peer.BadRequest {
			t.Fatalf("%v", no)
		}
		if s := p.bob.agreement(identity.Provider, id); s.Exists() {
			t.Fatal("it was taken")
		}
		if err := propose(agreement.NoSignature); err != nil {
			t.Fatal(err)
		}
		s := p.bob.agreement(identity.Provider, id)
		text, err := agreement.SigningInput(agreement.StageProposed, id, s.Terms)
		if err != nil {
			t.Fatal(err)
		}
		// A proposal's signature is none under a commit.
		_, err = p.alice.net.Call(t.Context(), alice, bob, peer.AgreementCommitted{AgreementID: id, Signature: scrawl(alice, text)})
		if no, _ := refusal(err); no != peer.BadRequest {
			t.Errorf("%v", err)
		}
		_, err = p.bob.net.Call(t.Context(), bob, alice, peer.AgreementApproved{AgreementID: id, Signature: "emet1:00"})
		if no, _ := refusal(err); no != peer.NotFound { // alice knows of no such agreement
			t.Errorf("%v", err)
		}
	})
}

// Who is turned away for want of a slot is asked again when one is free.
func TestAFreeSlotBringsBackWhoWasTurnedAway(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		one, _ := p.deal(), p.deal()
		k := p.alice.match(p.known())
		first, err := k.counter(k.last().ProposalID)
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if got := p.alice.types("negotiation", k.thread); !strings.HasSuffix(got, "rejection_received") {
			t.Fatal(got)
		}
		p.alice.tellAgreement(identity.Requestor, one, agreement.Terminate{By: p.alice.client()})
		pass(time.Second)
		if last := k.last(); last.Issuer != identity.Provider || last.Prev != first {
			t.Errorf("%s", p.alice.types("negotiation", k.thread))
		}
	})
}

// What overdue deadlines ask for happens after a restart, in order and once.
func TestOverdueDeadlinesFireInOrderAfterARestart(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		var ids []string
		for _, ttl := range []time.Duration{30 * time.Minute, 10 * time.Minute, 20 * time.Minute, 0} {
			now := moment()
			c := offer.Publish{By: p.alice.client(), Created: now, Expires: now.Add(ttl), Properties: "{}", Constraints: "()", Provider: alice}
			if ttl == 0 { // withdrawn before its time
				c.Expires = now.Add(15 * time.Minute)
			}
			c.OfferID = market.SubscriptionID(unique(), market.Content{Properties: "{}", Constraints: "()", Owner: alice, Created: c.Created, Expires: c.Expires})
			if _, err := p.alice.offers.Do(t.Context(), c.OfferID, c, p.alice.meta(c.OfferID)); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, c.OfferID)
			pass(time.Second)
		}
		if _, err := p.alice.offers.Do(t.Context(), ids[3], offer.Withdraw{At: moment(), By: p.alice.client(), OfferID: ids[3]}, p.alice.meta("")); err != nil {
			t.Fatal(err)
		}
		p.alice.stop()
		time.Sleep(2 * time.Hour)
		for range 2 {
			p.alice = start(t, p.n, alice, p.a)
			time.Sleep(time.Minute)
			p.alice.stop()
		}
		var expired []string
		if err := p.alice.scan(func(r es.Recorded) {
			if e, ok := r.Data.(offer.Expired); ok {
				expired = append(expired, e.OfferID)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if want := []string{ids[1], ids[2], ids[0]}; fmt.Sprint(expired) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", expired, want)
		}
	})
}
