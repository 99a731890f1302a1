package rest

import (
	"context"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/projections"
)

// accounting are the routes of the books, which no document lists.
func (p *paymentAPI) accounting() []handRoute {
	const get, post = http.MethodGet, http.MethodPost
	return []handRoute{
		{get, "/payAgreements", p.listPayAgreements},
		{get, "/payAgreements/:agreementId", p.getPayAgreement},
		{get, "/payAgreements/:agreementId/activities", p.listPayActivities},
		{get, "/payAgreements/:agreementId/orders", p.listSettled},
		{get, "/payActivities", p.listPayActivities},
		{get, "/payActivities/:activityId", p.getPayActivity},
		{get, "/payActivities/:activityId/debitNotes", p.listChain},
		{get, "/payActivities/:activityId/invoice", p.getInvoiceOfActivity},
		{get, "/payActivities/:activityId/orders", p.listSettled},
		{get, "/allocations/:allocationId/orders", p.listSettled},
		{get, "/batchOrders", p.listOrders},
		{get, "/batchOrders/:orderId", p.getOrder},
		{get, "/batchOrders/:orderId/items", p.listOrderItems},
		{get, "/batchOrders/:orderId/items/:payee/details", p.listSettled},
		{get, "/batchCycles", p.listCycles},
		{get, "/batchCycle/:platform", p.getCycle},
		{post, "/batchCycle", p.setCycle},
		{post, "/batchCycle/:platform/now", p.settleNow},
	}
}

// debt is how far the debt of an agreement or an activity has come.
type debt struct {
	ID        string        `json:"id"`
	OwnerID   string        `json:"ownerId"`
	Role      string        `json:"role"`
	PeerID    string        `json:"peerId"`
	PayeeAddr string        `json:"payeeAddr"`
	PayerAddr string        `json:"payerAddr"`
	Platform  string        `json:"paymentPlatform"`
	Due       dto.Money     `json:"totalAmountDue"`
	Accepted  dto.Money     `json:"totalAmountAccepted"`
	Scheduled dto.Money     `json:"totalAmountScheduled"`
	Paid      dto.Money     `json:"totalAmountPaid"`
	Created   dto.NaiveTime `json:"createdTs"`
	Updated   dto.NaiveTime `json:"updatedTs"`
}

type agreementDebt struct {
	debt
	Session *string `json:"appSessionId"`
}

type activityDebt struct {
	debt
	AgreementID string `json:"agreementId"`
}

func debtOf(id string, r projections.TotalsRow) debt {
	return debt{
		ID: id, OwnerID: string(r.Owner), Role: string(r.Side), PeerID: string(r.Peer), PayeeAddr: r.PayeeAddr, PayerAddr: r.PayerAddr,
		Platform: string(r.Platform), Due: moneyOf(r.Due), Accepted: moneyOf(r.Accepted), Scheduled: moneyOf(r.Scheduled), Paid: moneyOf(r.Paid),
		Created: dto.NaiveTime{Time: r.Created}, Updated: dto.NaiveTime{Time: r.Updated},
	}
}

func agreementDebtOf(r projections.TotalsRow) agreementDebt {
	return agreementDebt{debtOf(r.AgreementID, r), orNull(r.Session)}
}

func activityDebtOf(r projections.TotalsRow) activityDebt {
	return activityDebt{debtOf(r.ActivityID, r), r.AgreementID}
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

func (p *paymentAPI) listPayAgreements(c echo.Context) error {
	all, err := debts(c, p.Views.PayAgreements, agreementDebtOf)
	if err != nil {
		return err
	}
	return list(c, all)
}

func (p *paymentAPI) getPayAgreement(c echo.Context) error {
	all, err := debts(c, p.Views.PayAgreements, agreementDebtOf)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return done(c) // null: this is how the route says that there is none
	}
	return ok(c, all[0])
}

func (p *paymentAPI) listPayActivities(c echo.Context) error {
	all, err := debts(c, p.Views.PayActivities, activityDebtOf)
	if err != nil {
		return err
	}
	return list(c, all)
}

func (p *paymentAPI) getPayActivity(c echo.Context) error {
	all, err := debts(c, p.Views.PayActivities, activityDebtOf)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return notThere()
	}
	return ok(c, all[0])
}

// chainedNote is a debit note with its number in the activity.
type chainedNote struct {
	gen.DebitNote
	Nonce int `json:"debitNonce"`
}

// listChain lists the notes of an activity, newest first.
func (p *paymentAPI) listChain(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Documents(ctx, projections.DocumentFilter{
		Owner: keyOf(ctx).Identity, Kind: pay.DebitNote, ActivityID: c.Param("activityId"),
	})
	if err != nil {
		return err
	}
	out := make([]chainedNote, len(rows))
	for i, r := range rows {
		out[len(rows)-1-i] = chainedNote{debitNoteAnswer(r), r.Nonce}
	}
	return list(c, out)
}

// getInvoiceOfActivity shows the invoice that an activity is billed with, null
// when there is none yet.
func (p *paymentAPI) getInvoiceOfActivity(c echo.Context) error {
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

// settlementRun is a batch order.
type settlementRun struct {
	ID        string        `json:"id"`
	Created   dto.NaiveTime `json:"createdTs"`
	Updated   dto.NaiveTime `json:"updatedTs"`
	OwnerID   string        `json:"ownerId"`
	PayerAddr string        `json:"payerAddr"`
	Platform  string        `json:"platform"`
	Total     dto.Money     `json:"totalAmount"`
	Paid      dto.Money     `json:"paidAmount"`
}

func settlementRunOf(r projections.OrderRow) settlementRun {
	return settlementRun{
		r.ID, dto.NaiveTime{Time: r.Created}, dto.NaiveTime{Time: r.Updated}, string(r.Owner), r.PayerAddr, string(r.Platform), moneyOf(r.Total), moneyOf(r.Paid),
	}
}

func (p *paymentAPI) listOrders(c echo.Context) error {
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
	var out []settlementRun
	for _, r := range rows {
		if r.Created.After(after) && len(out) < most {
			out = append(out, settlementRunOf(r))
		}
	}
	return list(c, out)
}

func (p *paymentAPI) getOrder(c echo.Context) error {
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

// orderItem is what one payee gets from one allocation in a run.
type orderItem struct {
	OrderID      string    `json:"orderId"`
	OwnerID      string    `json:"ownerId"`
	PayeeAddr    string    `json:"payeeAddr"`
	AllocationID string    `json:"allocationId"`
	Amount       dto.Money `json:"amount"`
	PaymentID    *string   `json:"paymentId"`
	Paid         bool      `json:"paid"`
}

func (p *paymentAPI) listOrderItems(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.OrderItems(ctx, keyOf(ctx).Identity, c.Param("orderId"))
	if err != nil {
		return err
	}
	var out []orderItem
	for _, r := range rows {
		for _, part := range byAllocation(r.Ranges) {
			out = append(out, orderItem{
				r.OrderID, string(r.Owner), r.PayeeAddr, part[0].AllocationID, moneyOf(pay.Total(part)), orNull(r.PaymentID), r.Paid,
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

// settled is a piece of a debt in a settlement run, and the document it was
// accepted with.
type settled struct {
	Created      dto.NaiveTime `json:"createdTs"`
	Updated      dto.NaiveTime `json:"updatedTs"`
	OrderID      string        `json:"orderId"`
	OwnerID      string        `json:"ownerId"`
	PayeeAddr    string        `json:"payeeAddr"`
	AllocationID string        `json:"allocationId"`
	Amount       dto.Money     `json:"amount"`
	AgreementID  string        `json:"agreementId"`
	InvoiceID    *string       `json:"invoiceId"`
	ActivityID   *string       `json:"activityId"`
	DebitNoteID  *string       `json:"debitNoteId"`
}

// listSettled lists the pieces that belong to what the path names.
func (p *paymentAPI) listSettled(c echo.Context) error {
	ctx := c.Request().Context()
	me := keyOf(ctx).Identity
	items, err := p.Views.OrderItems(ctx, me, c.Param("orderId"))
	if err != nil {
		return err
	}
	var out []settled
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

func settledOf(item projections.OrderItemRow, r pay.Range, documents []projections.DocumentRow) settled {
	at := dto.NaiveTime{Time: item.Recorded}
	out := settled{
		Created: at, Updated: at, OrderID: item.OrderID, OwnerID: string(item.Owner), PayeeAddr: item.PayeeAddr,
		AllocationID: r.AllocationID, Amount: moneyOf(r.Amount()), AgreementID: r.AgreementID, ActivityID: orNull(r.ActivityID),
	}
	for _, d := range documents {
		switch {
		case d.Status != pay.Accepted && d.Status != pay.Settled:
		case r.ActivityID == "" && d.Kind == pay.Invoice:
			out.InvoiceID = orNull(d.ID)
		case r.ActivityID != "" && d.Kind == pay.DebitNote && slices.Contains(d.ActivityIDs, r.ActivityID) && !d.Amount.Less(r.To) && out.DebitNoteID == nil:
			out.DebitNoteID = orNull(d.ID) // the first that covers the piece
		}
	}
	return out
}
