package bill

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// A Command is a wish about the bill of one agreement.
//
//sumtype:decl
type Command interface{ billCommand() }

// IssueNote bills an activity, as the provider. It fails with
// [ErrAlreadyInvoiced] after the invoice. An Amount below an earlier note is
// issued all the same: it is said, and the larger one stays owed.
type IssueNote struct {
	ActivityID   string
	AgreementID  string
	Amount       money.Amount // what the activity has cost so far
	At           time.Time
	By           identity.Caller
	DebitNoteID  string
	DueDate      time.Time // zero = not payable yet
	Terms        payment.Terms
	UsageEventID string
	UsageVector  string // JSON text
}

// IssueInvoice bills the agreement, as the provider. There is one: another one
// is refused with [ErrAlreadyInvoiced] unless the first was cancelled. It fails
// with [*AmountLowered] when Amount is less than the notes together.
type IssueInvoice struct {
	ActivityIDs []string
	AgreementID string
	Amount      money.Amount
	At          time.Time
	By          identity.Caller
	DueDate     time.Time
	InvoiceID   string
	Terms       payment.Terms
}

// AnswerDelivery reports how the sending of an issued document ended. Refusal
// is empty when the peer has it.
type AnswerDelivery struct {
	DocumentID string
	Refusal    string
}

// ReceiveNote takes in a note of the provider. The same document again changes
// nothing; the same id with other content is [ErrOtherContent].
type ReceiveNote struct {
	ActivityID  string
	AgreementID string
	Amount      string // as the provider wrote it
	By          identity.Caller
	DebitNoteID string
	DueDate     time.Time
	PayeeAddr   string // as the provider wrote it, "" = not said
	PayerAddr   string
	Platform    string
	Raw         []byte
	Terms       payment.Terms // of our agreement
	Timestamp   time.Time
	UsageVector string
}

// ReceiveInvoice takes in the invoice of the provider, as [ReceiveNote].
// Activities are those of the agreement that we know.
type ReceiveInvoice struct {
	Activities  []string
	ActivityIDs []string
	AgreementID string
	Amount      string
	By          identity.Caller
	DueDate     time.Time
	InvoiceID   string
	PayeeAddr   string
	PayerAddr   string
	Platform    string
	Raw         []byte
	Terms       payment.Terms
	Timestamp   time.Time
}

// AcceptNote promises to pay a note, as the requestor, from an allocation. Give
// it through ops.AcceptNote, which moves the budget in the same breath.
type AcceptNote struct {
	AllocationID string
	Amount       money.Decimal // must be what the note says
	By           identity.Caller
	DebitNoteID  string
}

// AcceptInvoice promises to pay the invoice, as [AcceptNote].
type AcceptInvoice struct {
	AllocationID string
	Amount       money.Decimal
	By           identity.Caller
	InvoiceID    string
}

// AnswerAcceptance reports how the peer took our acceptance. Refusal is empty
// when it did.
type AnswerAcceptance struct {
	DocumentID string
	Refusal    string
}

// Reject says, as the requestor, that a document will not be paid as it stands.
type Reject struct {
	By         identity.Caller
	DocumentID string
	Kind       payment.Kind
	Rejection  string // JSON text
}

// Cancel takes a document back, as the provider.
type Cancel struct {
	By         identity.Caller
	DocumentID string
	Kind       payment.Kind
}

// AnswerNotice reports how telling the peer of a rejection or cancellation
// ended. Abandoned is empty when the peer knows.
type AnswerNotice struct {
	Abandoned  string
	DocumentID string
}

// HearAcceptance takes in the requestor's acceptance, at the provider.
type HearAcceptance struct {
	Amount     money.Decimal
	By         identity.Caller
	DocumentID string
	Kind       payment.Kind
	Raw        []byte
}

// HearRejection takes in the requestor's rejection, at the provider.
type HearRejection struct {
	By         identity.Caller
	DocumentID string
	Kind       payment.Kind
	Raw        []byte
	Rejection  string // JSON text
}

// HearCancellation takes in the provider's cancellation, at the requestor.
type HearCancellation struct {
	By         identity.Caller
	DocumentID string
	Kind       payment.Kind
	Raw        []byte
}

// Schedule binds accepted ranges to a payment. Each must begin where the last
// one of its debt ended.
type Schedule struct {
	IntentID  string
	OrderID   string
	PaymentID string
	Ranges    []payment.Range
}

// MarkPaid says that the payment of a scheduled intent is on the chain, at the
// requestor.
type MarkPaid struct {
	IntentID string
	TxHash   string
}

// CreditPayment says that a payment of the requestor is on the chain, at the
// provider. Shares of other agreements are passed over. A payment from, to or on
// something else than the bill says is [ErrOtherTerms].
type CreditPayment struct {
	PayeeAddr string
	PayerAddr string
	PaymentID string
	Platform  payment.Platform
	Shares    []payment.Share
	TxHash    string
}

// ReversePayment says that the transfer of a payment left the chain.
type ReversePayment struct {
	PaymentID string
	Why       string
}

// Settle looks again for documents that are covered by what was paid.
type Settle struct{}

// Raise flags a document.
type Raise struct {
	Detail     string
	DocumentID string
	Kind       payment.Kind
	What       Flag
}

func (IssueNote) billCommand()        {}
func (IssueInvoice) billCommand()     {}
func (AnswerDelivery) billCommand()   {}
func (ReceiveNote) billCommand()      {}
func (ReceiveInvoice) billCommand()   {}
func (AcceptNote) billCommand()       {}
func (AcceptInvoice) billCommand()    {}
func (AnswerAcceptance) billCommand() {}
func (Reject) billCommand()           {}
func (Cancel) billCommand()           {}
func (AnswerNotice) billCommand()     {}
func (HearAcceptance) billCommand()   {}
func (HearRejection) billCommand()    {}
func (HearCancellation) billCommand() {}
func (Schedule) billCommand()         {}
func (MarkPaid) billCommand()         {}
func (CreditPayment) billCommand()    {}
func (ReversePayment) billCommand()   {}
func (Settle) billCommand()           {}
func (Raise) billCommand()            {}
