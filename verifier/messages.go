package verifier

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
)

// message is an envelope, taken apart.
type message struct {
	from, to, kind string
	sent           time.Time
	body, sig      []byte
	digest         [32]byte
}

// Fields of an envelope that count here.
const (
	fieldFrom      = 3
	fieldTo        = 4
	fieldSent      = 5
	fieldKind      = 10
	fieldBody      = 11
	fieldSignature = 15
)

// readMessage reads protocol-buffer fields in growing order; the signature is
// the last and covers what is before it.
func readMessage(b []byte) (m message, ok bool) {
	last := uint64(0)
	for rest := b; len(rest) > 0; {
		before := b[:len(b)-len(rest)]
		var f wireField
		if f, rest, ok = readField(rest); !ok || f.tag <= last || last == fieldSignature || !m.set(f, before) {
			return m, false
		}
		last = f.tag
	}
	return m, m.sig != nil
}

// wireField is a field of a protocol-buffer message: a number or bytes.
type wireField struct {
	tag    uint64
	number uint64
	bytes  []byte // nil for a number
}

// readField reads the first field of b.
func readField(b []byte) (f wireField, rest []byte, ok bool) {
	key, n := binary.Uvarint(b)
	if n <= 0 {
		return f, nil, false
	}
	number, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return f, nil, false
	}
	f.tag, rest = key>>3, b[n+m:]
	switch key & 7 {
	case 0:
		f.number = number
		return f, rest, number < 1<<53
	case 2:
		if number > uint64(len(rest)) {
			return f, nil, false
		}
		f.bytes = rest[:number]
		return f, rest[number:], true
	}
	return f, nil, false
}

// set takes over what a field says; before is all that the envelope has before
// it.
func (m *message) set(f wireField, before []byte) bool {
	if f.bytes == nil {
		if f.tag == fieldSent {
			m.sent = time.UnixMicro(int64(f.number)) //nolint:gosec // below 2^53
		}
		return true
	}
	switch f.tag {
	case fieldFrom:
		m.from = "0x" + hex.EncodeToString(f.bytes)
		return len(f.bytes) == 20
	case fieldTo:
		m.to = "0x" + hex.EncodeToString(f.bytes)
		return len(f.bytes) == 20
	case fieldKind:
		m.kind = string(f.bytes)
	case fieldBody:
		m.body = f.bytes
	case fieldSignature:
		m.sig, m.digest = f.bytes, sha256.Sum256(append([]byte("emet/envelope/1\x00"), before...))
	}
	return true
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

// body is what messages say that matters.
type body struct {
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

// agrees compares a fact with the body of its message.
func agrees(name string, c content, text []byte) bool {
	var m body
	if json.Unmarshal(text, &m) != nil {
		return false
	}
	if name == "negotiation.counter_received" {
		p := c.Proposal
		return p != nil && m.Proposal.ID == p.ProposalID && m.Proposal.Properties == p.Properties && m.Proposal.Constraints == p.Constraints
	}
	if m.AgreementID != c.AgreementID {
		return false
	}
	switch name {
	case "agreement.received", "agreement.approval_received", "agreement.approved":
		return m.Signature == c.text()
	case "agreement.rejected", "agreement.cancelled", "agreement.terminated":
		return true
	case "bill.note_received":
		return m.DebitNoteID == c.DebitNoteID && m.ActivityID == c.ActivityID && m.Usage == c.UsageVector && c.asks(m.Due)
	case "bill.invoice_received":
		return m.InvoiceID == c.InvoiceID && slices.Equal(m.ActivityIDs, c.ActivityIDs) && c.asks(m.Amount)
	}
	if m.DebitNoteID != c.DebitNoteID || m.InvoiceID != c.InvoiceID {
		return false
	}
	accepts := name == "bill.note_accepted_by_peer" || name == "bill.invoice_accepted_by_peer"
	return !accepts || c.asks(m.Amount)
}

// asks says whether a fact is about an amount: as text if it kept one.
func (c content) asks(text string) bool {
	if c.AmountText != "" {
		return c.AmountText == text
	}
	r, ok := decimal(text)
	return ok && c.wei != nil && r.Mul(r, places).Cmp(new(big.Rat).SetInt(c.wei)) == 0
}

// delivered opens a message of one of some kinds from the other party to the owner.
func (x *examiner) delivered(b []byte, kinds string) (message, verdict) {
	m, ok := readMessage(b)
	if !ok || m.from != x.other() || m.to != x.owner || !slices.Contains(strings.Fields(kinds), m.kind) {
		return m, no("it is no such message of the other party")
	}
	hosts := 0
	for _, d := range x.delegations {
		if k, ok := d.ed25519(); ok && d.Role == "host" && d.Identity == m.from && d.covers(m.sent) {
			hosts++
			if ed25519.Verify(k, m.digest[:], m.sig) {
				return m, yes
			}
		}
	}
	if hosts == 0 {
		return m, lacks("nobody vouches for a host of the other party")
	}
	return m, no("the message was not signed")
}
