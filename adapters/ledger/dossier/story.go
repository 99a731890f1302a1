package dossier

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
)

// fact is an event of the log; data is nil when it is withheld.
type fact struct {
	verify.Leaf
	data []byte
}

// name is the type without its version.
func (f fact) name() string { return strings.TrimSuffix(f.Type, ".v1") }

// deal is what the facts say, in their order.
type deal struct {
	id        string
	terms     agreement.Terms
	proposals int // facts that made the agreement

	signatures map[agreement.Stage]string
	steps      map[string]step
	messages   []fact // of the other party
	notes      []document
	invoices   []document
	accepted   []acceptance
	payments   []paid
	documents  map[string]signedPayment // by payment id
	readings   map[es.ID]reading
	batches    []*batch
	lastOf     map[string]es.Position // of the groups that are cosigned
}

// The stages of statements.
const (
	stageProposed  = agreement.StageProposed
	stageApproved  = agreement.StageApproved
	stageCommitted = agreement.StageCommitted
)

// step is one proposal of the negotiation.
type step struct{ constraints, properties, prev string }

// document is a debit note or an invoice.
type document struct {
	id, activity string // activity of a note
	activities   []string
	amount       money.Amount
	vector       string
	usageEvent   string
	heard        bool // it came from the other party
	cancelled    bool
}

type acceptance struct {
	document string
	amount   money.Amount
}

type paid struct{ id, tx string }

type signedPayment struct{ canonical, signature []byte }

type reading struct{ activity, vector string }

type batch struct {
	stream   es.Stream
	outcome  string
	started  []int64
	finished map[int64]string
	twice    bool
}

// said is every field of facts that matters here.
type said struct {
	ActivityID  string           `json:"activityId"`
	ActivityIDs []string         `json:"activityIds"`
	AgreementID string           `json:"agreementId"`
	Amount      *amount          `json:"amount"`
	AmountText  string           `json:"amountText"`
	By          string           `json:"by"`
	Canonical   []byte           `json:"canonical"`
	Code        int64            `json:"code"`
	DebitNoteID string           `json:"debitNoteId"`
	Index       int64            `json:"index"`
	Initial     *proposal        `json:"initial"`
	InvoiceID   string           `json:"invoiceId"`
	Message     string           `json:"message"`
	Outcome     string           `json:"outcome"`
	PaymentID   string           `json:"paymentId"`
	Prev        string           `json:"prev"`
	Proposal    *proposal        `json:"proposal"`
	Raw         []byte           `json:"raw"`
	Signal      string           `json:"signal"`
	Signature   json.RawMessage  `json:"signature"`
	Terms       *agreement.Terms `json:"terms"`
	TxHash      string           `json:"txHash"`
	UsageEvent  string           `json:"usageEventId"`
	UsageVector string           `json:"usageVector"`
	Vector      string           `json:"vector"`
}

// amount is one that is written as text, as all facts write them.
type amount struct{ money.Amount }

// UnmarshalJSON refuses everything but a JSON string.
func (a *amount) UnmarshalJSON(b []byte) (err error) {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	a.Amount, err = money.Parse(text)
	return err
}

type proposal struct {
	Constraints string    `json:"constraints"`
	Created     time.Time `json:"created"`
	Properties  string    `json:"properties"`
	ProposalID  string    `json:"proposalId"`
}

// text reads a signature that is text.
func (s said) text() string {
	var t string
	_ = json.Unmarshal(s.Signature, &t) // what is no text is no signature
	return t
}

// binary reads a signature that is bytes.
func (s said) binary() []byte {
	var b []byte
	_ = json.Unmarshal(s.Signature, &b) // as above
	return b
}

// dealOf reads the facts. Those of other agreements, and those whose content
// is withheld or cannot be read, say nothing.
func dealOf(facts []fact, side, id string) deal {
	d := deal{
		signatures: map[agreement.Stage]string{}, steps: map[string]step{}, documents: map[string]signedPayment{},
		readings: map[es.ID]reading{}, lastOf: map[string]es.Position{},
	}
	batches := map[es.Stream]*batch{}
	for _, f := range facts {
		var s said
		if f.data == nil || json.Unmarshal(f.data, &s) != nil {
			continue
		}
		switch category, key, _ := strings.Cut(string(f.Stream), "-"); {
		case category == "agreement" && key == side+"-"+id:
			d.hearAgreement(f, s, side)
		case category == "bill" && key == side+"-"+id:
			d.hearBill(f, s)
		case category == "negotiation":
			d.hearNegotiation(f, s)
		case category == "payment" && strings.HasPrefix(key, side+"-"):
			d.hearPayment(f, s)
		case category == "usage" && strings.HasPrefix(key, side+"-"):
			d.readings[f.ID] = reading{s.ActivityID, s.Vector}
		case category == "batch" && strings.HasPrefix(key, side+"-"):
			if batches[f.Stream] == nil {
				batches[f.Stream] = &batch{stream: f.Stream, finished: map[int64]string{}}
				d.batches = append(d.batches, batches[f.Stream])
			}
			batches[f.Stream].hear(f, s)
		}
	}
	return d
}

func (d *deal) hearAgreement(f fact, s said, side string) {
	stage := agreement.Stage("")
	switch f.name() {
	case "agreement.created", "agreement.received":
		d.proposals++
		if d.id = s.AgreementID; s.Terms != nil {
			d.terms = *s.Terms
		}
		stage = stageProposed
	case "agreement.confirmation_requested", "agreement.confirmed":
		stage = stageProposed
	case "agreement.approval_requested", "agreement.approval_delivered", "agreement.approval_received":
		stage = stageApproved
	case "agreement.commit_requested":
		stage = stageCommitted
	case "agreement.approved":
		stage = stageCommitted
		d.lastOf[ClaimCosignedAgreement] = f.Position
	}
	if sig := s.text(); stage != "" && sig != "" && sig != agreement.NoSignature {
		d.signatures[stage] = sig
	}
	switch f.name() {
	case "agreement.received", "agreement.approval_received":
		d.messages = append(d.messages, f)
	case "agreement.approved":
		if side == "P" {
			d.messages = append(d.messages, f)
		}
	case "agreement.rejected", "agreement.cancelled", "agreement.terminated":
		if s.By != side {
			d.messages = append(d.messages, f)
		}
	}
}

func (d *deal) hearNegotiation(f fact, s said) {
	for _, p := range []*proposal{s.Initial, s.Proposal} {
		if p != nil {
			d.steps[p.ProposalID] = step{p.Constraints, p.Properties, s.Prev}
		}
	}
	if f.name() == "negotiation.counter_received" {
		d.messages = append(d.messages, f)
	}
}

func (d *deal) hearBill(f fact, s said) {
	name := strings.TrimPrefix(f.name(), "bill.")
	if strings.HasSuffix(name, "_by_peer") || name == "note_received" || name == "invoice_received" {
		d.messages = append(d.messages, f)
	}
	switch name {
	case "note_issued", "note_received", "invoice_issued", "invoice_received", "note_accepted", "invoice_accepted",
		"note_accepted_by_peer", "invoice_accepted_by_peer":
		d.lastOf[ClaimCosignedBills] = f.Position
		if s.Amount == nil {
			return
		}
	}
	switch name {
	case "note_issued", "note_received":
		d.notes = append(d.notes, document{
			id: s.DebitNoteID, activity: s.ActivityID, amount: s.Amount.Amount, vector: s.UsageVector, usageEvent: s.UsageEvent, heard: name == "note_received",
		})
	case "invoice_issued", "invoice_received":
		d.invoices = append(d.invoices, document{id: s.InvoiceID, activities: s.ActivityIDs, amount: s.Amount.Amount})
	case "invoice_cancelled", "invoice_cancelled_by_peer":
		for i := range d.invoices {
			d.invoices[i].cancelled = d.invoices[i].cancelled || d.invoices[i].id == s.InvoiceID
		}
	case "note_accepted", "note_accepted_by_peer":
		d.accepted = append(d.accepted, acceptance{s.DebitNoteID, s.Amount.Amount})
	case "invoice_accepted", "invoice_accepted_by_peer":
		d.accepted = append(d.accepted, acceptance{s.InvoiceID, s.Amount.Amount})
	case "paid":
		d.payments = append(d.payments, paid{s.PaymentID, s.TxHash})
	case "payment_reversed":
		d.payments = slices.DeleteFunc(d.payments, func(p paid) bool { return p.id == s.PaymentID })
	}
}

func (d *deal) hearPayment(f fact, s said) {
	switch f.name() {
	case "payment.signed", "payment.claimed":
		d.documents[s.PaymentID] = signedPayment{s.Canonical, s.binary()}
	case "payment.verified":
	default:
		return
	}
	d.lastOf[ClaimCosignedPayments] = f.Position
}

func (b *batch) hear(f fact, s said) {
	switch f.name() {
	case "batch.command_started":
		b.started = append(b.started, s.Index)
	case "batch.command_finished":
		how, _ := json.Marshal([]any{s.Code, s.Signal, s.Message}) //nolint:errcheck // plain values
		if before, again := b.finished[s.Index]; again && before != string(how) {
			b.twice = true
		}
		b.finished[s.Index] = string(how)
	case "batch.closed":
		b.outcome = s.Outcome
	}
}
