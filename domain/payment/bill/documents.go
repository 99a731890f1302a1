package bill

import (
	"fmt"
	"slices"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

func issueNote(s State, c IssueNote) ([]Event, error) {
	s, facts := opening(s, identity.Provider, c.AgreementID, c.Terms)
	if err := mayIssue(s, c.By, c.Amount); err != nil {
		return nil, err
	}
	if d, ok := s.docs.Get(c.DebitNoteID); ok {
		if d.Kind == payment.DebitNote && d.ActivityIDs[0] == c.ActivityID && d.Amount.Equal(c.Amount) {
			return nil, nil // said twice, true once
		}
		return nil, ErrOtherContent
	}
	if s.invoiced() {
		return nil, ErrAlreadyInvoiced
	}
	a := s.Activity(c.ActivityID)
	facts = append(facts, NoteIssued{
		ActivityID: c.ActivityID, AgreementID: s.AgreementID, Amount: c.Amount, DebitNoteID: c.DebitNoteID, DueDate: c.DueDate.UTC(),
		Nonce: a.Notes, PreviousID: a.Last, Side: s.Side, Timestamp: c.At.UTC(), UsageEventID: c.UsageEventID, UsageVector: c.UsageVector,
	})
	if c.Amount.Less(a.Totals.Due) {
		facts = append(facts, s.flag(c.DebitNoteID, payment.DebitNote, FlagNonMonotonic, "due before: "+a.Totals.Due.String()))
	}
	return facts, nil
}

func issueInvoice(s State, c IssueInvoice) ([]Event, error) {
	s, facts := opening(s, identity.Provider, c.AgreementID, c.Terms)
	if err := mayIssue(s, c.By, c.Amount); err != nil {
		return nil, err
	}
	if d, ok := s.docs.Get(c.InvoiceID); ok && d.Kind == payment.Invoice && d.Amount.Equal(c.Amount) {
		return nil, nil
	}
	switch {
	case s.invoiced():
		return nil, ErrAlreadyInvoiced
	case c.Amount.Less(s.due):
		return nil, &AmountLowered{Asked: c.Amount, Due: s.due}
	}
	activities := slices.Clone(c.ActivityIDs)
	if activities == nil {
		activities = []string{}
	}
	return append(facts, InvoiceIssued{
		ActivityIDs: activities, AgreementID: s.AgreementID, Amount: c.Amount, DueDate: c.DueDate.UTC(),
		InvoiceID: c.InvoiceID, Side: s.Side, Timestamp: c.At.UTC(),
	}), nil
}

func mayIssue(s State, by identity.Caller, amount money.Amount) error {
	switch {
	case s.Side != identity.Provider:
		return ErrSide
	case amount.Sign() < 0:
		return ErrNegative
	}
	return by.MayAct(s.owner(), identity.Provider)
}

func receiveNote(s State, c ReceiveNote) ([]Event, error) {
	s, facts := opening(s, identity.Requestor, c.AgreementID, c.Terms)
	amount, fine, err := s.mayReceive(c.By, c.Amount, c.PayeeAddr, c.PayerAddr, c.Platform)
	switch {
	case err != nil:
		return nil, err
	case c.DebitNoteID == "" || c.ActivityID == "":
		return nil, fmt.Errorf("%w: debit note %q of activity %q", ErrNameless, c.DebitNoteID, c.ActivityID)
	}
	if d, ok := s.docs.Get(c.DebitNoteID); ok {
		same := d.Kind == payment.DebitNote && d.ActivityIDs[0] == c.ActivityID && d.Said().String() == said(c.Amount) &&
			d.DueDate.Equal(c.DueDate) && d.Timestamp.Equal(c.Timestamp) && d.UsageVector == c.UsageVector
		return again(same)
	}
	a := s.Activity(c.ActivityID)
	note := NoteReceived{
		ActivityID: c.ActivityID, AgreementID: s.AgreementID, Amount: amount, DebitNoteID: c.DebitNoteID, DueDate: c.DueDate.UTC(),
		Nonce: a.Notes, PreviousID: a.Last, Raw: c.Raw, Side: s.Side, Timestamp: c.Timestamp.UTC(), UsageVector: c.UsageVector,
	}
	if fine {
		note.AmountText = c.Amount
	}
	facts = append(facts, note)
	if fine {
		facts = append(facts, s.flag(c.DebitNoteID, payment.DebitNote, FlagTooFine, c.Amount))
	}
	if amount.Less(a.Totals.Due) {
		facts = append(facts, s.flag(c.DebitNoteID, payment.DebitNote, FlagNonMonotonic, "due before: "+a.Totals.Due.String()))
	}
	if s.invoiced() {
		facts = append(facts, s.flag(c.DebitNoteID, payment.DebitNote, FlagAfterInvoice, s.InvoiceID))
	}
	return facts, nil
}

func receiveInvoice(s State, c ReceiveInvoice) ([]Event, error) {
	s, facts := opening(s, identity.Requestor, c.AgreementID, c.Terms)
	amount, fine, err := s.mayReceive(c.By, c.Amount, c.PayeeAddr, c.PayerAddr, c.Platform)
	switch {
	case err != nil:
		return nil, err
	case c.InvoiceID == "":
		return nil, fmt.Errorf("%w: an invoice without an id", ErrNameless)
	}
	if d, ok := s.docs.Get(c.InvoiceID); ok {
		same := d.Kind == payment.Invoice && d.Said().String() == said(c.Amount) && d.DueDate.Equal(c.DueDate) &&
			d.Timestamp.Equal(c.Timestamp) && slices.Equal(d.ActivityIDs, c.ActivityIDs)
		return again(same)
	}
	if s.invoiced() {
		return nil, ErrAlreadyInvoiced
	}
	for _, id := range c.ActivityIDs {
		if !slices.Contains(c.Activities, id) && s.Activity(id).Notes == 0 {
			return nil, fmt.Errorf("%w: %q", ErrActivity, id)
		}
	}
	invoice := InvoiceReceived{
		ActivityIDs: slices.Clone(c.ActivityIDs), AgreementID: s.AgreementID, Amount: amount, DueDate: c.DueDate.UTC(), InvoiceID: c.InvoiceID,
		Raw: c.Raw, Side: s.Side, Timestamp: c.Timestamp.UTC(),
	}
	if invoice.ActivityIDs == nil {
		invoice.ActivityIDs = []string{}
	}
	if fine {
		invoice.AmountText = c.Amount
	}
	facts = append(facts, invoice)
	if fine {
		facts = append(facts, s.flag(c.InvoiceID, payment.Invoice, FlagTooFine, c.Amount))
	}
	if amount.Less(s.due) {
		facts = append(facts, s.flag(c.InvoiceID, payment.Invoice, FlagLowInvoice, "due in notes: "+s.due.String()))
	}
	return facts, nil
}

// mayReceive checks who sends a document and on which terms, and reads its
// amount; what is finer than the token is rounded up.
func (s State) mayReceive(by identity.Caller, text, payee, payer, platform string) (money.Amount, bool, error) {
	if s.Side != identity.Requestor {
		return money.Amount{}, false, ErrSide
	}
	if err := by.IsPeer(s.peer()); err != nil {
		return money.Amount{}, false, err
	}
	if payee != "" && !payment.SameAddress(payee, s.Terms.PayeeAddr) || payer != "" && !payment.SameAddress(payer, s.Terms.PayerAddr) ||
		platform != "" && platform != string(s.Terms.Platform) {
		return money.Amount{}, false, fmt.Errorf("%w: %s pays %s on %s, not %s pays %s on %s", ErrOtherTerms,
			s.Terms.PayerAddr, s.Terms.PayeeAddr, s.Terms.Platform, payer, payee, platform)
	}
	amount, fine, err := money.ParseCeil(text)
	if err == nil && amount.Sign() < 0 {
		err = ErrNegative
	}
	return amount, fine, err
}

// said is a decimal text in its shortest form.
func said(text string) string {
	d, err := money.ParseDecimal(text)
	if err != nil {
		return text
	}
	return d.String()
}

func again(same bool) ([]Event, error) {
	if same {
		return nil, nil
	}
	return nil, ErrOtherContent
}

func (s State) flag(id string, kind payment.Kind, what Flag, detail string) Event {
	return Flagged{AgreementID: s.AgreementID, Detail: detail, DocumentID: id, Kind: kind, Side: s.Side, What: what}
}
