package evidence

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// cheats are the lies that a history may hold; each is what one side did wrong.
type cheats struct {
	terms      bool // the owner changed the price after both signed
	otherNote  bool // a note that is not its reading
	lowNote    bool // a note below the one before
	overcharge bool // more than usage × price
	invoice    bool // an invoice beyond the notes
	acceptance bool // the other party's acceptance, made by the owner
	proof      bool // a payment document signed by somebody else
	payee      bool // a transfer to somebody else
	reverted   bool // a transaction that failed
	short      bool // a transfer over less
	cosigner   bool // a cosignature of somebody else
	fork       bool // a cosigned checkpoint of another history
	wrongID    bool // an agreement under another id
	ends       bool // a command that ended twice
	garble     func(data []byte) []byte
	otherBlock bool   // a block that is not what its header says
	lateBlock  bool   // a block that is younger than what is cosigned after it
	quarrel    string // what the other party did: "forked", "later", "rolled-back"
	accusation string // what it did not do
}

// progress says how far a deal came.
type progress struct {
	activities, notes     int
	signed, envelopes     bool
	invoiced, accepted    bool
	paid, chain, cosigned bool
	noise                 int
	blocks                bool
	conflict              string
}

// whole is a deal of which nothing is missing.
func whole(r *rand.Rand) progress {
	return progress{
		activities: 1 + r.IntN(2), notes: 1 + r.IntN(3), signed: true, envelopes: true, invoiced: true, accepted: true, paid: true,
		chain: true, cosigned: true, noise: r.IntN(6), blocks: true, conflict: []string{"", "", "", "forked", "later", "rolled-back"}[r.IntN(6)],
	}
}

// any is an honest deal that may have stopped anywhere.
func anyhow(r *rand.Rand) progress {
	p := whole(r)
	if r.IntN(3) == 0 {
		return p
	}
	flip := func(b *bool) { *b = *b && r.IntN(5) > 0 }
	flip(&p.signed)
	flip(&p.envelopes)
	flip(&p.invoiced)
	flip(&p.accepted)
	flip(&p.cosigned)
	flip(&p.chain)
	flip(&p.blocks)
	if r.IntN(6) == 0 {
		p.activities, p.notes = r.IntN(3), r.IntN(2)
	}
	p.paid = p.accepted && r.IntN(5) > 0
	return p
}

// world is a deal as its owner's log tells it.
type world struct {
	r             *rand.Rand
	side          identity.Side
	own, other    *party
	buyer, seller *party
	log           *chronicle
	terms         agreement.Terms
	id            string
	how           progress
	lies          cheats
	prices        []string
	transfer      *onchain.Inclusion
	paidBy        string // the payment and its transaction
	paidIn        string
	total         money.Amount
	acts          []string
}

var parties = []*party{newParty("ada"), newParty("bob"), newParty("eve"), newParty("joe")}

// newWorld makes a history of a seed.
func newWorld(seed uint64, shape func(*rand.Rand) progress, lies cheats) *world {
	return newWorldOf(seed, shape, lies, seed%2 == 1)
}

// newWorldOf makes the provider's history or the requestor's.
func newWorldOf(seed uint64, shape func(*rand.Rand) progress, lies cheats, provider bool) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &world{r: r, side: identity.Requestor, lies: lies, how: shape(r)}
	i := r.IntN(len(parties))
	w.buyer, w.seller = parties[i], parties[(i+1+r.IntN(len(parties)-1))%len(parties)]
	w.own, w.other = w.buyer, w.seller
	if provider {
		w.side, w.own, w.other = identity.Provider, w.seller, w.buyer
	}
	w.log = newChronicle(w.own)
	w.log.garble = lies.garble
	w.log.add(ledger.LogStream, ledger.Opened{Engine: "memory", LogID: hex.EncodeToString(w.own.logID[:])})
	w.log.add(ledger.LogStream, ledger.KeyAttested{
		Document: w.own.words[0].Document, Identity: string(w.own.id), LogID: hex.EncodeToString(w.own.logID[:]), Signature: w.own.words[0].Signature,
	})
	if w.how.envelopes {
		w.add(es.StreamOf(contact.Category, string(w.other.id)), contact.Met{Delegations: w.other.words[1:], Node: w.other.id})
	}
	if lies.quarrel != "" {
		w.how.conflict = lies.quarrel
	}
	w.beacon()
	w.negotiate()
	w.beacon()
	w.work()
	w.quarrel()
	w.settle()
	return w
}

// add appends a fact, and now and then one of another story before it.
func (w *world) add(s es.Stream, fact any) es.ID {
	if w.how.noise > 0 && w.r.IntN(10) < w.how.noise {
		w.log.add(es.Stream(fmt.Sprintf("demand-%d", w.r.IntN(3))), ledger.Repaired{Detail: "noise"})
	}
	return w.log.add(s, fact)
}

func (w *world) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.r.Uint32())
	}
	return hex.EncodeToString(b)
}

// raw is a message of the other party, unless the deal has none.
func (w *world) raw(kind string, body any) []byte {
	text, err := es.CanonicalJSON(body)
	if err != nil {
		panic(err)
	}
	if !w.how.envelopes {
		return text
	}
	return envelope(w.other, w.own, kind, string(text), w.log.now)
}

func (w *world) stream(category string) es.Stream {
	return es.StreamOf(category, string(w.side)+"-"+w.id)
}

func (w *world) negotiate() {
	r := w.r
	w.prices = []string{fmt.Sprintf("0.000%d", 1+r.IntN(9)), fmt.Sprintf("%de-5", 1+r.IntN(9)), "0.0"}
	at := w.log.now.Add(time.Duration(r.IntN(1e9)))
	t := agreement.Terms{
		Created: at, DemandConstraints: "(&(golem.runtime.name=wasmtime)\n\t(x>=0.5))", DemandID: w.hex(16) + "-" + w.hex(32),
		DemandProperties: `{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.x":"<&\u2028 ż>"}`, NegotiationID: w.hex(16),
		OfferConstraints: "()", OfferID: w.hex(16) + "-" + w.hex(32),
		OfferProperties: `{"golem.com.pricing.model.linear.coeffs":[` + strings.Join(w.prices, ",") + `],"golem.inf.mem.gib":16.0}`,
		ProposalID:      w.hex(32), Provider: w.seller.id, Requestor: w.buyer.id, ValidTo: at.Add(time.Hour),
	}
	w.terms, w.id = t, market.PairHash(t.OfferID, t.DemandID, t.Created)
	if w.lies.wrongID {
		w.id = w.hex(32)
	}
	wish := negotiation.Proposal{Constraints: t.DemandConstraints, Created: at, Expires: t.ValidTo, Properties: t.DemandProperties, ProposalID: w.hex(32)}
	draft := negotiation.Proposal{Constraints: t.OfferConstraints, Created: at, Expires: t.ValidTo, Properties: t.OfferProperties, ProposalID: t.ProposalID}
	first := negotiation.Proposal{Constraints: t.OfferConstraints, Created: at, Expires: t.ValidTo, Properties: "{}", ProposalID: w.hex(32)}
	s := es.StreamOf("negotiation", t.NegotiationID)
	w.add(s, negotiation.Opened{DemandID: t.DemandID, Initial: first, NegotiationID: t.NegotiationID, OfferID: t.OfferID, Provider: t.Provider, Requestor: t.Requestor, Side: w.side})
	steps := []struct {
		prev string
		p    negotiation.Proposal
		by   *party
		kind string
	}{{first.ProposalID, wish, w.buyer, "market.open"}, {wish.ProposalID, draft, w.seller, "market.counter"}}
	for _, step := range steps {
		if step.by == w.own {
			w.add(s, negotiation.CounterRequested{NegotiationID: t.NegotiationID, Prev: step.prev, Proposal: step.p})
			continue
		}
		body := map[string]any{"proposal": map[string]string{"constraints": step.p.Constraints, "id": step.p.ProposalID, "properties": step.p.Properties}}
		w.add(s, negotiation.CounterReceived{NegotiationID: t.NegotiationID, Prev: step.prev, Proposal: step.p, Raw: w.raw(step.kind, body)})
	}
	w.agree()
}

// sign is a statement over the terms as they were agreed.
func (w *world) sign(p *party, stage agreement.Stage) string {
	if !w.how.signed {
		return agreement.NoSignature
	}
	text, err := agreement.SigningInput(stage, w.id, w.terms)
	if err != nil {
		panic(err)
	}
	return p.statement(text)
}

func (w *world) agree() {
	s, id := w.stream("agreement"), w.id
	proposed, approved, committed := w.sign(w.buyer, agreement.StageProposed), w.sign(w.seller, agreement.StageApproved), w.sign(w.buyer, agreement.StageCommitted)
	terms := w.terms
	if w.lies.terms {
		terms.OfferProperties = strings.Replace(terms.OfferProperties, "[0.000", "[0.001", 1)
		w.prices[0] = strings.Replace(w.prices[0], "0.000", "0.001", 1)
	}
	said := func(sig string) map[string]string { return map[string]string{"agreementId": id, "signature": sig} }
	if w.side == identity.Requestor {
		w.add(s, agreement.Created{AgreementID: id, Side: w.side, Terms: terms})
		w.add(s, agreement.ConfirmationRequested{AgreementID: id, Side: w.side})
		w.add(s, agreement.Confirmed{AgreementID: id, Side: w.side, Signature: proposed})
		w.add(s, agreement.ApprovalReceived{AgreementID: id, ApprovedAt: w.log.now, Raw: w.raw("market.approve", said(approved)), Side: w.side, Signature: approved})
		w.add(s, agreement.CommitRequested{AgreementID: id, Side: w.side})
		w.add(s, agreement.Approved{AgreementID: id, Side: w.side, Signature: committed})
	} else {
		w.add(s, agreement.Received{AgreementID: id, Raw: w.raw("market.propose_agreement", said(proposed)), Side: w.side, Signature: proposed, Terms: terms})
		w.add(s, agreement.ApprovalRequested{AgreementID: id, ApprovedAt: w.log.now, Deadline: w.log.now, Side: w.side})
		w.add(s, agreement.ApprovalDelivered{AgreementID: id, Side: w.side, Signature: approved})
		w.add(s, agreement.Approved{AgreementID: id, Raw: w.raw("market.commit", said(committed)), Side: w.side, Signature: committed})
	}
	w.cosign()
}

// cosign lets the other party stand by the log as it is.
func (w *world) cosign() {
	if !w.how.cosigned {
		return
	}
	size, at := w.log.size(), w.log.now.Truncate(time.Second)
	c := w.log.checkpoint(size)
	by := w.other
	if w.lies.cosigner {
		by = newParty("mallory")
	}
	if w.lies.fork {
		c.Root[0] ^= 1
		c.Note = []byte(w.own.note(size, c.Root))
	}
	w.log.add(es.StreamOf(contact.Category, string(w.other.id)), contact.CheckpointCosigned{
		At: at, Attestation: w.other.words[0], By: w.other.id, Node: w.other.id, Note: by.cosign(string(c.Note), at),
		Origin: w.own.origin(), Root: c.Root.String(), Size: size,
	})
}

func (w *world) work() {
	for range w.how.activities {
		act := w.hex(16)
		w.acts = append(w.acts, act)
		s := es.StreamOf("activity", string(w.side)+"-"+act)
		w.add(s, activity.Created{ActivityID: act, AgreementID: w.id, Provider: w.seller.id, Requestor: w.buyer.id, Side: w.side})
		w.run(act)
		w.bill(act)
	}
	reason := agreement.Terminated{AgreementID: w.id, By: identity.Requestor, Reason: "{}", Side: w.side}
	if w.side == identity.Provider {
		reason.Raw = w.raw("market.terminate", map[string]string{"agreementId": w.id, "reason": "{}"})
	}
	w.add(w.stream("agreement"), reason)
}

// run is one batch of commands.
func (w *world) run(act string) {
	id := w.hex(16)
	s := es.Stream("batch-" + string(w.side) + "-" + act + "-" + id)
	n := int64(1 + w.r.IntN(2))
	w.add(s, batch.Accepted{ActivityID: act, AgreementID: w.id, BatchID: id, Commands: n, Script: `[{"run":{"env":{"A":"secret"}}}]`, Side: w.side})
	for i := range n {
		w.add(s, batch.CommandStarted{ActivityID: act, At: w.log.now, BatchID: id, Command: `{"run":{}}`, Index: i})
		w.add(s, batch.CommandOutput{ActivityID: act, At: w.log.now, BatchID: id, Bytes: []byte("hello " + id), Format: batch.Str, Index: i, Stream: batch.Stdout})
		w.add(s, batch.CommandFinished{ActivityID: act, At: w.log.now, BatchID: id, Index: i})
		if w.lies.ends {
			w.add(s, batch.CommandFinished{ActivityID: act, At: w.log.now, BatchID: id, Index: i, Code: 1})
		}
	}
	w.add(s, batch.Closed{ActivityID: act, At: w.log.now, BatchID: id, Outcome: batch.Done})
}

// build makes the owner's dossier.
func (w *world) build(redact ...string) dossier.Built { return w.buildFrom(w.source(), redact...) }

func (w *world) source() dossier.Source {
	src := dossier.Source{
		Log: &es.Log{Store: w.log, Codec: lenient{registry}, Sealer: w.log}, Ledger: w.log, Entry: w.log.entry, EventKey: eventKey,
		Sign: func(text []byte) ([]byte, error) { return w.own.log.Sign(nil, text, cryptoNone) },
	}
	if w.how.chain && w.transfer != nil {
		src.Inclusion = func(context.Context, uint64, onchain.Hash) (*onchain.Inclusion, error) { return w.transfer, nil }
	}
	return src
}

func (w *world) buildFrom(src dossier.Source, redact ...string) dossier.Built {
	b, err := dossier.Build(context.Background(), src, dossier.Wish{Agreement: w.id, Redact: redact})
	if err != nil {
		panic(err)
	}
	return b
}
