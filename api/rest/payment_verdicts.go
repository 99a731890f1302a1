package rest

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/projections"
)

// acceptance is the body of an acceptance.
type acceptance struct {
	Amount       *dto.Money `json:"totalAmountAccepted"`
	AllocationID *string    `json:"allocationId"`
}

// AcceptInvoice promises to pay an invoice. The promise is final here at once;
// the provider is told in the background, so there is nothing to wait for.
func (p *paymentAPI) AcceptInvoice(c echo.Context) error {
	return p.accept(c, pay.Invoice, func(r projections.DocumentRow, allocationID string, amount money.Decimal, by identity.Caller) any {
		return ops.AcceptInvoice{AgreementID: r.AgreementID, AllocationID: allocationID, Amount: amount, By: by, InvoiceID: r.ID}
	})
}

// AcceptDebitNote promises to pay a debit note.
func (p *paymentAPI) AcceptDebitNote(c echo.Context) error {
	return p.accept(c, pay.DebitNote, func(r projections.DocumentRow, allocationID string, amount money.Decimal, by identity.Caller) any {
		return ops.AcceptNote{AgreementID: r.AgreementID, AllocationID: allocationID, Amount: amount, By: by, DebitNoteID: r.ID}
	})
}

func (p *paymentAPI) accept(c echo.Context, kind pay.Kind, command func(projections.DocumentRow, string, money.Decimal, identity.Caller) any) error {
	allocationID, amount, err := readAcceptance(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	leave, err := p.turns.take(ctx, allocationID)
	if err != nil {
		return err
	}
	defer leave()
	r, err := p.document(c, identity.Requestor, kind)
	if err != nil {
		return err
	}
	a, _, err := p.Allocations.Load(ctx, allocationID)
	switch {
	case err != nil:
		return err
	case a.ID != "" && a.OwnerID != r.Owner:
		return allocation.ErrUnknown
	}
	if err := p.Ops.Handle(ctx, r.AgreementID, command(r, allocationID, amount, callerOf(ctx)), metaOf(c, r.AgreementID, r.Session)); err != nil {
		return err
	}
	return done(c)
}

func readAcceptance(c echo.Context) (allocationID string, amount money.Decimal, err error) {
	if err := readPatience(c); err != nil {
		return "", amount, err
	}
	var in acceptance
	if err := readJSON(c, &in); err != nil {
		return "", amount, err
	}
	if in.AllocationID == nil {
		return "", amount, badBody(c, "Json deserialize error: missing field `allocationId`")
	}
	amount, err = amountIn(c, "totalAmountAccepted", in.Amount)
	return *in.AllocationID, amount, err
}

// readPatience checks the time that a client is ready to wait for its peer.
// What is decided here does not wait for it.
func readPatience(c echo.Context) error {
	q := queryOf(c)
	q.wait("timeout", 0)
	return q.err
}

// RejectInvoice says that an invoice will not be paid as it stands.
func (p *paymentAPI) RejectInvoice(c echo.Context) error { return p.reject(c, pay.Invoice) }

// RejectDebitNote says that a debit note will not be paid as it stands.
func (p *paymentAPI) RejectDebitNote(c echo.Context) error { return p.reject(c, pay.DebitNote) }

func (p *paymentAPI) reject(c echo.Context, kind pay.Kind) error {
	if err := readPatience(c); err != nil {
		return err
	}
	rejection, err := readRejection(c)
	if err != nil {
		return err
	}
	r, err := p.document(c, identity.Requestor, kind)
	if err != nil {
		return err
	}
	return p.decide(c, r, bill.Reject{By: callerOf(c.Request().Context()), DocumentID: r.ID, Kind: kind, Rejection: rejection})
}

func readRejection(c echo.Context) (string, error) {
	var in struct {
		Reason  *gen.RejectionRejectionReason `json:"rejectionReason"`
		Amount  *dto.Money                    `json:"totalAmountAccepted"`
		Message *string                       `json:"message"`
	}
	if err := readJSON(c, &in); err != nil {
		return "", err
	}
	switch {
	case in.Reason == nil:
		return "", badBody(c, "Json deserialize error: missing field `rejectionReason`")
	case !in.Reason.Valid():
		return "", badBody(c, "Json deserialize error: rejectionReason: unknown variant `%s`, expected one of `UNSOLICITED_SERVICE`, `BAD_SERVICE`, `INCORRECT_AMOUNT`", *in.Reason)
	}
	if _, err := amountIn(c, "totalAmountAccepted", in.Amount); err != nil {
		return "", err
	}
	out := gen.Rejection{RejectionReason: *in.Reason, TotalAmountAccepted: *in.Amount}
	if in.Message != nil {
		out.Message = *in.Message
	}
	b, err := encode(out)
	return string(b), err
}

// CancelInvoice takes an invoice back that was not accepted.
func (p *paymentAPI) CancelInvoice(c echo.Context) error { return p.cancel(c, pay.Invoice) }

// CancelDebitNote takes a debit note back that was not accepted.
func (p *paymentAPI) CancelDebitNote(c echo.Context) error { return p.cancel(c, pay.DebitNote) }

func (p *paymentAPI) cancel(c echo.Context, kind pay.Kind) error {
	if err := readPatience(c); err != nil {
		return err
	}
	r, err := p.document(c, identity.Provider, kind)
	if err != nil {
		return err
	}
	err = p.decide(c, r, bill.Cancel{By: callerOf(c.Request().Context()), DocumentID: r.ID, Kind: kind})
	var wrong *bill.WrongStatus
	if errors.As(err, &wrong) {
		name := "Invoice"
		if kind == pay.DebitNote {
			name = "Debit note"
		}
		return problem(http.StatusConflict, "%s already accepted by requestor", name)
	}
	return err
}

// decide gives a command to the bill of a document and answers 200 null.
func (p *paymentAPI) decide(c echo.Context, r projections.DocumentRow, cmd bill.Command) error {
	ctx := c.Request().Context()
	if _, err := p.Bills.Do(ctx, bill.StreamID(r.Side, r.AgreementID), cmd, metaOf(c, r.AgreementID, r.Session)); err != nil {
		return err
	}
	return done(c)
}

// rejectionObject is a rejection as clients need it: always an object.
func rejectionObject(text string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return json.RawMessage(`{"rejectionReason":"BAD_SERVICE","totalAmountAccepted":"0"}`)
	}
	return json.RawMessage(text)
}
