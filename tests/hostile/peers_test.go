package hostile

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enet "github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
)

// ids are those of things that the node has with others.
type ids struct {
	offer, demand, proposal, agreement, activity, batch, note, invoice string
	provider, requestor                                                identity.NodeID
}

// known reads ids of a node's log, as if a stranger had got hold of them all.
func (m *member) known(t *testing.T) (k ids) {
	t.Helper()
	for r, err := range m.Log.ReadAll(t.Context(), 0, es.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := r.Data.(type) {
		case offer.Published:
			k.offer, k.provider = e.OfferID, e.Provider
		case negotiation.CounterReceived:
			k.proposal = e.Proposal.ProposalID
		case negotiation.Opened:
			k.demand = e.DemandID
		case agreement.Received:
			k.agreement, k.requestor = e.AgreementID, e.Terms.Requestor
		}
		var f struct{ ActivityID, BatchID, DebitNoteID, InvoiceID string }
		_ = json.Unmarshal(r.Event.Data, &f)
		set := func(v *string, to string) {
			if to != "" {
				*v = to
			}
		}
		set(&k.activity, f.ActivityID)
		set(&k.batch, f.BatchID)
		set(&k.note, f.DebitNoteID)
		set(&k.invoice, f.InvoiceID)
	}
	return k
}

// messages are one of each kind that a node may be asked, about what it has
// with somebody else.
func (k ids) messages() []peer.Message {
	now := time.Now().UTC()
	text := peer.ProposalText{Constraints: "()", Created: now, Expires: now.Add(time.Hour), Properties: "{}"}
	text.ID = market.PairHash(k.offer, k.demand, now)
	return []peer.Message{
		peer.GetOffers{IDs: []string{k.offer}},
		peer.ListOffers{},
		peer.OffersAnnounced{
			Offers:    []peer.OfferDigest{{Expires: now.Add(time.Hour), ID: k.offer, Provider: k.provider}},
			Withdrawn: []peer.Withdrawal{{ID: k.offer, Provider: k.provider}},
		},
		peer.ProposalCountered{Prev: k.proposal, Proposal: text},
		peer.ProposalRejected{ProposalID: k.proposal, Reason: `{"message":"no"}`},
		peer.AgreementProposed{AgreementID: k.agreement, Created: now, ProposalID: k.proposal, Signature: "NoSignature", ValidTo: now.Add(time.Hour)},
		peer.AgreementApproved{AgreementID: k.agreement, ApprovedAt: now, Signature: "NoSignature"},
		peer.AgreementCommitted{AgreementID: k.agreement, Signature: "NoSignature"},
		peer.AgreementRejected{AgreementID: k.agreement, At: now, Reason: `{"message":"no"}`},
		peer.AgreementCancelled{AgreementID: k.agreement, At: now, Reason: `{"message":"no"}`},
		peer.AgreementTerminated{AgreementID: k.agreement, At: now, Reason: `{"message":"no"}`},
		peer.CreateActivity{AgreementID: k.agreement, RequestID: strings.Repeat("ab", 16), TimeoutMS: 1000},
		peer.DestroyActivity{ActivityID: k.activity, TimeoutMS: 1000},
		peer.GetActivityState{ActivityID: k.activity},
		peer.GetActivityUsage{ActivityID: k.activity},
		peer.Exec{ActivityID: k.activity, BatchID: strings.Repeat("cd", 16), Script: `[{"deploy":{}},{"start":{}}]`},
		peer.FollowBatch{ActivityID: k.activity, After: -1, BatchID: k.batch},
		peer.FileMetadata{FileID: "x"},
		peer.FileChunk{FileID: "x", Size: 10},
		peer.FileUpload{FileID: "x", Content: []byte("y")},
		peer.FileUploadFinished{FileID: "x", Hash: strings.Repeat("0", 64)},
		peer.DebitNote{
			ActivityID: k.activity, AgreementID: k.agreement, DebitNoteID: "00000000-0000-4000-8000-000000000001", PaymentPlatform: "erc20-hoodi-tglm",
			PayeeAddr: string(k.provider), PayerAddr: string(k.requestor), Timestamp: now, TotalAmountDue: "0.5", UsageCounterJSON: "[1]",
		},
		peer.Invoice{
			ActivityIDs: []string{k.activity}, AgreementID: k.agreement, Amount: "1", InvoiceID: "00000000-0000-4000-8000-000000000002",
			PaymentPlatform: "erc20-hoodi-tglm", PayeeAddr: string(k.provider), PayerAddr: string(k.requestor), PaymentDueDate: now.Add(time.Hour), Timestamp: now,
		},
		peer.DebitNoteAccepted{AgreementID: k.agreement, Amount: "0", DebitNoteID: k.note},
		peer.InvoiceAccepted{AgreementID: k.agreement, Amount: "0", InvoiceID: k.invoice},
		peer.DebitNoteRejected{AgreementID: k.agreement, DebitNoteID: k.note, Rejection: "{}"},
		peer.InvoiceRejected{AgreementID: k.agreement, InvoiceID: k.invoice, Rejection: "{}"},
		peer.InvoiceCancelled{AgreementID: k.agreement, InvoiceID: k.invoice},
		peer.PaymentSent{Canonical: []byte("{}"), Signature: make([]byte, 65)},
		peer.PaymentSyncNeeded{},
		peer.CosignCheckpoint{Note: "emet/" + string(k.requestor) + "/00\n1\nAAAA\n\n"},
		peer.AskCheckpoint{Origin: "emet/" + string(k.requestor) + "/00"},
	}
}

// harmless are requests that anybody may make; they change nothing.
var harmless = map[string]bool{
	peer.GetOffers{}.Kind(): true, peer.ListOffers{}.Kind(): true, peer.OffersAnnounced{}.Kind(): true, peer.PaymentSyncNeeded{}.Kind(): true,
	peer.AskCheckpoint{}.Kind(): true, // the answer is about the asker's own log
}

// Every message of a stranger, of one who claims to be somebody else, and
// every one that is broken in some way is refused and leaves no trace.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.deal(t)
	k, me, since := w.provider.known(t), w.provider.Identity(0), w.provider.head(t)
	if k.agreement == "" || k.activity == "" || k.batch == "" || k.invoice == "" || k.proposal == "" {
		t.Fatalf("%+v", k)
	}
	s := newStranger(t, w.provider, 66)
	for _, m := range k.messages() {
		a, err := s.say(t.Context(), s.envelope(s.who.ID, me, m))
		if r, no := refused(a, err); !no && !harmless[m.Kind()] {
			t.Errorf("%s of a stranger: %s %s", m.Kind(), a.Kind, a.Body)
		} else if r.Code == peer.Internal && serviceOf(m) != "file" {
			t.Errorf("%s of a stranger is our fault: %s", m.Kind(), r.Text)
		}
		forged := s.envelope(w.buyer.Identity(0), me, m)
		if a, err := s.say(t.Context(), forged); err != nil || a.Kind != enet.KindHello {
			t.Errorf("%s in the buyer's name: %s %s %v", m.Kind(), a.Kind, a.Body, err)
		}
	}
	covered := map[string]bool{}
	for _, m := range k.messages() {
		covered[m.Kind()] = true
	}
	answers := []string{
		"ack", "identity.hello", "market.offers", "market.open", "activity.created", "activity.state", "activity.usage",
		"activity.batch_event", "file.metadata", "file.chunk", "evidence.cosigned", "evidence.known",
	}
	for _, kind := range enet.Kinds() {
		if !covered[kind] && !slices.Contains(answers, kind) {
			t.Errorf("%s is not tried", kind)
		}
	}
	if wrote := w.provider.wroteFor(t, since, s.who.ID); len(wrote) > 0 {
		t.Errorf("a stranger made the node write %v", wrote)
	}
	if now := w.provider.wroteFor(t, since, w.buyer.Identity(0)); len(now) > 0 && slices.ContainsFunc(now, func(s string) bool { return strings.Contains(s, "rejected") || strings.Contains(s, "terminated") }) {
		t.Errorf("the buyer's name was misused: %v", now)
	}
	w.deal(t)
}

func serviceOf(m peer.Message) string { return enet.Service(m.Kind()) }

// nasty are values that no field should ever have.
var nasty = []string{
	`null`, `""`, `"\u0000"`, `"-1"`, `"NaN"`, `"1e400"`, `"0x"`, `-1`, `9223372036854775807`, `1e300`, `[]`, `{}`, `[[[[[[]]]]]]`, `true`,
	`"../../../../etc/passwd"`, `"` + strings.Repeat("A", 40_000) + `"`, `"9999-12-31T23:59:59.999999999Z"`, `"0001-01-01T00:00:00Z"`,
	`"P-` + strings.Repeat("f", 64) + `"`, `"\ud800"`, `"{\"a\":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}"`,
}

// mutants replaces each field of a message, also nested ones, by each nasty value.
func mutants(t testing.TB, m peer.Message) (out [][]byte) {
	t.Helper()
	b, err := es.CanonicalJSON(m)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	for _, field := range slices.Sorted(maps.Keys(tree)) {
		old := tree[field]
		for _, v := range nasty {
			tree[field] = json.RawMessage(v)
			body, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, body)
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(old, &inner) == nil {
			for _, f := range slices.Sorted(maps.Keys(inner)) {
				was := inner[f]
				for _, v := range nasty {
					inner[f] = json.RawMessage(v)
					nested, _ := json.Marshal(inner)
					tree[field] = nested
					body, _ := json.Marshal(tree)
					out = append(out, body)
				}
				inner[f] = was
			}
		}
		tree[field] = old
	}
	return out
}

// crowd is many hosts of one identity, so that no host's pace is in the way.
type crowd []*stranger

func newCrowd(t *testing.T, to *member, person byte, hosts int) crowd {
	var c crowd
	for range hosts {
		c = append(c, newStranger(t, to, person))
	}
	return c
}

// shout sends all bodies at once and counts the answers by what they are.
func (c crowd) shout(ctx context.Context, to identity.NodeID, kind string, bodies [][]byte) map[string]int {
	var (
		mu  sync.Mutex
		wg  sync.WaitGroup
		got = map[string]int{}
	)
	for i, s := range c {
		for range 8 {
			wg.Go(func() {
				for {
					mu.Lock()
					if len(bodies) == 0 {
						mu.Unlock()
						return
					}
					body := bodies[0]
					bodies = bodies[1:]
					mu.Unlock()
					s := c[i]
					a, err := s.say(ctx, s.raw(s.who.ID, to, kind, body))
					what := a.Kind
					if r, no := refused(a, err); no {
						what = string(r.Code)
					}
					mu.Lock()
					got[what]++
					mu.Unlock()
				}
			})
		}
		_ = s
	}
	wg.Wait()
	return got
}

// The other party of a deal may say any nonsense about it: nothing breaks, and
// what it says is refused or means nothing.
func TestAPartyMaySayAnyNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := newCrowd(t, w.provider, 67, 8)
	d := c[len(c)-1].rents(t, w.provider) // where the node heard of the identity last
	me := w.provider.Identity(0)
	k := d.ids(t, w.provider)
	before := w.provider.head(t)
	sent := 0
	for _, m := range k.messages() {
		switch m.Kind() {
		case peer.AgreementTerminated{}.Kind(), peer.OffersAnnounced{}.Kind():
			continue // it may end its own deal; announcements are tried elsewhere
		}
		bodies := mutants(t, m)
		sent += len(bodies)
		got := c.shout(t.Context(), me, m.Kind(), bodies)
		if got[string(peer.Internal)] > 0 && serviceOf(m) != "file" {
			t.Errorf("%s: %v, which is our fault\n%s", m.Kind(), got, tail(grep(w.provider.logs.String(), "level=WARN")))
		}
	}
	if s, _, err := w.provider.Agreements.Load(t.Context(), agreement.StreamID(identity.Provider, d.agreement)); err != nil || s.Phase != agreement.PhaseApproved {
		t.Errorf("the deal is %s %v", s.Phase, err)
	}
	if n := w.provider.head(t) - before; n > 200 {
		t.Errorf("%d broken messages made %d facts: %v", sent, n, w.provider.wroteFor(t, before, c[0].who.ID))
	}
	t.Logf("%d broken messages, %d facts", sent, w.provider.head(t)-before)
	w.deal(t)
}

func grep(s, what string) string {
	var out []string
	for line := range strings.Lines(s) {
		if strings.Contains(line, what) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// agreed is a deal of a stranger who plays by the rules so far.
type agreed struct {
	offer, demand, agreement, proposal string
	with                               identity.NodeID
}

func (a agreed) ids(t *testing.T, m *member) ids {
	k := m.known(t)
	k.agreement, k.proposal, k.demand = a.agreement, a.proposal, a.demand
	k.activity, k.note, k.invoice = strings.Repeat("ee", 16), "00000000-0000-4000-8000-000000000003", "00000000-0000-4000-8000-000000000004"
	k.batch = strings.Repeat("dd", 16)
	return k
}

// demand is a text that the provider's offer matches.
func demand(s *stranger) (properties, constraints string) {
	p, _ := json.Marshal(map[string]any{
		"golem.srv.comp.expiration": time.Now().Add(30 * time.Minute).UnixMilli(), "golem.srv.comp.task_package": "hash:sha3:00:http://127.0.0.1:1/x",
		"golem.node.debug.subnet": "public", "golem.srv.caps.multi-activity": true,
		"golem.com.payment.platform.erc20-hoodi-tglm.address": string(s.who.ID), "golem.com.payment.protocol.version": "2",
		"golem.com.payment.chosen-platform": "erc20-hoodi-tglm", "golem.com.scheme.payu.debit-note.interval-sec?": 120,
		"golem.com.scheme.payu.payment-timeout-sec?": 43200, "golem.com.payment.debit-notes.accept-timeout?": 120,
	})
	return string(p), "(&(golem.com.pricing.model=linear)(golem.node.debug.subnet=public)(golem.runtime.name=wasmtime))"
}

// opening begins a negotiation about an offer.
func (s *stranger) opening(offerID, properties, constraints string) peer.ProposalOpened {
	now := time.Now().UTC()
	demandID := market.SubscriptionID(strings.Repeat("ab", 16), market.Content{
		Properties: properties, Constraints: constraints, Owner: s.who.ID, Created: now, Expires: now.Add(time.Hour),
	})
	return peer.ProposalOpened{DemandExpires: now.Add(time.Hour), DemandID: demandID, OfferID: offerID, Proposal: peer.ProposalText{
		Constraints: constraints, Created: now, Expires: now.Add(time.Hour), ID: market.PairHash(offerID, demandID, now), Properties: properties,
	}}
}

// must sends a message that the node has to take.
func (s *stranger) must(t *testing.T, to identity.NodeID, m peer.Message) {
	t.Helper()
	a, err := s.say(t.Context(), s.envelope(s.who.ID, to, m))
	if r, no := refused(a, err); no {
		t.Fatalf("%s: %s %s", m.Kind(), r.Code, r.Text)
	}
}

// rents makes an agreement with a provider.
func (s *stranger) rents(t *testing.T, m *member) agreed {
	t.Helper()
	me, offerID := m.Identity(0), m.known(t).offer
	properties, constraints := demand(s)
	open := s.opening(offerID, properties, constraints)
	s.must(t, me, open)
	counter := waitFor(t, s, func(c peer.ProposalCountered) bool { return c.Prev == open.Proposal.ID })
	created := time.Now().UTC()
	p := peer.AgreementProposed{
		AgreementID: market.PairHash(offerID, open.DemandID, created), Created: created, ProposalID: counter.Proposal.ID,
		Signature: "emet1:" + strings.Repeat("00", 65), ValidTo: created.Add(20 * time.Minute),
	}
	if a, err := s.say(t.Context(), s.envelope(s.who.ID, me, p)); a.Kind != enet.KindRefusal {
		t.Errorf("a proposal with a false signature: %s %s %v", a.Kind, a.Body, err)
	}
	p.Signature = "NoSignature"
	s.must(t, me, p)
	waitFor(t, s, func(a peer.AgreementApproved) bool { return a.AgreementID == p.AgreementID })
	commit := peer.AgreementCommitted{AgreementID: p.AgreementID, Signature: "emet1:" + strings.Repeat("11", 65)}
	if a, err := s.say(t.Context(), s.envelope(s.who.ID, me, commit)); a.Kind != enet.KindRefusal {
		t.Errorf("a commit with a false signature: %s %s %v", a.Kind, a.Body, err)
	}
	commit.Signature = "NoSignature"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		a, err := s.say(ctx, s.envelope(s.who.ID, me, commit))
		if _, no := refused(a, err); !no {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("commit: %s %v", a.Body, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return agreed{offer: offerID, demand: open.DemandID, agreement: p.AgreementID, proposal: counter.Proposal.ID, with: me}
}

// An envelope counts once, for the one it is addressed to, on the network it
// names, in its time, with the signature of the host that sends it.
func TestEnvelopesCountOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s, other := newStranger(t, w.provider, 68), newStranger(t, w.provider, 69)
	me := w.provider.Identity(0)
	properties, constraints := demand(s)
	open := s.opening(w.provider.known(t).offer, properties, constraints)
	e := s.envelope(s.who.ID, me, open)
	sign := func(key ed25519.PrivateKey) func([]byte) ([]byte, error) {
		return func(d []byte) ([]byte, error) { return ed25519.Sign(key, d), nil }
	}
	frame, err := e.Marshal(sign(s.key))
	if err != nil {
		t.Fatal(err)
	}
	since := w.provider.head(t)
	opened := func() (n int) {
		for _, typ := range w.provider.wroteFor(t, since, s.who.ID) {
			if typ == "negotiation.opened.v1" {
				n++
			}
		}
		return n
	}
	for name, bad := range map[string]func() ([]byte, error){
		"unsigned":        func() ([]byte, error) { return e.Marshal(nil) },
		"another's key":   func() ([]byte, error) { return e.Marshal(sign(other.key)) },
		"another network": func() ([]byte, error) { x := e; x.Network = "public"; return x.Marshal(sign(s.key)) },
		"to nobody here":  func() ([]byte, error) { x := e; x.To = nettest.Person(1).ID; return x.Marshal(sign(s.key)) },
		"long expired":    func() ([]byte, error) { x := e; x.Expires = time.Now().Add(-time.Hour); return x.Marshal(sign(s.key)) },
		"of the future":   func() ([]byte, error) { x := e; x.SentAt = time.Now().Add(time.Hour); return x.Marshal(sign(s.key)) },
		"for ever": func() ([]byte, error) {
			x := e
			x.Expires = time.Now().Add(240 * time.Hour)
			return x.Marshal(sign(s.key))
		},
		"one bit is wrong":  func() ([]byte, error) { b := slices.Clone(frame); b[len(b)/2] ^= 1; return b, nil },
		"cut short":         func() ([]byte, error) { return frame[:len(frame)-10], nil },
		"nothing":           func() ([]byte, error) { return nil, nil },
		"a kind of another": func() ([]byte, error) { x := e; x.Kind = "payment.paid"; return x.Marshal(sign(s.key)) },
	} {
		b, err := bad()
		if err != nil {
			t.Fatal(err)
		}
		if a, err := s.send(t.Context(), "market", b); err == nil && a.Kind != enet.KindRefusal && a.Kind != enet.KindHello {
			t.Errorf("%s: %s %s", name, a.Kind, a.Body)
		}
	}
	if _, err := other.send(t.Context(), "market", frame); err == nil {
		t.Error("another host may send what the first has signed")
	}
	if n := opened(); n != 0 {
		t.Fatalf("%d negotiations of bad envelopes", n)
	}
	for range 5 {
		if a, err := s.send(t.Context(), "market", frame); err != nil || a.Kind != "ack" {
			t.Fatalf("%s %s %v", a.Kind, a.Body, err)
		}
	}
	if n := opened(); n != 1 {
		t.Errorf("one envelope sent five times opened %d negotiations", n)
	}
	changed := e
	changed.Body = []byte(strings.Replace(string(e.Body), `"offerId"`, `"offerID"`, 1))
	if a, err := s.say(t.Context(), changed); err != nil || a.Kind != enet.KindRefusal {
		t.Errorf("another message under the same id: %s %v", a.Kind, err)
	}
}
