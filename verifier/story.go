package verifier

import (
	"encoding/json"
	"math/big"
	"regexp"
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
	newest     map[string]uint64
}

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

type bill struct {
	id, activity, vector, reading string
	activities                    []string
	amount                        *big.Int
	theirs, cancelled             bool
}

type accepted struct {
	id     string
	amount *big.Int
}

type paid struct{ id, tx string }

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
	wei          *big.Int
}

type step struct {
	Constraints string    `json:"constraints"`
	Created     time.Time `json:"created"`
	Properties  string    `json:"properties"`
	ProposalID  string    `json:"proposalId"`
}

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

func (c content) signature() string {
	var s string
	if json.Unmarshal(c.Signature, &s) != nil || s == "NoSignature" {
		return ""
	}
	return s
}

var number = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?$`)

// decimal reads an exact number within bounds.
func decimal(s string) (*big.Rat, bool) {
	if len(s) > 256 || !number.MatchString(s) {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 512 || e < -512 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}

var places = new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil))

// amount reads a number of 10⁻¹⁸.
func amount(s string) (*big.Int, bool) {
	r, ok := decimal(s)
	if !ok {
		return nil, false
	}
	r.Mul(r, places)
	return r.Num(), r.IsInt()
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
	if stage, sig := stages[name], c.signature(); stage != "" && sig != "" {
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
	kind, rest, _ := strings.Cut(name, "_")
	switch {
	case name == "paid":
		s.paid = append(s.paid, paid{c.PaymentID, c.TxHash})
		return
	case name == "payment_reversed":
		s.paid = slices.DeleteFunc(s.paid, func(p paid) bool { return p.id == c.PaymentID })
		return
	case name == "invoice_cancelled" || name == "invoice_cancelled_by_peer":
		for i := range s.invoices {
			if s.invoices[i].id == c.InvoiceID {
				s.invoices[i].cancelled = true
			}
		}
		return
	case kind != "note" && kind != "invoice":
		return
	}
	document := rest == "issued" || rest == "received"
	if !document && rest != "accepted" && rest != "accepted_by_peer" {
		return
	}
	s.newest["bills"] = f.position
	switch {
	case c.wei == nil:
	case document && kind == "note":
		s.notes = append(s.notes, bill{
			id: c.DebitNoteID, activity: c.ActivityID, vector: c.UsageVector, reading: c.UsageEventID, amount: c.wei, theirs: rest == "received",
		})
	case document:
		s.invoices = append(s.invoices, bill{id: c.InvoiceID, activities: c.ActivityIDs, amount: c.wei})
	case kind == "note":
		s.accepted = append(s.accepted, accepted{c.DebitNoteID, c.wei})
	default:
		s.accepted = append(s.accepted, accepted{c.InvoiceID, c.wei})
	}
}

func (s *story) transferred(f fact, c content) {
	switch f.name() {
	case "payment.signed", "payment.claimed":
		var sig []byte
		_ = json.Unmarshal(c.Signature, &sig) // what is no signature does not hold later
		s.papers[c.PaymentID] = paper{c.Canonical, sig}
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
