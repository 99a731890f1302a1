package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/projections"
)

const maxActivityEvents = 100

var activityNews = es.Filter{Types: []string{"activity.created.v1", "activity.destruction_requested.v1"}}

// CollectActivityEvents tells a provider's agent which activities to start and
// to stop.
func (a *activityAPI) CollectActivityEvents(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	after, wait := q.date("afterTimestamp"), q.wait("timeout", defaultWait)
	most, session := q.number("maxEvents", maxActivityEvents), q.text("appSessionId")
	if !q.values.Has("afterTimestamp") {
		q.fail("afterTimestamp", "missing field")
	}
	if most < 1 {
		q.fail("maxEvents", "must be at least 1")
	}
	if q.err != nil {
		return q.err
	}
	rows, err := poll(ctx, logNews{a.Log}, activityNews, wait, func(ctx context.Context) ([]projections.ActivityEventRow, bool, error) {
		rows, err := a.Views.ActivityEvents(ctx, keyOf(ctx).Identity, session, after, int(min(most, maxActivityEvents)))
		return rows, len(rows) > 0, err
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return problem(http.StatusRequestTimeout, "nothing came")
	}
	out := make([]gen.ProviderEvent, len(rows))
	for i, r := range rows {
		body := map[string]any{}
		if r.RequestorPubKey != "" {
			body["requestorPubKey"] = r.RequestorPubKey
		}
		tagged, err := encode(map[string]any{r.Type: body})
		if err != nil {
			return err
		}
		out[i] = gen.ProviderEvent{ActivityId: r.ActivityID, AgreementId: r.AgreementID, EventType: tagged, EventDate: dto.At(r.Time)}
	}
	return list(c, out)
}

var monitorNews = es.Filter{TypePrefixes: []string{"activity.", "usage."}}

// MonitorActivities shows the provider's activities again at every change, for
// as long as the client listens.
func (a *activityAPI) MonitorActivities(c echo.Context) error {
	ctx := c.Request().Context()
	out, err := startStream(c)
	if err != nil {
		return err
	}
	var last string
	for {
		head, err := a.Log.Store.Head(ctx)
		if err != nil {
			return nil
		}
		activities, err := a.monitored(ctx)
		if err != nil {
			return nil
		}
		shown, err := encode(activities)
		if err != nil {
			return nil
		}
		if string(shown) != last {
			last = string(shown)
			record, err := encode(gen.Monitor{Ts: dto.At(time.Now()), Activities: activities})
			if err != nil || out.send([]byte("data: "+string(record)+"\r\n\r\n")) != nil {
				return nil
			}
		}
		waiting, cancel := context.WithTimeout(ctx, pingInterval)
		err = a.Log.Wait(waiting, head, monitorNews)
		cancel()
		if ctx.Err() != nil || err != nil && out.ping() != nil {
			return nil
		}
	}
}

func (a *activityAPI) monitored(ctx context.Context) ([]gen.MonitoredActivity, error) {
	rows, err := a.Views.Activities(ctx, projections.ActivityFilter{Owner: keyOf(ctx).Identity, Side: identity.Provider, Alive: true})
	if err != nil {
		return nil, err
	}
	out := make([]gen.MonitoredActivity, 0, len(rows))
	for _, r := range rows {
		if r.State == activity.PhaseTerminated {
			continue
		}
		m := gen.MonitoredActivity{Id: r.ID, State: string(r.State), ExeUnit: orNull(r.Runtime), AgreementId: r.AgreementID}
		if m.Usage, err = namedUsage(r.UsageNames, r.Usage); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// namedUsage makes an object of counter names and a vector, nil without one.
func namedUsage(names []string, vector string) (json.RawMessage, error) {
	var values []json.RawMessage
	if vector == "" || json.Unmarshal([]byte(vector), &values) != nil || len(values) != len(names) {
		return nil, nil
	}
	out := make(map[string]json.RawMessage, len(names))
	for i, n := range names {
		out[n] = values[i]
	}
	return encode(out)
}
