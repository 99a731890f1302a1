package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/dealterms"
)

// ackWait is how long a provider waits for its peer unless it says otherwise.
const ackWait = 15 * time.Second

// IssueDebitNote bills an activity. The amount is quantised to what the token
// can pay. The note is on its way to the requestor from then on.
func (p *paymentAPI) IssueDebitNote(c echo.Context) error {
	var in struct {
		ActivityID *string         `json:"activityId"`
		Amount     *dto.Money      `json:"totalAmountDue"`
		Usage      json.RawMessage `json:"usageCounterVector"`
		Due        *dto.Time       `json:"paymentDueDate"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.ActivityID == nil {
		return badBody(c, "Json deserialize error: missing field `activityId`")
	}
	amount, err := amountIn(c, "totalAmountDue", in.Amount)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	agreementID, err := p.agreementOfActivity(ctx, *in.ActivityID)
	if err != nil {
		return err
	}
	a, terms, err := p.billable(ctx, agreementID)
	if err != nil {
		return err
	}
	cmd := bill.IssueNote{
		ActivityID: *in.ActivityID, AgreementID: a.AgreementID, Amount: amount.Round(), At: issueTime(), By: callerOf(ctx),
		DebitNoteID: newUUID(c).String(), Terms: terms,
	}
	if given(in.Usage) {
		cmd.UsageVector = compact(in.Usage)
	}
	if in.Due != nil {
		cmd.DueDate = in.Due.Time
	}
	if err := p.issue(c, a, cmd); err != nil {
		return err
	}
	r, err := p.documentByID(c, identity.Provider, pay.DebitNote, cmd.DebitNoteID)
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, debitNoteAnswer(r))
}

// IssueInvoice bills an agreement, once.
func (p *paymentAPI) IssueInvoice(c echo.Context) error {
	var in struct {
		AgreementID *string    `json:"agreementId"`
		ActivityIDs []string   `json:"activityIds"`
		Amount      *dto.Money `json:"amount"`
		Due         *dto.Time  `json:"paymentDueDate"`
	}
	if err := readJSON(c, &in); err != nil {
		return err
	}
	amount, err := amountIn(c, "amount", in.Amount)
	switch {
	case in.AgreementID == nil:
		return badBody(c, "Json deserialize error: missing field `agreementId`")
	case in.Due == nil:
		return badBody(c, "Json deserialize error: missing field `paymentDueDate`")
	case err != nil:
		return err
	}
	ctx := c.Request().Context()
	a, terms, err := p.billable(ctx, *in.AgreementID)
	if err != nil {
		return err
	}
	for _, id := range in.ActivityIDs {
		if of, err := p.agreementOfActivity(ctx, id); err != nil || of != a.AgreementID {
			return problem(http.StatusBadRequest, "Activity %s is not one of agreement %s.", id, a.AgreementID)
		}
	}
	cmd := bill.IssueInvoice{
		ActivityIDs: in.ActivityIDs, AgreementID: a.AgreementID, Amount: amount.Round(), At: issueTime(), By: callerOf(ctx),
		DueDate: in.Due.Time, InvoiceID: newUUID(c).String(), Terms: terms,
	}
	if err := p.issue(c, a, cmd); err != nil {
		return err
	}
	r, err := p.documentByID(c, identity.Provider, pay.Invoice, cmd.InvoiceID)
	if err != nil {
		return err
	}
	return answer(c, http.StatusCreated, invoiceAnswer(r))
}

func (p *paymentAPI) issue(c echo.Context, a agreement.State, cmd bill.Command) error {
	_, err := p.Bills.Do(c.Request().Context(), bill.StreamID(identity.Provider, a.AgreementID), cmd, metaOf(c, a.AgreementID, a.Session))
	return err
}

// issueTime is what is printed on a document. Not all clients read finer times
// than this.
func issueTime() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// agreementOfActivity finds the agreement of an activity that the caller
// provides.
func (p *paymentAPI) agreementOfActivity(ctx context.Context, id string) (string, error) {
	for _, side := range []identity.Side{identity.Provider, identity.Requestor} {
		a, _, err := p.Activities.Load(ctx, activity.StreamID(side, id))
		switch {
		case err != nil:
			return "", err
		case !a.Exists || a.Owner() != keyOf(ctx).Identity:
		case side == identity.Requestor:
			return "", problem(http.StatusUnauthorized, "Only the provider of activity %s can bill it.", id)
		default:
			return a.AgreementID, nil
		}
	}
	return "", problem(http.StatusBadRequest, "Activity not found: %s", id)
}

// billable finds an agreement that the caller provides, and how it is paid.
func (p *paymentAPI) billable(ctx context.Context, id string) (agreement.State, pay.Terms, error) {
	var none agreement.State
	if _, err := market.ParseAgreementID(id); err != nil {
		return none, pay.Terms{}, err
	}
	for _, side := range []identity.Side{identity.Provider, identity.Requestor} {
		a, _, err := p.Agreements.Load(ctx, agreement.StreamID(side, id))
		switch {
		case err != nil:
			return none, pay.Terms{}, err
		case !a.Exists() || a.Owner() != keyOf(ctx).Identity:
		case side == identity.Requestor:
			return none, pay.Terms{}, problem(http.StatusUnauthorized, "Only the provider of agreement %s can bill it.", id)
		default:
			terms, err := dealterms.Of(a)
			return a, terms, err
		}
	}
	return none, pay.Terms{}, problem(http.StatusBadRequest, "Agreement not found: %s", id)
}

// SendInvoice waits until the requestor has the invoice.
func (p *paymentAPI) SendInvoice(c echo.Context) error { return p.send(c, pay.Invoice) }

// SendDebitNote waits until the requestor has the note.
func (p *paymentAPI) SendDebitNote(c echo.Context) error { return p.send(c, pay.DebitNote) }

// send has nothing to start: a document is on its way since it was issued.
func (p *paymentAPI) send(c echo.Context, kind pay.Kind) error {
	q := queryOf(c)
	wait := q.wait("timeout", ackWait)
	if q.err != nil {
		return q.err
	}
	r, err := p.document(c, identity.Provider, kind)
	if err != nil {
		return err
	}
	client := c.Request().Context()
	ctx, cancel := context.WithTimeout(client, wait)
	defer cancel()
	s, err := p.Bills.Await(ctx, bill.StreamID(r.Side, r.AgreementID), func(s bill.State) bool {
		d, _ := s.Document(r.ID)
		return d.Status != pay.Issued || !d.Sending()
	})
	if errors.Is(err, context.DeadlineExceeded) && client.Err() == nil {
		return problem(http.StatusGatewayTimeout, "Timeout sending %s %s; the node goes on trying.", kind, r.ID)
	}
	if err != nil {
		return err
	}
	if d, _ := s.Document(r.ID); d.Status == pay.Issued {
		return problem(http.StatusInternalServerError, "The requestor does not take %s %s.", kind, r.ID)
	}
	return done(c)
}
