package rest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/accounting"
	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/dealterms"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

// paymentAPI answers payment-api.
type paymentAPI struct {
	*server
	PaymentDeps
	turns *turns // of allocations
}

// paymentRoutes serves payments and their accounting.
func (s *server) paymentRoutes(e *echo.Echo, replayed func(method, operation string, h echo.HandlerFunc) echo.HandlerFunc) {
	if s.Deps.Payment == nil {
		return
	}
	p := &paymentAPI{server: s, PaymentDeps: *s.Deps.Payment, turns: newTurns()}
	for _, r := range gen.Routes {
		e.Add(r.Method, paymentBase+r.Path, s.in(&paymentFamily, replayed(r.Method, r.Operation, r.Handle(p))))
	}
	for _, r := range accounting.Routes {
		e.Add(r.Method, paymentBase+r.Path, s.in(&paymentFamily, replayed(r.Method, r.Operation, r.Handle(p))))
	}
}

var paymentFamily = family{text: paymentText, status: func(err error) int {
	var wrong *bill.WrongStatus
	if errors.As(err, &wrong) {
		if wrong.Status == pay.Issued {
			return http.StatusInternalServerError
		}
		return http.StatusBadRequest
	}
	var (
		few     *allocation.NotEnough
		small   *bill.InvoiceTooSmall
		lowered *bill.AmountLowered
		funds   *wallet.InsufficientFunds
		passed  *allocation.TimeoutPassed
	)
	if errors.As(err, &few) || errors.As(err, &small) || errors.As(err, &lowered) || errors.As(err, &funds) || errors.As(err, &passed) {
		return http.StatusBadRequest
	}
	return statusIn(err, paymentStatuses)
}}

var paymentStatuses = []statusRow{
	{identity.ErrForbidden, http.StatusForbidden},
	{market.ErrMalformedID, http.StatusBadRequest},
	{bill.ErrUnknownDocument, http.StatusNotFound},
	{bill.ErrAmount, http.StatusBadRequest},
	{bill.ErrNegative, http.StatusBadRequest},
	{bill.ErrAlreadyInvoiced, http.StatusBadRequest},
	{bill.ErrActivity, http.StatusBadRequest},
	{bill.ErrOtherContent, http.StatusBadRequest},
	{allocation.ErrUnknown, http.StatusBadRequest},
	{allocation.ErrReleased, http.StatusBadRequest},
	{allocation.ErrBelowSpent, http.StatusBadRequest},
	{allocation.ErrAmount, http.StatusBadRequest},
	{ops.ErrWrongAllocation, http.StatusBadRequest},
	{dealterms.ErrNoPlatform, http.StatusBadRequest},
	{cycle.ErrTooOften, http.StatusBadRequest},
}

// paymentText is an error without the name of the stream that refused, which
// says nothing to clients.
func paymentText(_ int, err error) string {
	var wrong *bill.WrongStatus
	if errors.As(err, &wrong) {
		return fmt.Sprintf("Illegal status: %s (%s %s)", strings.ToLower(string(wrong.Status)), wrong.Kind, wrong.DocumentID)
	}
	text := err.Error()
	head, rest, ok := strings.Cut(text, ": ")
	category, _, named := strings.Cut(head, "-")
	if !ok || !named || strings.Contains(head, " ") {
		return text
	}
	switch category {
	case bill.Category, allocation.Category, wallet.Category, cycle.Category:
		return rest
	}
	return text
}

// notThere is how this API says that something is not there.
func notThere() error { return &Problem{Status: http.StatusNotFound, Null: true} }

// most is a limit, without bound when absent.
func (q *query) most(name string) int {
	n := q.number(name, math.MaxInt32)
	if n < 1 {
		q.fail(name, "want at least 1")
	}
	return int(min(n, math.MaxInt32))
}

func moneyOf(a money.Amount) gen.Money { return dto.Money(a.String()) }

// amountIn reads an amount of a body.
func amountIn(c echo.Context, field string, m *dto.Money) (money.Decimal, error) {
	if m == nil {
		return money.Decimal{}, badBody(c, "Json deserialize error: missing field `%s`", field)
	}
	d, err := money.ParseDecimal(string(*m))
	if err != nil {
		return d, badBody(c, "Json deserialize error: %s: %v", field, err)
	}
	return d, nil
}

// document finds one of the caller's documents. side "" takes either; who plays
// both sides of one deal means the one it has to pay.
func (p *paymentAPI) document(c echo.Context, side identity.Side, kind pay.Kind) (projections.DocumentRow, error) {
	id := c.Param("invoiceId")
	if kind == pay.DebitNote {
		id = c.Param("debitNoteId")
	}
	return p.documentByID(c, side, kind, id)
}

func (p *paymentAPI) documentByID(c echo.Context, side identity.Side, kind pay.Kind, id string) (projections.DocumentRow, error) {
	ctx := c.Request().Context()
	rows, err := p.Views.Documents(ctx, projections.DocumentFilter{Owner: keyOf(ctx).Identity, Side: side, Kind: kind, ID: id})
	if err != nil {
		return projections.DocumentRow{}, err
	}
	if len(rows) == 0 {
		return projections.DocumentRow{}, notThere()
	}
	for _, r := range rows {
		if r.Side == identity.Requestor {
			return r, nil
		}
	}
	return rows[0], nil
}
