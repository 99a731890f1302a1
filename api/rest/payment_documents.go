package rest

import (
	"encoding/json"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/projections"
)

// debitNoteAnswer shows a note. Its time, like that of an invoice, is when this
// node issued or received it: lists go on from there, and no issuer's clock
// repeats or hides one.
func debitNoteAnswer(r projections.DocumentRow) gen.DebitNote {
	out := gen.DebitNote{
		DebitNoteId: r.ID, IssuerId: string(r.Issuer), RecipientId: string(r.Recipient), PayeeAddr: r.PayeeAddr, PayerAddr: r.PayerAddr,
		PaymentPlatform: string(r.Platform), PreviousDebitNoteId: r.PreviousID, Timestamp: dto.At(r.Recorded), AgreementId: r.AgreementID,
		TotalAmountDue: amountOf(r), PaymentDueDate: dto.At(r.Due), Status: gen.DocumentStatus(r.Status),
	}
	if len(r.ActivityIDs) > 0 {
		out.ActivityId = r.ActivityIDs[0]
	}
	if json.Valid([]byte(r.UsageVector)) {
		out.UsageCounterVector = json.RawMessage(r.UsageVector)
	}
	return out
}

func invoiceAnswer(r projections.DocumentRow) gen.Invoice {
	return gen.Invoice{
		InvoiceId: r.ID, IssuerId: string(r.Issuer), RecipientId: string(r.Recipient), PayeeAddr: r.PayeeAddr, PayerAddr: r.PayerAddr,
		PaymentPlatform: string(r.Platform), Timestamp: dto.At(r.Recorded), AgreementId: r.AgreementID, ActivityIds: r.ActivityIDs,
		Amount: amountOf(r), PaymentDueDate: dto.At(r.Due), Status: gen.DocumentStatus(r.Status),
	}
}

// amountOf is the amount as the provider wrote it: who accepts repeats it.
func amountOf(r projections.DocumentRow) gen.Money {
	if r.AmountText != "" {
		return dto.Money(r.AmountText)
	}
	return moneyOf(r.Amount)
}

// GetInvoice shows an invoice.
func (p *paymentAPI) GetInvoice(c echo.Context) error {
	r, err := p.document(c, "", pay.Invoice)
	if err != nil {
		return err
	}
	return ok(c, invoiceAnswer(r))
}

// GetDebitNote shows a debit note.
func (p *paymentAPI) GetDebitNote(c echo.Context) error {
	r, err := p.document(c, "", pay.DebitNote)
	if err != nil {
		return err
	}
	return ok(c, debitNoteAnswer(r))
}

// ListInvoices lists invoices of both sides, oldest first.
func (p *paymentAPI) ListInvoices(c echo.Context) error {
	return listDocuments(p, c, pay.Invoice, invoiceAnswer)
}

// ListDebitNotes lists debit notes of both sides, oldest first.
func (p *paymentAPI) ListDebitNotes(c echo.Context) error {
	return listDocuments(p, c, pay.DebitNote, debitNoteAnswer)
}

func listDocuments[T any](p *paymentAPI, c echo.Context, kind pay.Kind, show func(projections.DocumentRow) T) error {
	ctx, q := c.Request().Context(), queryOf(c)
	f := projections.DocumentFilter{Owner: keyOf(ctx).Identity, Kind: kind, After: q.date("afterTimestamp"), Limit: q.most("maxItems")}
	if q.err != nil {
		return q.err
	}
	rows, err := p.Views.Documents(ctx, f)
	if err != nil {
		return err
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = show(r)
	}
	return list(c, out)
}
