package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/projections"
)

const (
	allocationLife = 3650 * 24 * time.Hour // of allocations without a timeout
	chainPatience  = 30 * time.Second      // for what only a chain can tell
)

// newAllocation are the fields of a request that count. Clients also send
// those that only answers have, with texts that mean nothing.
type newAllocation struct {
	Address         *string         `json:"address"`
	PaymentPlatform json.RawMessage `json:"paymentPlatform"`
	TotalAmount     *dto.Money      `json:"totalAmount"`
	Timeout         *dto.Time       `json:"timeout"`
	Deposit         json.RawMessage `json:"deposit"`
}

// CreateAllocation sets money aside for bills.
func (p *paymentAPI) CreateAllocation(c echo.Context) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	var in newAllocation
	if err := json.Unmarshal(body, &in); err != nil {
		return badBody(c, "Json deserialize error: %v", plainly(err))
	}
	cmd, profile, err := p.allocationOf(c, in, body)
	if err != nil {
		return err
	}
	about := problemAbout{body, string(cmd.Platform), cmd.Address}
	if err := p.observe(c.Request().Context(), cmd.OwnerID, profile, cmd.Address); err != nil && !p.SkipValidation {
		return about.unreachable(profile.Network, err)
	}
	meta := metaOf(c, cmd.AllocationID, cmd.AppSessionID)
	if err := p.Ops.Handle(c.Request().Context(), cmd.AllocationID, cmd, meta); err != nil {
		return about.of(err)
	}
	return p.showAllocation(c, http.StatusCreated, cmd.AllocationID)
}

// allocationOf makes the wish of a request.
func (p *paymentAPI) allocationOf(c echo.Context, in newAllocation, body []byte) (ops.CreateAllocation, onchain.Profile, error) {
	var none ops.CreateAllocation
	ctx, now := c.Request().Context(), time.Now().UTC()
	total, err := allocated(c, in.TotalAmount)
	if err != nil {
		return none, onchain.Profile{}, err
	}
	profile, err := p.platform(in.PaymentPlatform)
	if err != nil {
		return none, profile, badPlatform(body, in.PaymentPlatform, err)
	}
	me := keyOf(ctx).Identity
	address := string(me)
	if in.Address != nil && *in.Address != "" {
		address = *in.Address
	}
	about := problemAbout{body, profile.Platform(), address}
	switch {
	case !pay.SameAddress(address, string(me)):
		return none, profile, about.notOurs(me)
	case given(in.Deposit):
		return none, profile, about.noDeposits()
	}
	timeout := now.Add(allocationLife)
	if in.Timeout != nil {
		timeout = in.Timeout.Time
	}
	return ops.CreateAllocation{Unchecked: p.SkipValidation, Create: allocation.Create{
		Address: address, AllocationID: newUUID(c).String(), At: now, By: callerOf(ctx), ChainID: profile.ChainID, OwnerID: me,
		Platform: pay.Platform(profile.Platform()), Timeout: timeout.Truncate(time.Microsecond), Total: total,
	}}, profile, nil
}

// allocated reads the total of an allocation, which must be payable exactly.
func allocated(c echo.Context, m *dto.Money) (money.Amount, error) {
	d, err := amountIn(c, "totalAmount", m)
	if err != nil {
		return money.Amount{}, err
	}
	a, err := d.Amount()
	if err == nil && a.Sign() < 0 {
		err = allocation.ErrAmount
	}
	if err != nil {
		return a, badBody(c, "Json deserialize error: totalAmount: %v", err)
	}
	return a, nil
}

func given(text json.RawMessage) bool { return len(text) > 0 && string(text) != "null" }

// observe brings the wallet up to date, so that its balance can be relied on.
func (p *paymentAPI) observe(ctx context.Context, owner identity.NodeID, profile onchain.Profile, address string) error {
	ctx, cancel := context.WithTimeout(ctx, chainPatience)
	defer cancel()
	return p.Funds.Observe(ctx, owner, pay.Platform(profile.Platform()), address)
}

// allocation finds one of the caller's allocations that was not released.
func (p *paymentAPI) allocation(ctx context.Context, id string) (projections.AllocationRow, error) {
	rows, err := p.Views.Allocations(ctx, projections.AllocationFilter{Owner: keyOf(ctx).Identity, ID: id, Active: true})
	if err != nil {
		return projections.AllocationRow{}, err
	}
	if len(rows) == 0 {
		return projections.AllocationRow{}, notThere()
	}
	return rows[0], nil
}

func (p *paymentAPI) showAllocation(c echo.Context, status int, id string) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Allocations(ctx, projections.AllocationFilter{Owner: keyOf(ctx).Identity, ID: id})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return notThere()
	}
	return answer(c, status, allocationAnswer(rows[0]))
}

func allocationAnswer(r projections.AllocationRow) gen.Allocation {
	return gen.Allocation{
		AllocationId: r.ID, Address: r.Address, PaymentPlatform: string(r.Platform), TotalAmount: moneyOf(r.Total),
		SpentAmount: moneyOf(r.Committed), RemainingAmount: moneyOf(r.Remaining()), Timestamp: dto.At(r.Updated),
		Timeout: dto.At(r.Timeout), CreatedTs: dto.At(r.Created), UpdatedTs: dto.At(r.Updated),
	}
}

// ListAllocations lists those that were not released.
func (p *paymentAPI) ListAllocations(c echo.Context) error {
	ctx, q := c.Request().Context(), queryOf(c)
	f := projections.AllocationFilter{Owner: keyOf(ctx).Identity, Active: true, After: q.date("afterTimestamp"), Limit: q.most("maxItems")}
	if q.err != nil {
		return q.err
	}
	rows, err := p.Views.Allocations(ctx, f)
	if err != nil {
		return err
	}
	out := make([]gen.Allocation, len(rows))
	for i, r := range rows {
		out[i] = allocationAnswer(r)
	}
	return list(c, out)
}

// GetAllocation shows one that was not released.
func (p *paymentAPI) GetAllocation(c echo.Context) error {
	r, err := p.allocation(c.Request().Context(), c.Param("allocationId"))
	if err != nil {
		return err
	}
	return ok(c, allocationAnswer(r))
}

// ReleaseAllocation gives back what is left. It comes after acceptances that
// were asked for before.
func (p *paymentAPI) ReleaseAllocation(c echo.Context) error {
	ctx, id := c.Request().Context(), c.Param("allocationId")
	leave, err := p.turns.take(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	a, _, err := p.Allocations.Load(ctx, id)
	if err != nil {
		return err
	}
	if a.ID == "" || a.OwnerID != keyOf(ctx).Identity {
		return notThere()
	}
	cmd := ops.ReleaseAllocation{AllocationID: id, By: callerOf(ctx)}
	if err := p.Ops.Handle(ctx, id, cmd, metaOf(c, id, a.AppSessionID)); err != nil {
		return restate(err, statusRow{allocation.ErrReleased, http.StatusGone})
	}
	return done(c)
}

// AmendAllocation changes the budget or its end.
func (p *paymentAPI) AmendAllocation(c echo.Context) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	var in newAllocation
	if err := json.Unmarshal(body, &in); err != nil {
		return badBody(c, "Json deserialize error: %v", plainly(err))
	}
	ctx, id := c.Request().Context(), c.Param("allocationId")
	leave, err := p.turns.take(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	was, err := p.allocation(ctx, id)
	if err != nil {
		return err
	}
	if given(in.Deposit) {
		return problem(http.StatusBadRequest, "The allocation has no deposit that could be changed.")
	}
	if err := p.amend(c, was, in, body); err != nil {
		return err
	}
	return p.showAllocation(c, http.StatusOK, id)
}

func (p *paymentAPI) amend(c echo.Context, was projections.AllocationRow, in newAllocation, body []byte) error {
	ctx := c.Request().Context()
	cmd := ops.AmendAllocation{AllocationID: was.ID, Unchecked: p.SkipValidation, Amend: allocation.Amend{At: time.Now().UTC(), By: callerOf(ctx)}}
	if in.Timeout != nil {
		cmd.Timeout = in.Timeout.Truncate(time.Microsecond)
	}
	about := problemAbout{body, string(was.Platform), was.Address}
	if in.TotalAmount != nil {
		total, err := allocated(c, in.TotalAmount)
		if err != nil {
			return err
		}
		cmd.Total = &total
		if profile, ok := p.network(was.Platform.Network()); ok && was.Total.Less(total) {
			if err := p.observe(ctx, was.Owner, profile, was.Address); err != nil && !p.SkipValidation {
				return about.unreachable(profile.Network, err)
			}
		}
	}
	err := p.Ops.Handle(ctx, was.ID, cmd, metaOf(c, was.ID, was.Session))
	var passed *allocation.TimeoutPassed
	switch {
	case errors.As(err, &passed):
		return problem(http.StatusBadRequest, "New allocation timeout is in the past")
	case errors.Is(err, allocation.ErrBelowSpent):
		return err
	case errors.Is(err, allocation.ErrReleased):
		return notThere()
	case err != nil:
		return about.of(err)
	}
	return nil
}

// ListExpenditures lists what was promised from an allocation.
func (p *paymentAPI) ListExpenditures(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Expenditures(ctx, keyOf(ctx).Identity, c.Param("allocationId"))
	if err != nil {
		return err
	}
	out := make([]gen.Expenditure, len(rows))
	for i, r := range rows {
		out[i] = gen.Expenditure{
			AllocationId: r.AllocationID, AgreementId: r.AgreementID, ActivityId: r.ActivityID,
			AcceptedAmount: moneyOf(r.Accepted), ScheduledAmount: moneyOf(r.Scheduled),
		}
	}
	return list(c, out)
}

// GetDemandDecorations tells what a demand must say so that its agreements can
// be paid from allocations. Clients take each constraint apart: it must be one
// clause, with nothing around it.
func (p *paymentAPI) GetDemandDecorations(c echo.Context) error {
	q := queryOf(c)
	ids := q.list("allocationIds")
	switch {
	case q.err != nil:
		return q.err
	case len(ids) == 0:
		return badQuery("Query deserialize error: missing field `allocationIds`")
	}
	var out gen.MarketDecoration
	var clauses []string
	known := make(map[string]bool)
	for _, id := range ids {
		a, err := p.allocation(c.Request().Context(), id)
		if err != nil {
			return err
		}
		key := "golem.com.payment.platform." + string(a.Platform) + ".address"
		if !known[key] {
			clauses = append(clauses, "("+key+"=*)")
		}
		if !known[key+"="+a.Address] {
			out.Properties = append(out.Properties, gen.DecorationProperty{Key: key, Value: a.Address})
		}
		known[key], known[key+"="+a.Address] = true, true
	}
	payable := clauses[0]
	if len(clauses) > 1 {
		payable = "(|\n  " + strings.Join(clauses, "\n  ") + "\n)"
	}
	out.Properties = append(out.Properties, gen.DecorationProperty{Key: "golem.com.payment.protocol.version", Value: "3"})
	out.Constraints = []string{payable, "(golem.com.payment.protocol.version>1)"}
	return ok(c, out)
}
