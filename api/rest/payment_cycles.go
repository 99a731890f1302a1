package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/accounting"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/projections"
)

// scheduleOf is how often the caller settles on a platform.
func scheduleOf(r projections.CycleRow, now time.Time) accounting.Schedule {
	every := int64(r.Interval / time.Second)
	out := accounting.Schedule{
		NodeId: string(r.Owner), Platform: string(r.Platform), ExtraPayTimeSec: int64(r.ExtraPayTime / time.Second), MaxIntervalSec: every,
		Cron: orNull(r.Cron), NextProcess: offsetTime(nextRun(r, now)), LastProcess: offsetTime(r.Last),
	}
	if r.Cron == "" {
		out.IntervalSec = &every
	}
	return out
}

// nextRun is when the payer settles if it owes something by then: runs with
// nothing to pay are left out.
func nextRun(r projections.CycleRow, now time.Time) time.Time {
	late := now.Sub(r.Next)
	if r.Next.IsZero() || late < 0 || r.Interval <= 0 {
		return r.Next
	}
	return r.Next.Add((late/r.Interval + 1) * r.Interval)
}

// offsetTime is a moment with its zone as an offset, as this route has it.
func offsetTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format("2006-01-02T15:04:05.999999999-07:00")
	return &s
}

// ListCycles lists the schedules that were set.
func (p *paymentAPI) ListCycles(c echo.Context) error {
	ctx := c.Request().Context()
	rows, err := p.Views.Cycles(ctx, keyOf(ctx).Identity, "")
	if err != nil {
		return err
	}
	out := make([]accounting.Schedule, len(rows))
	for i, r := range rows {
		out[i] = scheduleOf(r, p.now())
	}
	return list(c, out)
}

// cycleOf is the schedule of a platform; one that was never set is as a new
// payer's will be, and has no next run yet.
func (p *paymentAPI) cycleOf(ctx context.Context, platform pay.Platform) (projections.CycleRow, error) {
	me := keyOf(ctx).Identity
	rows, err := p.Views.Cycles(ctx, me, platform)
	if err != nil || len(rows) > 0 {
		return append(rows, projections.CycleRow{})[0], err
	}
	every := cycle.Defaults
	if p.Cycle != nil {
		every = p.Cycle
	}
	interval, extra := every(platform)
	return projections.CycleRow{Platform: platform, Address: string(me), Owner: me, Interval: interval, ExtraPayTime: extra}, nil
}

// served reads the platform of a path or body.
func (p *paymentAPI) served(name string) (pay.Platform, error) {
	b, err := encode(name)
	if err != nil {
		return "", err
	}
	profile, err := p.platform(b)
	return pay.Platform(profile.Platform()), err
}

// GetCycle shows the schedule of a platform.
func (p *paymentAPI) GetCycle(c echo.Context) error {
	platform, err := p.served(c.Param("platform"))
	if err != nil {
		return problem(http.StatusInternalServerError, "%s", err.Error())
	}
	r, err := p.cycleOf(c.Request().Context(), platform)
	if err != nil {
		return err
	}
	return ok(c, scheduleOf(r, p.now()))
}

// SetCycle sets a schedule. It answers 200 also when it refuses.
func (p *paymentAPI) SetCycle(c echo.Context) error {
	var in accounting.NewSchedule
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if in.Platform == nil {
		return badBody(c, "Json deserialize error: missing field `platform`")
	}
	ctx := c.Request().Context()
	row, err := p.configure(c, in)
	switch {
	case ctx.Err() != nil || errors.Is(err, identity.ErrForbidden):
		return err
	case err != nil:
		text := paymentText(0, err)
		return ok(c, accounting.ScheduleResult{Err: &text})
	}
	s := scheduleOf(row, p.now())
	return ok(c, accounting.ScheduleResult{Ok: &s})
}

// longestCycle keeps a number of seconds from running over.
const longestCycle = int64(10 * 365 * 24 * time.Hour / time.Second)

func cycleTime(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), longestCycle)) * time.Second
}

func (p *paymentAPI) configure(c echo.Context, in accounting.NewSchedule) (projections.CycleRow, error) {
	var none projections.CycleRow
	ctx := c.Request().Context()
	platform, err := p.served(*in.Platform)
	if err != nil {
		return none, err
	}
	if in.Cron != nil {
		return none, errors.New("this node settles at intervals: give intervalSec instead of cron")
	}
	was, err := p.cycleOf(ctx, platform)
	if err != nil {
		return none, err
	}
	cmd := p.configuration(ctx, was)
	if in.IntervalSec != nil {
		cmd.Interval = cycleTime(*in.IntervalSec)
	}
	if in.ExtraPayTimeSec != nil {
		cmd.ExtraPayTime = cycleTime(*in.ExtraPayTimeSec)
	}
	if in.NextUpdate != nil {
		if cmd.NextAt, err = dto.ParseTime(*in.NextUpdate); err != nil {
			return none, err
		}
	}
	id := cycle.StreamID(platform, cmd.Address)
	if _, err := p.Cycles.Do(ctx, id, cmd, metaOf(c, id, "")); err != nil {
		return none, err
	}
	return p.cycleOf(ctx, platform)
}

// configuration is the wish to settle as it was.
func (p *paymentAPI) configuration(ctx context.Context, was projections.CycleRow) cycle.Configure {
	return cycle.Configure{
		Address: was.Address, At: time.Now().UTC(), By: callerOf(ctx), ExtraPayTime: was.ExtraPayTime, Interval: was.Interval,
		OwnerID: keyOf(ctx).Identity, Platform: was.Platform,
	}
}

// SettleNow asks for a run. It goes on after the answer, so no time is spent
// on sending here.
func (p *paymentAPI) SettleNow(c echo.Context) error {
	platform, err := p.served(c.Param("platform"))
	if err != nil {
		return problem(http.StatusInternalServerError, "%s", err.Error())
	}
	ctx, began := c.Request().Context(), time.Now()
	was, err := p.cycleOf(ctx, platform)
	if err != nil {
		return err
	}
	id, meta := cycle.StreamID(platform, was.Address), metaOf(c, string(platform), "")
	first := p.configuration(ctx, was)
	first.OnlyIfNew = true
	opening := meta
	opening.Key += "/configure"
	if _, err := p.Cycles.Do(ctx, id, first, opening); err != nil {
		return err
	}
	run := cycle.RequestRun{At: began.UTC(), By: callerOf(ctx), Why: cycle.ByRequest}
	if _, err := p.Cycles.Do(ctx, id, run, meta); err != nil {
		return err
	}
	return ok(c, accounting.RunRequested{ResolveTimeMs: time.Since(began).Milliseconds()})
}
