package rest

import (
	"context"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/accounting"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/projections"
)

// agreementDebtOf is how far the debt of an agreement has come.
func agreementDebtOf(r projections.TotalsRow) accounting.AgreementDebt {
	return accounting.AgreementDebt{
		Id: r.AgreementID, OwnerId: string(r.Owner), Role: string(r.Side), PeerId: string(r.Peer), PayeeAddr: r.PayeeAddr, PayerAddr: r.PayerAddr,
		PaymentPlatform: string(r.Platform), TotalAmountDue: moneyOf(r.Due), TotalAmountAccepted: moneyOf(r.Accepted),
		TotalAmountScheduled: moneyOf(r.Scheduled), TotalAmountPaid: moneyOf(r.Paid),
		CreatedTs: dto.NaiveTime{Time: r.Created}, UpdatedTs: dto.NaiveTime{Time: r.Updated}, AppSessionId: orNull(r.Session),
	}
}

// activityDebtOf is how far the debt of an activity has come.
func activityDebtOf(r projections.TotalsRow) accounting.ActivityDebt {
	d := agreementDebtOf(r)
	return accounting.ActivityDebt{
		Id: r.ActivityID, OwnerId: d.OwnerId, Role: d.Role, PeerId: d.PeerId, PayeeAddr: d.PayeeAddr, PayerAddr: d.PayerAddr,
		PaymentPlatform: d.PaymentPlatform, TotalAmountDue: d.TotalAmountDue, TotalAmountAccepted: d.TotalAmountAccepted,
		TotalAmountScheduled: d.TotalAmountScheduled, TotalAmountPaid: d.TotalAmountPaid,
		CreatedTs: d.CreatedTs, UpdatedTs: d.UpdatedTs, AgreementId: r.AgreementID,
	}
}

// totalsFilter reads the parameters that lists of debts have.
func totalsFilter(c echo.Context) (projections.TotalsFilter, error) {
	q := queryOf(c)
	f := projections.TotalsFilter{
		Owner: keyOf(c.Request().Context()).Identity, AgreementID: c.Param("agreementId"), ActivityID: c.Param("activityId"),
		After: q.date("afterTimestamp"), Limit: q.most("maxItems"),
	}
	return f, q.err
}

// debts answers a list, and one the first of it.
func debts[T any](c echo.Context, read func(context.Context, projections.TotalsFilter) ([]projections.TotalsRow, error), show func(projections.TotalsRow) T) ([]T, error) {
	f, err := totalsFilter(c)
	if err != nil {
		return nil, err
	}
	rows, err := read(c.Request().Context(), f)
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = show(r)
	}
	return out, err
}

// ListPayAgreements lists how far the debts of agreements have come.
func (p *paymentAPI) ListPayAgreements(c echo.Context) error {
	all, err := debts(c, p.Views.PayAgreements, agreementDebtOf)
	if err != nil {
		return err
	}
	return list(c, all)
}

// GetPayAgreement tells how far the debt of an agreement has come.
func (p *paymentAPI) GetPayAgreement(c echo.Context) error {
	all, err := debts(c, p.Views.PayAgreements, agreementDebtOf)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return done(c) // null: this is how the route says that there is none
	}
	return ok(c, all[0])
}

// ListPayActivities lists how far the debts of activities have come.
func (p *paymentAPI) ListPayActivities(c echo.Context) error {
	all, err := debts(c, p.Views.PayActivities, activityDebtOf)
	if err != nil {
		return err
	}
	return list(c, all)
}

// ListPayActivitiesOfAgreement lists the same of one agreement.
func (p *paymentAPI) ListPayActivitiesOfAgreement(c echo.Context) error {
	return p.ListPayActivities(c)
}

// GetPayActivity tells how far the debt of an activity has come.
func (p *paymentAPI) GetPayActivity(c echo.Context) error {
	all, err := debts(c, p.Views.PayActivities, activityDebtOf)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return notThere()
	}
	return ok(c, all[0])
}

// chained is a debit note with its number in the activity.
func chained(r projections.DocumentRow) accounting.ChainedNote {
	n := debitNoteAnswer(r)
	return accounting.ChainedNote{
		DebitNoteId: n.DebitNoteId, IssuerId: n.IssuerId, RecipientId: n.RecipientId, PayeeAddr: n.PayeeAddr, PayerAddr: n.PayerAddr,
		PaymentPlatform: n.PaymentPlatform, PreviousDebitNoteId: n.PreviousDebitNoteId, Timestamp: n.Timestamp, AgreementId: n.AgreementId,
		ActivityId: n.ActivityId, TotalAmountDue: n.TotalAmountDue, UsageCounterVector: n.UsageCounterVector,
		PaymentDueDate: n.PaymentDueDate, Status: string(n.Status), DebitNonce: r.Nonce,
	}
}

// ListChain lists the notes of an activity, newest first.
func (p *paymentAPI) ListChain(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Documents(ctx, projections.DocumentFilter{
		Owner: keyOf(ctx).Identity, Kind: pay.DebitNote, ActivityID: c.Param("activityId"),
	})
	if err != nil {
		return err
	}
	out := make([]accounting.ChainedNote, len(rows))
	for i, r := range rows {
		out[len(rows)-1-i] = chained(r)
	}
	return list(c, out)
}

// GetInvoiceOfActivity shows the invoice that an activity is billed with, null
// when there is none yet.
func (p *paymentAPI) GetInvoiceOfActivity(c echo.Context) error {
	ctx := c.Request().Context()
	me := keyOf(ctx).Identity
	rows, err := p.Views.Documents(ctx, projections.DocumentFilter{Owner: me, Kind: pay.Invoice, ActivityID: c.Param("activityId")})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return done(c)
	}
	return ok(c, invoiceAnswer(rows[len(rows)-1]))
}

// settlementRunOf is a batch order.
func settlementRunOf(r projections.OrderRow) accounting.SettlementRun {
	return accounting.SettlementRun{
		Id: r.ID, CreatedTs: dto.NaiveTime{Time: r.Created}, UpdatedTs: dto.NaiveTime{Time: r.Updated}, OwnerId: string(r.Owner),
		PayerAddr: r.PayerAddr, Platform: string(r.Platform), TotalAmount: moneyOf(r.Total), PaidAmount: moneyOf(r.Paid),
	}
}

// ListOrders lists settlement runs.
func (p *paymentAPI) ListOrders(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	after, most := q.date("afterTimestamp"), q.most("maxItems")
	if q.err != nil {
		return q.err
	}
	rows, err := p.Views.Orders(ctx, keyOf(ctx).Identity, "")
	if err != nil {
		return err
	}
	var out []accounting.SettlementRun
	for _, r := range rows {
		if r.Created.After(after) && len(out) < most {
			out = append(out, settlementRunOf(r))
		}
	}
	return list(c, out)
}

// GetOrder shows a settlement run.
func (p *paymentAPI) GetOrder(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Orders(ctx, keyOf(ctx).Identity, c.Param("orderId"))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return notThere()
	}
	return ok(c, settlementRunOf(rows[0]))
}

// ListOrderItems lists what each payee gets from each allocation in a run.
func (p *paymentAPI) ListOrderItems(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.OrderItems(ctx, keyOf(ctx).Identity, c.Param("orderId"))
	if err != nil {
		return err
	}
	var out []accounting.OrderItem
	for _, r := range rows {
		for _, part := range byAllocation(r.Ranges) {
			out = append(out, accounting.OrderItem{
				OrderId: r.OrderID, OwnerId: string(r.Owner), PayeeAddr: r.PayeeAddr, AllocationId: part[0].AllocationID,
				Amount: moneyOf(pay.Total(part)), PaymentId: orNull(r.PaymentID), Paid: r.Paid,
			})
		}
	}
	return list(c, out)
}

// byAllocation parts ranges by the allocation they were accepted on, in the
// order in which those appear.
func byAllocation(ranges []pay.Range) (out [][]pay.Range) {
	for _, r := range ranges {
		i := slices.IndexFunc(out, func(part []pay.Range) bool { return part[0].AllocationID == r.AllocationID })
		if i < 0 {
			out = append(out, []pay.Range{r})
			continue
		}
		out[i] = append(out[i], r)
	}
	return out
}

// ListSettledOfAgreement lists the settled pieces of an agreement's debt.
func (p *paymentAPI) ListSettledOfAgreement(c echo.Context) error { return p.listSettled(c) }

// ListSettledOfActivity lists the settled pieces of an activity's debt.
func (p *paymentAPI) ListSettledOfActivity(c echo.Context) error { return p.listSettled(c) }

// ListSettledOfAllocation lists the pieces that were settled from an allocation.
func (p *paymentAPI) ListSettledOfAllocation(c echo.Context) error { return p.listSettled(c) }

// ListSettledOfPayee lists what one payee gets in a run.
func (p *paymentAPI) ListSettledOfPayee(c echo.Context) error { return p.listSettled(c) }

// listSettled lists the pieces that belong to what the path names.
func (p *paymentAPI) listSettled(c echo.Context) error {
	ctx := c.Request().Context()
	me := keyOf(ctx).Identity
	items, err := p.Views.OrderItems(ctx, me, c.Param("orderId"))
	if err != nil {
		return err
	}
	var out []accounting.Settled
	documents := make(map[string][]projections.DocumentRow)
	for _, item := range items {
		if payee := c.Param("payee"); payee != "" && !pay.SameAddress(payee, item.PayeeAddr) {
			continue
		}
		for _, r := range item.Ranges {
			if !named(c, r) {
				continue
			}
			of, err := p.documentsOf(ctx, me, r.AgreementID, documents)
			if err != nil {
				return err
			}
			out = append(out, settledOf(item, r, of))
		}
	}
	return list(c, out)
}

// named says whether the path asks for this piece.
func named(c echo.Context, r pay.Range) bool {
	for name, value := range map[string]string{"agreementId": r.AgreementID, "activityId": r.ActivityID, "allocationId": r.AllocationID} {
		if asked := c.Param(name); asked != "" && asked != value {
			return false
		}
	}
	return true
}

// documentsOf are the documents of an agreement that the caller pays.
func (p *paymentAPI) documentsOf(ctx context.Context, me identity.NodeID, agreementID string, known map[string][]projections.DocumentRow) ([]projections.DocumentRow, error) {
	if rows, ok := known[agreementID]; ok {
		return rows, nil
	}
	rows, err := p.Views.Documents(ctx, projections.DocumentFilter{Owner: me, Side: identity.Requestor, AgreementID: agreementID})
	known[agreementID] = rows
	return rows, err
}

func settledOf(item projections.OrderItemRow, r pay.Range, documents []projections.DocumentRow) accounting.Settled {
	at := dto.NaiveTime{Time: item.Recorded}
	out := accounting.Settled{
		CreatedTs: at, UpdatedTs: at, OrderId: item.OrderID, OwnerId: string(item.Owner), PayeeAddr: item.PayeeAddr,
		AllocationId: r.AllocationID, Amount: moneyOf(r.Amount()), AgreementId: r.AgreementID, ActivityId: orNull(r.ActivityID),
	}
	for _, d := range documents {
		switch {
		case d.Status != pay.Accepted && d.Status != pay.Settled:
		case r.ActivityID == "" && d.Kind == pay.Invoice:
			out.InvoiceId = orNull(d.ID)
		case r.ActivityID != "" && d.Kind == pay.DebitNote && slices.Contains(d.ActivityIDs, r.ActivityID) && !d.Amount.Less(r.To) && out.DebitNoteId == nil:
			out.DebitNoteId = orNull(d.ID) // the first that covers the piece
		}
	}
	return out
}
