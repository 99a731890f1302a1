package bill

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package.
const Category = "bill"

// StreamID is the id of the stream that holds all documents of an agreement on
// one side.
func StreamID(side identity.Side, agreementID string) string { return string(side) + "-" + agreementID }

// An Event is a fact about what is owed in one agreement.
//
//sumtype:decl
type Event interface{ billEvent() }

// Opened says who owes whom in an agreement, and how it will be paid. It comes
// with the first document and never changes.
type Opened struct {
	AgreementID  string           `json:"agreementId"`
	AppSessionID string           `json:"appSessionId,omitzero"`
	PayeeAddr    string           `json:"payeeAddr"`
	PayeeID      identity.NodeID  `json:"payeeId"`
	PayerAddr    string           `json:"payerAddr"`
	PayerID      identity.NodeID  `json:"payerId"`
	Platform     payment.Platform `json:"platform"`
	Side         identity.Side    `json:"side"`
}

// NoteIssued says that the provider bills an activity: Amount is what it has
// cost so far. It is an intent to tell the requestor; [NoteDelivered] or
// [NoteUndeliverable] answers it.
type NoteIssued struct {
	ActivityID   string        `json:"activityId"`
	AgreementID  string        `json:"agreementId"`
	Amount       money.Amount  `json:"amount"`
	DebitNoteID  string        `json:"debitNoteId"`
	DueDate      time.Time     `json:"dueDate,omitzero"` // a note is payable only when it has one
	Nonce        int           `json:"nonce"`            // of the note in its activity, from 0
	PreviousID   string        `json:"previousId,omitzero"`
	Side         identity.Side `json:"side"`
	Timestamp    time.Time     `json:"timestamp"` // as printed on the document
	UsageEventID string        `json:"usageEventId,omitzero"`
	UsageVector  string        `json:"usageVector,omitzero"` // JSON text
}

// InvoiceIssued is the provider's last word on an agreement: Amount includes
// all debit notes. It is an intent to tell the requestor; [InvoiceDelivered]
// or [InvoiceUndeliverable] answers it.
type InvoiceIssued struct {
	ActivityIDs []string      `json:"activityIds"`
	AgreementID string        `json:"agreementId"`
	Amount      money.Amount  `json:"amount"`
	DueDate     time.Time     `json:"dueDate"`
	InvoiceID   string        `json:"invoiceId"`
	Side        identity.Side `json:"side"`
	Timestamp   time.Time     `json:"timestamp"`
}

// NoteDelivered says that the requestor has the note and found it in order.
type NoteDelivered struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Side        identity.Side `json:"side"`
}

// NoteUndeliverable says that the note will not be sent any more.
type NoteUndeliverable struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Side        identity.Side `json:"side"`
	Why         string        `json:"why"`
}

// InvoiceDelivered says that the requestor has the invoice and found it in order.
type InvoiceDelivered struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Side        identity.Side `json:"side"`
}

// InvoiceUndeliverable says that the invoice will not be sent any more.
type InvoiceUndeliverable struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Side        identity.Side `json:"side"`
	Why         string        `json:"why"`
}

// NoteReceived says that the requestor got a debit note. AmountText is set when
// the provider wrote an amount finer than the token; Amount is then the next
// larger one. Raw is what came in.
type NoteReceived struct {
	ActivityID  string        `json:"activityId"`
	AgreementID string        `json:"agreementId"`
	Amount      money.Amount  `json:"amount"`
	AmountText  string        `json:"amountText,omitzero"`
	DebitNoteID string        `json:"debitNoteId"`
	DueDate     time.Time     `json:"dueDate,omitzero"`
	Nonce       int           `json:"nonce"`
	PreviousID  string        `json:"previousId,omitzero"` // the one before here, not what the peer says
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
	Timestamp   time.Time     `json:"timestamp"` // the provider's clock
	UsageVector string        `json:"usageVector,omitzero"`
}

// InvoiceReceived says that the requestor got the invoice. AmountText and Raw
// are as in [NoteReceived].
type InvoiceReceived struct {
	ActivityIDs []string      `json:"activityIds"`
	AgreementID string        `json:"agreementId"`
	Amount      money.Amount  `json:"amount"`
	AmountText  string        `json:"amountText,omitzero"`
	DueDate     time.Time     `json:"dueDate,omitzero"`
	InvoiceID   string        `json:"invoiceId"`
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
	Timestamp   time.Time     `json:"timestamp"`
}

// NoteAccepted says that the requestor will pay the note. The acceptance adds
// [From, To) to what is owed for the activity; Delta is its length. It is an
// intent to tell the provider; [AcceptanceDelivered] or [AcceptanceRefused]
// answers it.
type NoteAccepted struct {
	ActivityID   string        `json:"activityId"`
	AgreementID  string        `json:"agreementId"`
	AllocationID string        `json:"allocationId"`
	Amount       money.Amount  `json:"amount"`
	DebitNoteID  string        `json:"debitNoteId"`
	Delta        money.Amount  `json:"delta"`
	From         money.Amount  `json:"from"`
	Side         identity.Side `json:"side"`
	To           money.Amount  `json:"to"`
}

// InvoiceAccepted is [NoteAccepted] for the invoice. Its range counts what the
// invoice adds to the acceptances of debit notes.
type InvoiceAccepted struct {
	AgreementID  string        `json:"agreementId"`
	AllocationID string        `json:"allocationId"`
	Amount       money.Amount  `json:"amount"`
	Delta        money.Amount  `json:"delta"`
	From         money.Amount  `json:"from"`
	InvoiceID    string        `json:"invoiceId"`
	Side         identity.Side `json:"side"`
	To           money.Amount  `json:"to"`
}

// AcceptanceDelivered says that the provider knows that its document is accepted.
type AcceptanceDelivered struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
}

// AcceptanceRefused says that the provider would not hear of our acceptance.
// The acceptance stands: it was ours to give.
type AcceptanceRefused struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
	Why         string        `json:"why"`
}

// NoteRejected says that the requestor will not pay the note as it stands. It
// is an intent to tell the provider; [NoticeDelivered] or [NoticeAbandoned]
// answers it.
type NoteRejected struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Rejection   string        `json:"rejection"` // JSON text: rejectionReason, totalAmountAccepted, message
	Side        identity.Side `json:"side"`
}

// InvoiceRejected is [NoteRejected] for the invoice.
type InvoiceRejected struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Rejection   string        `json:"rejection"`
	Side        identity.Side `json:"side"`
}

// NoteCancelled says that the provider takes the note back. It is an intent to
// tell the requestor; [NoticeDelivered] or [NoticeAbandoned] answers it.
type NoteCancelled struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Side        identity.Side `json:"side"`
}

// InvoiceCancelled is [NoteCancelled] for the invoice.
type InvoiceCancelled struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Side        identity.Side `json:"side"`
}

// NoticeDelivered says that the peer knows of our rejection or cancellation.
type NoticeDelivered struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
}

// NoticeAbandoned says that the peer will not be told: it refused, or is of a
// make that has no such message.
type NoticeAbandoned struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
	Why         string        `json:"why"`
}

// NoteAcceptedByPeer says, at the provider, that the requestor accepted.
type NoteAcceptedByPeer struct {
	ActivityID  string        `json:"activityId"`
	AgreementID string        `json:"agreementId"`
	Amount      money.Amount  `json:"amount"`
	DebitNoteID string        `json:"debitNoteId"`
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
}

// InvoiceAcceptedByPeer says, at the provider, that the requestor accepted.
type InvoiceAcceptedByPeer struct {
	AgreementID string        `json:"agreementId"`
	Amount      money.Amount  `json:"amount"`
	InvoiceID   string        `json:"invoiceId"`
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
}

// NoteRejectedByPeer says, at the provider, that the requestor rejected.
type NoteRejectedByPeer struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Raw         []byte        `json:"raw,omitzero"`
	Rejection   string        `json:"rejection"`
	Side        identity.Side `json:"side"`
}

// InvoiceRejectedByPeer says, at the provider, that the requestor rejected.
type InvoiceRejectedByPeer struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Raw         []byte        `json:"raw,omitzero"`
	Rejection   string        `json:"rejection"`
	Side        identity.Side `json:"side"`
}

// NoteCancelledByPeer says, at the requestor, that the provider took it back.
type NoteCancelledByPeer struct {
	AgreementID string        `json:"agreementId"`
	DebitNoteID string        `json:"debitNoteId"`
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
}

// InvoiceCancelledByPeer says, at the requestor, that the provider took it back.
type InvoiceCancelledByPeer struct {
	AgreementID string        `json:"agreementId"`
	InvoiceID   string        `json:"invoiceId"`
	Raw         []byte        `json:"raw,omitzero"`
	Side        identity.Side `json:"side"`
}

// Scheduled says that ranges of the debt belong to a payment that will be
// made. They never go into another one.
type Scheduled struct {
	AgreementID string          `json:"agreementId"`
	IntentID    string          `json:"intentId"`
	OrderID     string          `json:"orderId"`
	PaymentID   string          `json:"paymentId"`
	Ranges      []payment.Range `json:"ranges"`
	Side        identity.Side   `json:"side"`
}

// Paid says that a transfer on the chain covers ranges of the debt. At the
// provider the ranges follow from the order in which payments were verified.
type Paid struct {
	AgreementID string          `json:"agreementId"`
	IntentID    string          `json:"intentId,omitzero"` // at the requestor
	PaymentID   string          `json:"paymentId"`
	Ranges      []payment.Range `json:"ranges"`
	Side        identity.Side   `json:"side"`
	TxHash      string          `json:"txHash"`
}

// PaymentReversed takes a [Paid] back: its transfer is no longer on the chain.
type PaymentReversed struct {
	AgreementID string          `json:"agreementId"`
	PaymentID   string          `json:"paymentId"`
	Ranges      []payment.Range `json:"ranges"`
	Side        identity.Side   `json:"side"`
	Why         string          `json:"why"`
}

// Settled says that what was paid covers an accepted document.
type Settled struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	More        bool          `json:"more,omitzero"` // further documents wait for [Settle]
	Side        identity.Side `json:"side"`
}

// Unsettled takes a [Settled] back, since a payment was reversed: the document
// is accepted again.
type Unsettled struct {
	AgreementID string        `json:"agreementId"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
}

// Flagged says that something about a document is odd. It blocks nothing.
type Flagged struct {
	AgreementID string        `json:"agreementId"`
	Detail      string        `json:"detail,omitzero"`
	DocumentID  string        `json:"documentId"`
	Kind        payment.Kind  `json:"kind"`
	Side        identity.Side `json:"side"`
	What        Flag          `json:"what"`
}

// Flag names an oddity.
type Flag string

// The flags.
const (
	FlagNonMonotonic    Flag = "non-monotonic"    // a note lower than one before
	FlagTooFine         Flag = "too-fine"         // an amount finer than the token
	FlagTooDense        Flag = "too-dense"        // notes closer than agreed
	FlagOverUsage       Flag = "over-usage"       // more than price times usage
	FlagAfterInvoice    Flag = "after-invoice"    // a note after the invoice
	FlagLowInvoice      Flag = "low-invoice"      // an invoice below what its notes say
	FlagUnknownActivity Flag = "unknown-activity" // an activity that is not ours
)

func (Opened) billEvent()                 {}
func (NoteIssued) billEvent()             {}
func (InvoiceIssued) billEvent()          {}
func (NoteDelivered) billEvent()          {}
func (NoteUndeliverable) billEvent()      {}
func (InvoiceDelivered) billEvent()       {}
func (InvoiceUndeliverable) billEvent()   {}
func (NoteReceived) billEvent()           {}
func (InvoiceReceived) billEvent()        {}
func (NoteAccepted) billEvent()           {}
func (InvoiceAccepted) billEvent()        {}
func (AcceptanceDelivered) billEvent()    {}
func (AcceptanceRefused) billEvent()      {}
func (NoteRejected) billEvent()           {}
func (InvoiceRejected) billEvent()        {}
func (NoteCancelled) billEvent()          {}
func (InvoiceCancelled) billEvent()       {}
func (NoticeDelivered) billEvent()        {}
func (NoticeAbandoned) billEvent()        {}
func (NoteAcceptedByPeer) billEvent()     {}
func (InvoiceAcceptedByPeer) billEvent()  {}
func (NoteRejectedByPeer) billEvent()     {}
func (InvoiceRejectedByPeer) billEvent()  {}
func (NoteCancelledByPeer) billEvent()    {}
func (InvoiceCancelledByPeer) billEvent() {}
func (Scheduled) billEvent()              {}
func (Paid) billEvent()                   {}
func (PaymentReversed) billEvent()        {}
func (Settled) billEvent()                {}
func (Unsettled) billEvent()              {}
func (Flagged) billEvent()                {}

// IsIntent is true: the requestor must get the note.
func (NoteIssued) IsIntent() bool { return true }

// IsIntent is true: the requestor must get the invoice.
func (InvoiceIssued) IsIntent() bool { return true }

// IsIntent is true: the provider must learn of the acceptance.
func (NoteAccepted) IsIntent() bool { return true }

// IsIntent is true: the provider must learn of the acceptance.
func (InvoiceAccepted) IsIntent() bool { return true }

// IsIntent is true: the provider must learn of the rejection.
func (NoteRejected) IsIntent() bool { return true }

// IsIntent is true: the provider must learn of the rejection.
func (InvoiceRejected) IsIntent() bool { return true }

// IsIntent is true: the requestor must learn of the cancellation.
func (NoteCancelled) IsIntent() bool { return true }

// IsIntent is true: the requestor must learn of the cancellation.
func (InvoiceCancelled) IsIntent() bool { return true }
