package verifier

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fact is an event with its content, nil when that is withheld.
type fact struct {
	leaf
	data []byte
}

func (f fact) name() string { return strings.TrimSuffix(f.kind, ".v1") }

// story is what the facts of one deal say.
type story struct {
	id         string
	agreements int
	terms      terms
	signatures map[string]string
	proposals  map[string]proposed
	heard      []fact // made by messages of the other party
	notes      []bill
	invoices   []bill
	accepted   []accepted
	paid       []paid
	papers     map[string]paper
	readings   map[string]reading // by event id
	batches    map[string]*batch
	newest     map[string]uint64 // position of the last of each group that is cosigned
}

// terms are what both agreed on.
type terms struct {
	Created           time.Time `json:"created"`
	DemandConstraints string    `json:"demandConstraints"`
	DemandID          string    `json:"demandId"`
	DemandProperties  string    `json:"demandProperties"`
	OfferConstraints  string    `json:"offerConstraints"`
	OfferID           string    `json:"offerId"`
	OfferProperties   string    `json:"offerProperties"`
	ProposalID        string    `json:"proposalId"`
	Provider          string    `json:"provider"`
	Requestor         string    `json:"requestor"`
	ValidTo           time.Time `json:"validTo"`
}

type proposed struct{ constraints, properties, prev string }

// bill is a debit note or an invoice.
type bill struct {
	id, activity, vector, reading string   // of an invoice only the id
	activities                    []string // of an invoice
	amount                        *big.Int
	theirs, cancelled             bool
}

type accepted struct {
	id     string
	amount *big.Int
}

type paid struct{ id, tx string }

// paper is a payment as the payer signed it.
type paper struct{ document, signature []byte }

type reading struct{ activity, vector string }

type batch struct {
	closed      string
	started     []int64
	ended       map[int64]string
	contradicts bool
}

// content is what facts may say that matters.
type content struct {
	ActivityID   string          `json:"activityId"`
	ActivityIDs  []string        `json:"activityIds"`
	AgreementID  string          `json:"agreementId"`
	Amount       *string         `json:"amount"`
	AmountText   string          `json:"amountText"`
	By           string          `json:"by"`
	Canonical    []byte          `json:"canonical"`
	Code         int64           `json:"code"`
	DebitNoteID  string          `json:"debitNoteId"`
	Index        int64           `json:"index"`
	Initial      *step           `json:"initial"`
	InvoiceID    string          `json:"invoiceId"`
	Message      string          `json:"message"`
	Outcome      string          `json:"outcome"`
	PaymentID    string          `json:"paymentId"`
	Prev         string          `json:"prev"`
	Proposal     *step           `json:"proposal"`
	Raw          []byte          `json:"raw"`
	Signal       string          `json:"signal"`
	Signature    json.RawMessage `json:"signature"`
	Terms        *terms          `json:"terms"`
	TxHash       string          `json:"txHash"`
	UsageEventID string          `json:"usageEventId"`
	UsageVector  string          `json:"usageVector"`
	Vector       string          `json:"vector"`
	wei          *big.Int        // Amount, in 10⁻¹⁸
}

type step struct {
	Constraints string    `json:"constraints"`
	Created     time.Time `json:"created"`
	Properties  string    `json:"properties"`
	ProposalID  string    `json:"proposalId"`
}

// read reads the content; ok is false for what is withheld or malformed.
func (f fact) read() (c content, ok bool) {
	if f.data == nil || json.Unmarshal(f.data, &c) != nil {
		return c, false
	}
	if c.Amount != nil {
		if c.wei, ok = amount(*c.Amount); !ok {
			return c, false
		}
	}
	return c, true
}

// text is a signature that is written as text, "" if there is none.
func (c content) text() string {
	var s string
	_ = json.Unmarshal(c.Signature, &s) // what is no text is no signature
	return s
}

// binary is a signature that is written as bytes, nil if there is none.
func (c content) binary() []byte {
	var b []byte
	_ = json.Unmarshal(c.Signature, &b) // as above
	return b
}

// uuid is an event id as facts name it.
func uuid(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// tell reads the facts of the agreement's own streams in their order.
func tell(facts []fact, side, id string) story {
	s := story{
		signatures: map[string]string{}, proposals: map[string]proposed{}, papers: map[string]paper{},
		readings: map[string]reading{}, batches: map[string]*batch{}, newest: map[string]uint64{},
	}
	for _, f := range facts {
		c, ok := f.read()
		if !ok {
			continue
		}
		switch own := side + "-"; {
		case f.stream == "agreement-"+own+id:
			s.agreed(f, c, side)
		case f.stream == "bill-"+own+id:
			s.billed(f, c)
		case strings.HasPrefix(f.stream, "negotiation-"):
			for _, p := range []*step{c.Initial, c.Proposal} {
				if p != nil {
					s.proposals[p.ProposalID] = proposed{p.Constraints, p.Properties, c.Prev}
				}
			}
			if f.name() == "negotiation.counter_received" {
				s.heard = append(s.heard, f)
			}
		case strings.HasPrefix(f.stream, "payment-"+own):
			s.transferred(f, c)
		case strings.HasPrefix(f.stream, "usage-"+own):
			s.readings[uuid(f.leaf.id)] = reading{c.ActivityID, c.Vector}
		case strings.HasPrefix(f.stream, "batch-"+own):
			s.ran(f, c)
		}
	}
	return s
}

func (s *story) agreed(f fact, c content, side string) {
	stages := map[string]string{
		"created": "proposed", "received": "proposed", "confirmation_requested": "proposed", "confirmed": "proposed",
		"approval_requested": "approved", "approval_delivered": "approved", "approval_received": "approved",
		"commit_requested": "committed", "approved": "committed",
	}
	name := strings.TrimPrefix(f.name(), "agreement.")
	if stage, sig := stages[name], c.text(); stage != "" && sig != "" && sig != "NoSignature" {
		s.signatures[stage] = sig
	}
	theirs := false
	switch name {
	case "created", "received":
		s.agreements++
		s.id = c.AgreementID
		if c.Terms != nil {
			s.terms = *c.Terms
		}
		theirs = name == "received"
	case "approval_received":
		theirs = true
	case "approved":
		s.newest["agreement"] = f.position
		theirs = side == "P"
	case "rejected", "cancelled", "terminated":
		theirs = c.By != side
	}
	if theirs {
		s.heard = append(s.heard, f)
	}
}

func (s *story) billed(f fact, c content) {
	name := strings.TrimPrefix(f.name(), "bill.")
	if strings.HasSuffix(name, "_by_peer") || name == "note_received" || name == "invoice_received" {
		s.heard = append(s.heard, f)
	}
	switch name {
	case "note_issued", "note_received", "invoice_issued", "invoice_received",
		"note_accepted", "note_accepted_by_peer", "invoice_accepted", "invoice_accepted_by_peer":
		s.newest["bills"] = f.position
		if c.wei != nil {
			s.documented(name, c)
		}
	case "invoice_cancelled", "invoice_cancelled_by_peer":
		for i := range s.invoices {
			if s.invoices[i].id == c.InvoiceID {
				s.invoices[i].cancelled = true
			}
		}
	case "paid":
		s.paid = append(s.paid, paid{c.PaymentID, c.TxHash})
	case "payment_reversed":
		s.paid = slices.DeleteFunc(s.paid, func(p paid) bool { return p.id == c.PaymentID })
	}
}

// documented takes down a document or its acceptance, with its amount.
func (s *story) documented(name string, c content) {
	switch name {
	case "note_issued", "note_received":
		s.notes = append(s.notes, bill{
			id: c.DebitNoteID, activity: c.ActivityID, vector: c.UsageVector, reading: c.UsageEventID, amount: c.wei, theirs: name == "note_received",
		})
	case "invoice_issued", "invoice_received":
		s.invoices = append(s.invoices, bill{id: c.InvoiceID, activities: c.ActivityIDs, amount: c.wei})
	case "note_accepted", "note_accepted_by_peer":
		s.accepted = append(s.accepted, accepted{c.DebitNoteID, c.wei})
	case "invoice_accepted", "invoice_accepted_by_peer":
		s.accepted = append(s.accepted, accepted{c.InvoiceID, c.wei})
	}
}

func (s *story) transferred(f fact, c content) {
	switch f.name() {
	case "payment.signed", "payment.claimed":
		s.papers[c.PaymentID] = paper{c.Canonical, c.binary()}
		s.newest["payments"] = f.position
	case "payment.verified":
		s.newest["payments"] = f.position
	}
}

func (s *story) ran(f fact, c content) {
	b := s.batches[f.stream]
	if b == nil {
		b = &batch{ended: map[int64]string{}}
		s.batches[f.stream] = b
	}
	switch f.name() {
	case "batch.command_started":
		b.started = append(b.started, c.Index)
	case "batch.command_finished":
		how := strconv.FormatInt(c.Code, 10) + "\x00" + c.Signal + "\x00" + c.Message
		if was, ok := b.ended[c.Index]; ok && was != how {
			b.contradicts = true
		}
		b.ended[c.Index] = how
	case "batch.closed":
		b.closed = c.Outcome
	}
}
