package peer

import "time"

// Documents and decisions about money. Document fields are what REST shows;
// amounts are decimal text.
type (
	DebitNote struct {
		ActivityID       string    `json:"activityId"`
		AgreementID      string    `json:"agreementId"`
		DebitNoteID      string    `json:"debitNoteId"`
		PayeeAddr        string    `json:"payeeAddr"`
		PayerAddr        string    `json:"payerAddr"`
		PaymentDueDate   time.Time `json:"paymentDueDate,omitzero"`
		PaymentPlatform  string    `json:"paymentPlatform"`
		PreviousID       string    `json:"previousDebitNoteId,omitzero"`
		Timestamp        time.Time `json:"timestamp"`
		TotalAmountDue   string    `json:"totalAmountDue"`
		UsageCounterJSON string    `json:"usageCounterVector,omitzero"` // JSON text
	}
	Invoice struct {
		ActivityIDs     []string  `json:"activityIds"`
		AgreementID     string    `json:"agreementId"`
		Amount          string    `json:"amount"`
		InvoiceID       string    `json:"invoiceId"`
		PayeeAddr       string    `json:"payeeAddr"`
		PayerAddr       string    `json:"payerAddr"`
		PaymentDueDate  time.Time `json:"paymentDueDate"`
		PaymentPlatform string    `json:"paymentPlatform"`
		Timestamp       time.Time `json:"timestamp"`
	}
	DebitNoteAccepted struct {
		AgreementID string `json:"agreementId"`
		Amount      string `json:"amount"`
		DebitNoteID string `json:"debitNoteId"`
	}
	InvoiceAccepted struct {
		AgreementID string `json:"agreementId"`
		Amount      string `json:"amount"`
		InvoiceID   string `json:"invoiceId"`
	}
	DebitNoteRejected struct {
		AgreementID string `json:"agreementId"`
		DebitNoteID string `json:"debitNoteId"`
		Rejection   string `json:"rejection"` // JSON text
	}
	InvoiceRejected struct {
		AgreementID string `json:"agreementId"`
		InvoiceID   string `json:"invoiceId"`
		Rejection   string `json:"rejection"`
	}
	InvoiceCancelled struct {
		AgreementID string `json:"agreementId"`
		InvoiceID   string `json:"invoiceId"`
	}
	// PaymentSent is the payer's signed proof. Canonical is the exact JSON that
	// was signed: JCS of the payment without private fields.
	PaymentSent struct {
		Canonical []byte `json:"canonical"`
		Signature []byte `json:"signature"` // v‖r‖s, v ∈ {0,1}, over SHA3-256(Canonical)
	}
	// PaymentSyncNeeded asks the other side to send again what it has not
	// seen answered.
	PaymentSyncNeeded struct{}
)

func (DebitNote) Kind() string         { return "payment.debit_note" }
func (Invoice) Kind() string           { return "payment.invoice" }
func (DebitNoteAccepted) Kind() string { return "payment.accept_debit_note" }
func (InvoiceAccepted) Kind() string   { return "payment.accept_invoice" }
func (DebitNoteRejected) Kind() string { return "payment.reject_debit_note" }
func (InvoiceRejected) Kind() string   { return "payment.reject_invoice" }
func (InvoiceCancelled) Kind() string  { return "payment.cancel_invoice" }
func (PaymentSent) Kind() string       { return "payment.paid" }
func (PaymentSyncNeeded) Kind() string { return "payment.sync_needed" }
