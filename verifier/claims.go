package verifier

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// uuid is an event id as facts name it.
func uuid(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

var notShown = lacks("the agreement is not shown once")

func (x *examiner) agreementID() verdict {
	if x.agreements != 1 {
		return notShown
	}
	t := x.terms.Created.UTC()
	sum := sha3.Sum256([]byte(x.terms.OfferID + x.terms.DemandID + t.Format("2006-01-02 15:04:") + fmt.Sprintf("%09d", t.Nanosecond())))
	if hex.EncodeToString(sum[:]) != x.Agreement {
		return no("the id is not the hash that it must be")
	}
	return yes
}

func (x *examiner) lastProposals() verdict {
	if x.agreements != 1 {
		return notShown
	}
	offer, ok1 := x.proposals[x.terms.ProposalID]
	demand, ok2 := x.proposals[offer.prev]
	switch {
	case !ok1, !ok2:
		return lacks("the negotiation is not shown")
	case offer.constraints != x.terms.OfferConstraints, offer.properties != x.terms.OfferProperties,
		demand.constraints != x.terms.DemandConstraints, demand.properties != x.terms.DemandProperties:
		return no("the terms are not what was proposed")
	}
	return yes
}

// statement is what a party signs about the agreement at a stage.
func (x *examiner) statement(stage string) [32]byte {
	w := new(writer)
	w.WriteString("emet/agreement/1\x00emet agreement " + stage + " v1\n")
	t := x.terms
	w.object(func(o *object) {
		o.text("agreementId", x.id)
		o.text("created", t.Created.UTC().Format(time.RFC3339Nano))
		o.field("demand", true, func() {
			w.object(func(o *object) {
				o.text("constraints", t.DemandConstraints)
				o.text("id", t.DemandID)
				o.text("properties", t.DemandProperties)
				o.text("requestor", t.Requestor)
			})
		})
		o.field("offer", true, func() {
			w.object(func(o *object) {
				o.text("constraints", t.OfferConstraints)
				o.text("id", t.OfferID)
				o.text("properties", t.OfferProperties)
				o.text("provider", t.Provider)
			})
		})
		o.text("validTo", t.ValidTo.UTC().Format(time.RFC3339Nano))
	})
	return sha256.Sum256(w.Bytes())
}

func (x *examiner) statements(party string, stages ...string) verdict {
	if x.agreements != 1 {
		return notShown
	}
	for _, stage := range stages {
		text := x.signatures[stage]
		if text == "" {
			return lacks("nobody signed it as %s", stage)
		}
		digits, ok := strings.CutPrefix(text, "emet1:")
		b, err := hex.DecodeString(digits)
		if !ok || err != nil || digits != hex.EncodeToString(b) {
			return no("the signature as %s is malformed", stage)
		}
		if who, err := signer(x.statement(stage), b); err != nil || who != party {
			return no("somebody else signed it as %s", stage)
		}
	}
	return yes
}

// message is an envelope, taken apart.
type message struct {
	from, to, kind string
	sent           time.Time
	body, sig      []byte
	digest         [32]byte
}

// readMessage reads protocol-buffer fields in growing order; 15, the
// signature, is the last and covers what is before it.
func readMessage(b []byte) (m message, ok bool) {
	varint := func(at int) (n uint64, next int) {
		for shift := 0; at < len(b) && shift < 64; shift += 7 {
			c := b[at]
			at++
			n |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return n, at
			}
		}
		return 0, -1
	}
	last := uint64(0)
	for at := 0; at < len(b); {
		begin := at
		var tag, n uint64
		if tag, at = varint(at); at < 0 || tag>>3 <= last || last == 15 {
			return m, false
		}
		last = tag >> 3
		if n, at = varint(at); at < 0 {
			return m, false
		}
		switch tag & 7 {
		case 0:
			if n >= 1<<53 {
				return m, false
			}
			if last == 5 {
				m.sent = time.UnixMicro(int64(n))
			}
		case 2:
			if n > uint64(len(b)-at) {
				return m, false
			}
			value := b[at : at+int(n)]
			at += int(n)
			if (last == 3 || last == 4) && n != 20 {
				return m, false
			}
			switch last {
			case 3:
				m.from = "0x" + hex.EncodeToString(value)
			case 4:
				m.to = "0x" + hex.EncodeToString(value)
			case 10:
				m.kind = string(value)
			case 11:
				m.body = value
			case 15:
				m.sig, m.digest = value, sha256.Sum256(append([]byte("emet/envelope/1\x00"), b[:begin]...))
			}
		default:
			return m, false
		}
	}
	return m, m.sig != nil
}

// kindOf names the messages that make a fact.
var kindOf = map[string]string{
	"negotiation.counter_received": "market.open market.counter",
	"agreement.received":           "market.propose_agreement", "agreement.approval_received": "market.approve",
	"agreement.approved": "market.commit", "agreement.rejected": "market.reject_agreement",
	"agreement.cancelled": "market.cancel", "agreement.terminated": "market.terminate",
	"bill.note_received": "payment.debit_note", "bill.invoice_received": "payment.invoice",
	"bill.note_accepted_by_peer": "payment.accept_debit_note", "bill.invoice_accepted_by_peer": "payment.accept_invoice",
	"bill.note_rejected_by_peer": "payment.reject_debit_note", "bill.invoice_rejected_by_peer": "payment.reject_invoice",
	"bill.invoice_cancelled_by_peer": "payment.cancel_invoice",
}

// readMessages checks what the other party said.
func (x *examiner) readMessages() verdict {
	switch {
	case x.agreements != 1:
		return notShown
	case len(x.heard) == 0:
		return lacks("there is no message of the other party")
	}
	worst := yes
	for _, f := range x.heard {
		switch v := x.message(f); v.is {
		case Disproved:
			return v
		case Missing:
			worst = v
		}
	}
	return worst
}

func (x *examiner) message(f fact) verdict {
	c, _ := f.read()
	if len(c.Raw) == 0 || c.Raw[0] == '{' {
		return lacks("position %d has no signed message", f.position)
	}
	m, v := x.delivered(c.Raw, kindOf[f.name()])
	switch {
	case v.is != Proved:
		return v
	case !agrees(f.name(), c, m.body):
		return no("the message of position %d says something else", f.position)
	}
	return yes
}

// agrees compares a fact with the body of its message.
func agrees(name string, c content, body []byte) bool {
	var m struct {
		ActivityID  string   `json:"activityId"`
		ActivityIDs []string `json:"activityIds"`
		AgreementID string   `json:"agreementId"`
		Amount      string   `json:"amount"`
		DebitNoteID string   `json:"debitNoteId"`
		Due         string   `json:"totalAmountDue"`
		InvoiceID   string   `json:"invoiceId"`
		Proposal    struct {
			Constraints string `json:"constraints"`
			ID          string `json:"id"`
			Properties  string `json:"properties"`
		} `json:"proposal"`
		Signature string `json:"signature"`
		Usage     string `json:"usageCounterVector"`
	}
	if json.Unmarshal(body, &m) != nil {
		return false
	}
	equal := func(text string) bool {
		if c.AmountText != "" {
			return c.AmountText == text
		}
		r, ok := decimal(text)
		return ok && c.wei != nil && r.Mul(r, places).Cmp(new(big.Rat).SetInt(c.wei)) == 0
	}
	if name == "negotiation.counter_received" {
		return c.Proposal != nil && m.Proposal.ID == c.Proposal.ProposalID && m.Proposal.Properties == c.Proposal.Properties && m.Proposal.Constraints == c.Proposal.Constraints
	}
	ok := m.AgreementID == c.AgreementID
	if strings.HasPrefix(name, "bill.") {
		ok = ok && m.DebitNoteID == c.DebitNoteID && m.InvoiceID == c.InvoiceID
	}
	var signature string
	_ = json.Unmarshal(c.Signature, &signature) // facts without one have none
	switch name {
	case "agreement.received", "agreement.approval_received", "agreement.approved":
		return ok && m.Signature == signature
	case "bill.note_received":
		return ok && m.ActivityID == c.ActivityID && m.Usage == c.UsageVector && equal(m.Due)
	case "bill.invoice_received":
		return ok && slices.Equal(m.ActivityIDs, c.ActivityIDs) && equal(m.Amount)
	case "bill.note_accepted_by_peer", "bill.invoice_accepted_by_peer":
		return ok && equal(m.Amount)
	}
	return ok
}

func (x *examiner) commands() verdict {
	open := len(x.batches) == 0
	for name, b := range x.batches {
		if b.contradicts {
			return no("%s: a command ended in two ways", name)
		}
		open = open || b.closed == ""
		for _, i := range b.started {
			_, ended := b.ended[i]
			open = open || !ended && b.closed != "aborted"
		}
	}
	if open {
		return lacks("commands without an end, or none at all")
	}
	return yes
}

var noNotes = lacks("there is no debit note")

func (x *examiner) monotone() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	for i, n := range x.notes {
		for _, before := range x.notes[:i] {
			if before.activity == n.activity && before.amount.Cmp(n.amount) > 0 {
				return no("note %s asks for less than one before it", n.id)
			}
		}
	}
	return yes
}

func (x *examiner) usage() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	worst := yes
	for _, n := range x.notes {
		if n.vector == "" || n.theirs {
			continue
		}
		r, ok := x.readings[n.reading]
		if !ok {
			worst = lacks("the reading of note %s is not shown", n.id)
		} else if r != (reading{n.activity, n.vector}) {
			return no("note %s does not say what its reading says", n.id)
		}
	}
	if worst.is == Proved && x.Side == "R" {
		worst = x.letters()
	}
	return worst
}

// cost is the last price and the sum of the others times usage, in 10⁻¹⁸.
// Usage below zero counts as zero, and no price may be below zero.
func cost(prices, usage []json.Number) (*big.Int, bool) {
	if len(usage) != 0 && len(usage) != len(prices)-1 {
		return nil, false
	}
	sum, ok := decimal(prices[len(prices)-1].String())
	ok = ok && sum.Sign() >= 0
	for i := range usage {
		p, ok1 := decimal(prices[i].String())
		u, ok2 := decimal(usage[i].String())
		if ok = ok && ok1 && ok2 && p.Sign() >= 0; !ok {
			return nil, false
		}
		if u.Sign() > 0 {
			sum.Add(sum, p.Mul(p, u))
		}
	}
	if !ok {
		return nil, false
	}
	sum.Mul(sum, places)
	twice := new(big.Int).Add(new(big.Int).Lsh(sum.Num(), 1), sum.Denom()) // half up
	return twice.Div(twice, new(big.Int).Lsh(sum.Denom(), 1)), true
}

func (x *examiner) price() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	var properties map[string]json.RawMessage
	var prices []json.Number
	if json.Unmarshal([]byte(x.terms.OfferProperties), &properties) != nil ||
		json.Unmarshal(properties["golem.com.pricing.model.linear.coeffs"], &prices) != nil || len(prices) == 0 {
		return lacks("there are no linear prices")
	}
	highest := map[string]*big.Int{}
	for _, n := range x.notes {
		var usage []json.Number
		if n.vector != "" && json.Unmarshal([]byte(n.vector), &usage) != nil {
			usage = nil
		}
		want, ok := cost(prices, usage)
		if !ok {
			return no("note %s cannot be computed", n.id)
		}
		if before := highest[n.activity]; before != nil && before.Cmp(want) > 0 {
			want = before
		}
		if want.Cmp(n.amount) != 0 {
			return no("note %s is not usage × price", n.id)
		}
		highest[n.activity] = n.amount
	}
	return yes
}

// lastNotes are the newest note of each activity.
func (s story) lastNotes() map[string]bill {
	out := map[string]bill{}
	for _, n := range s.notes {
		out[n.activity] = n
	}
	return out
}

func (s story) invoice() *bill {
	for i := range s.invoices {
		if b := &s.invoices[len(s.invoices)-1-i]; !b.cancelled {
			return b
		}
	}
	return nil
}

func (x *examiner) invoiceAmount() verdict {
	invoice := x.invoice()
	if invoice == nil {
		return lacks("there is no invoice")
	}
	sum := new(big.Int)
	for _, n := range x.lastNotes() {
		sum.Add(sum, n.amount)
	}
	if sum.Cmp(invoice.amount) != 0 {
		if x.gaps {
			return lacks("the shown notes are not the invoice")
		}
		return no("the invoice is not the sum of the notes")
	}
	return yes
}

// owed is what was accepted of what is due; nil when not all of it was.
func (s story) owed() *big.Int {
	due := []bill{}
	if invoice := s.invoice(); invoice != nil {
		due = append(due, *invoice)
	} else {
		for _, n := range s.lastNotes() {
			due = append(due, n)
		}
	}
	sum := new(big.Int)
	for _, b := range due {
		if !slices.ContainsFunc(s.accepted, func(a accepted) bool { return a.id == b.id }) {
			return nil
		}
		sum.Add(sum, b.amount)
	}
	if len(due) == 0 {
		return nil
	}
	return sum
}

func (x *examiner) billsAccepted() verdict {
	hidden := false
	for _, a := range x.accepted {
		named := slices.DeleteFunc(slices.Concat(x.notes, x.invoices), func(b bill) bool { return b.id != a.id })
		if hidden = hidden || len(named) == 0; len(named) > 0 && named[0].amount.Cmp(a.amount) != 0 {
			return no("%s was accepted for another amount", a.id)
		}
	}
	if hidden {
		return lacks("a document that was accepted is not shown")
	}
	if x.owed() == nil {
		return lacks("not everything that is due was accepted")
	}
	return yes
}
