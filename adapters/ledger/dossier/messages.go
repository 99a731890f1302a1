package dossier

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/money"
)

// letter is an envelope as far as it matters: who said what to whom, and when.
type letter struct {
	from, to  identity.NodeID
	sent      time.Time
	kind      string
	body      []byte
	digest    [32]byte
	signature []byte
}

var errEnvelope = errors.New("it is no envelope")

// Field numbers of an envelope.
const (
	envelopeFrom      = 3
	envelopeTo        = 4
	envelopeSent      = 5
	envelopeKind      = 10
	envelopeBody      = 11
	envelopeSignature = 15
)

// readLetter reads an envelope: fields in growing order, the signature last.
func readLetter(b []byte) (l letter, err error) {
	rest, last := b, protowire.Number(0)
	for len(rest) > 0 {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 || num <= last || last == envelopeSignature {
			return l, errEnvelope
		}
		if num == envelopeSignature {
			l.digest = sha256.Sum256(append([]byte("emet/envelope/1\x00"), b[:len(b)-len(rest)]...))
		}
		last, rest = num, rest[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(rest)
			if n < 0 || v >= 1<<53 {
				return l, errEnvelope
			}
			if num == envelopeSent {
				l.sent = time.UnixMicro(int64(v)).UTC() //nolint:gosec // below 2^53
			}
			rest = rest[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(rest)
			if n < 0 {
				return l, errEnvelope
			}
			if err := l.set(num, v); err != nil {
				return l, err
			}
			rest = rest[n:]
		default:
			return l, errEnvelope
		}
	}
	if l.signature == nil {
		return l, errEnvelope
	}
	return l, nil
}

func (l *letter) set(num protowire.Number, v []byte) error {
	switch num {
	case envelopeFrom, envelopeTo:
		if len(v) != 20 {
			return errEnvelope
		}
		if num == envelopeFrom {
			l.from = identity.NodeIDFrom([20]byte(v))
		} else {
			l.to = identity.NodeIDFrom([20]byte(v))
		}
	case envelopeKind:
		l.kind = string(v)
	case envelopeBody:
		l.body = v
	case envelopeSignature:
		l.signature = v
	}
	return nil
}

// kinds of messages that make facts.
var kinds = map[string][]string{
	"negotiation.counter_received":   {"market.open", "market.counter"},
	"agreement.received":             {"market.propose_agreement"},
	"agreement.approval_received":    {"market.approve"},
	"agreement.approved":             {"market.commit"},
	"agreement.rejected":             {"market.reject_agreement"},
	"agreement.cancelled":            {"market.cancel"},
	"agreement.terminated":           {"market.terminate"},
	"bill.note_received":             {"payment.debit_note"},
	"bill.invoice_received":          {"payment.invoice"},
	"bill.note_accepted_by_peer":     {"payment.accept_debit_note"},
	"bill.invoice_accepted_by_peer":  {"payment.accept_invoice"},
	"bill.note_rejected_by_peer":     {"payment.reject_debit_note"},
	"bill.invoice_rejected_by_peer":  {"payment.reject_invoice"},
	"bill.invoice_cancelled_by_peer": {"payment.cancel_invoice"},
}

// readLetters checks what the other party said against what was written down.
func (c *checker) readLetters() answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	worst := proved("%d messages of %s are there as its node signed them", len(c.deal.messages), c.other())
	if len(c.deal.messages) == 0 {
		return missing("no message of the other party is shown")
	}
	for _, f := range c.deal.messages {
		switch a := c.message(f); a.verdict {
		case Disproved:
			return disproved("position %d, %s: %s", f.Position, f.name(), a.says)
		case Missing:
			worst = missing("position %d, %s: %s", f.Position, f.name(), a.says)
		case Proved:
		}
	}
	return worst
}

func (c *checker) message(f fact) answer {
	var s said
	if json.Unmarshal(f.data, &s) != nil || len(s.Raw) == 0 {
		return missing("it was not kept as it came")
	}
	if s.Raw[0] == '{' {
		return missing("it came without an envelope")
	}
	l, err := readLetter(s.Raw)
	switch {
	case err != nil:
		return disproved("%v", err)
	case l.from != c.other() || l.to != c.owner:
		return disproved("it is from %s to %s", l.from, l.to)
	case !slices.Contains(kinds[f.name()], l.kind):
		return disproved("it is a %s", l.kind)
	}
	if a := c.hosted(l); a.verdict != Proved {
		return a
	}
	if !same(f, s, l.body) {
		return disproved("it says something else than was written down")
	}
	return proved("")
}

// hosted checks the signature with the host keys that the sender vouches for.
func (c *checker) hosted(l letter) answer {
	known := false
	for _, v := range c.vouched {
		if v.Role != delegation.Host || v.Identity != l.from || !v.at(l.sent) {
			continue
		}
		public, err := hex.DecodeString(strings.TrimPrefix(v.PublicKey, "08011220"))
		if err != nil || len(public) != ed25519.PublicKeySize || len(v.PublicKey) != 8+2*ed25519.PublicKeySize {
			continue
		}
		known = true
		if ed25519.Verify(public, l.digest[:], l.signature) {
			return proved("")
		}
	}
	if known {
		return disproved("no host of %s signed it", l.from)
	}
	return missing("nobody vouches for the host that sent it")
}

// body is every field of messages that matters here.
type body struct {
	ActivityID  string   `json:"activityId"`
	ActivityIDs []string `json:"activityIds"`
	AgreementID string   `json:"agreementId"`
	Amount      string   `json:"amount"`
	DebitNoteID string   `json:"debitNoteId"`
	InvoiceID   string   `json:"invoiceId"`
	Proposal    struct {
		Constraints string `json:"constraints"`
		ID          string `json:"id"`
		Properties  string `json:"properties"`
	} `json:"proposal"`
	Signature string `json:"signature"`
	Total     string `json:"totalAmountDue"`
	Usage     string `json:"usageCounterVector"`
}

// same says whether a fact says what the message said.
func same(f fact, s said, message []byte) bool {
	var m body
	if json.Unmarshal(message, &m) != nil {
		return false
	}
	if f.name() == "negotiation.counter_received" {
		p := s.Proposal
		return p != nil && p.Constraints == m.Proposal.Constraints && p.Properties == m.Proposal.Properties && p.ProposalID == m.Proposal.ID
	}
	if s.AgreementID != m.AgreementID {
		return false
	}
	switch f.name() {
	case "agreement.received", "agreement.approval_received", "agreement.approved":
		return s.text() == m.Signature
	case "agreement.rejected", "agreement.cancelled", "agreement.terminated":
		return true
	case "bill.note_received":
		return s.ActivityID == m.ActivityID && s.DebitNoteID == m.DebitNoteID && s.UsageVector == m.Usage && sameAmount(s, m.Total)
	case "bill.invoice_received":
		return slices.Equal(s.ActivityIDs, m.ActivityIDs) && s.InvoiceID == m.InvoiceID && sameAmount(s, m.Amount)
	case "bill.note_accepted_by_peer", "bill.invoice_accepted_by_peer":
		return s.DebitNoteID == m.DebitNoteID && s.InvoiceID == m.InvoiceID && sameAmount(s, m.Amount)
	}
	return s.DebitNoteID == m.DebitNoteID && s.InvoiceID == m.InvoiceID
}

func sameAmount(s said, text string) bool {
	if s.AmountText != "" {
		return s.AmountText == text
	}
	d, err := money.ParseDecimal(text)
	return err == nil && s.Amount != nil && s.Amount.Decimal().Equal(d)
}
