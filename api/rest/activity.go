package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// Activity is what the activities' handlers ask.
type Activity struct {
	Activities Aggregate[activity.Command, activity.State]
	Batches    Aggregate[batch.Command, batch.State]
	Usages     Aggregate[usage.Command, usage.State]
	Views      ActivityViews
	Providers  Providers
	Blobs      Blobs
}

// ActivityViews answer what is not in one stream; *projections.Activity does.
type ActivityViews interface {
	Activities(ctx context.Context, f projections.ActivityFilter) ([]projections.ActivityRow, error)
	ActivityEvents(ctx context.Context, owner identity.NodeID, session string, after time.Time, max int) ([]projections.ActivityEventRow, error)
	Batches(ctx context.Context, f projections.BatchFilter) ([]projections.BatchRow, error)
}

// Providers asks the providers of our activities how these are.
type Providers interface {
	// Refresh records the state of a living activity, if it changed.
	Refresh(ctx context.Context, activityID string) error
	// Usage returns its counters.
	Usage(ctx context.Context, activityID string) (peer.ActivityUsage, error)
}

// Blobs holds what is too large for a fact.
type Blobs interface {
	// Blob returns the content.
	Blob(ctx context.Context, b batch.Blob) ([]byte, error)
}

const (
	askEvery      = time.Second // how often a provider is asked about one activity
	netMargin     = time.Second // that an answer of the provider may take beyond the client's timeout
	noExeUnit     = "GSB error: endpoint address not found"
	maxActivities = 8192 // whose last questions are remembered
)

// activityAPI answers activity-api.
type activityAPI struct {
	*server
	Activity
	agreements Aggregate[agreement.Command, agreement.State]

	mu    sync.Mutex
	asked map[string]*lastAsked
	used  map[string]peer.ActivityUsage // the last reading that is known
}

// lastAsked remembers what a provider said about an activity and when, so that
// a client in a loop does not become a flood of questions.
type lastAsked struct {
	mu    sync.Mutex
	state time.Time
	err   error
	usage time.Time
	is    peer.ActivityUsage
}

func newActivityAPI(s *server) *activityAPI {
	return &activityAPI{server: s, Activity: s.Deps.Activity, agreements: s.Deps.Market.Agreements, asked: make(map[string]*lastAsked), used: make(map[string]peer.ActivityUsage)}
}

var activityFamily = family{text: activityText, status: func(err error) int {
	var (
		notApproved *activity.NotApprovedError
		occupied    *activity.OccupiedError
		exists      *batch.ExistsError
		time        *batch.TimeoutError
	)
	if errors.As(err, &notApproved) || errors.As(err, &occupied) || errors.As(err, &exists) || errors.As(err, &time) {
		return http.StatusBadRequest
	}
	return statusIn(err, activityStatuses)
}}

var activityStatuses = []statusRow{
	{identity.ErrForbidden, http.StatusForbidden},
	{activity.ErrUnknown, http.StatusNotFound},
	{batch.ErrUnknown, http.StatusNotFound},
	{activity.ErrState, http.StatusBadRequest},
	{activity.ErrTaken, http.StatusBadRequest},
	{batch.ErrScript, http.StatusBadRequest},
	{script.ErrScript, http.StatusBadRequest},
}

// activityText puts the kind of an error before its text, as clients read it.
func activityText(status int, err error) string {
	text := err.Error()
	kind := map[int]string{
		http.StatusBadRequest: "Bad request", http.StatusForbidden: "Forbidden",
		http.StatusNotFound: "Not found", http.StatusRequestTimeout: "Timeout",
	}[status]
	switch {
	case kind == "" && strings.HasPrefix(text, "GSB error"):
		return text
	case kind == "":
		kind = "Service error"
	case status == http.StatusRequestTimeout:
		return kind
	}
	return kind + ": " + text
}

// find loads the caller's activity that a path names: as requestor, else as
// provider.
func (a *activityAPI) find(c echo.Context, side identity.Side) (activity.State, error) {
	ctx, id := c.Request().Context(), c.Param("activityId")
	for _, s := range []identity.Side{identity.Requestor, identity.Provider} {
		if side != "" && side != s {
			continue
		}
		state, _, err := a.Activities.Load(ctx, activity.StreamID(s, id))
		if err != nil {
			return state, err
		}
		if state.ID != "" && state.Owner() == keyOf(ctx).Identity {
			return state, nil
		}
	}
	return activity.State{}, problem(http.StatusNotFound, "activity [%.64s]", id)
}

// CreateActivity asks the provider for an activity and waits until its exe-unit
// is initialised. An agreement id as a bare string is answered by an activity id
// as a bare string.
func (a *activityAPI) CreateActivity(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait := q.wait("timeout", defaultWait)
	if q.err != nil {
		return q.err
	}
	in, bare, err := readNewActivity(c)
	if err != nil {
		return err
	}
	id, err := a.requestCreation(c, in, wait)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, wait+netMargin)
	defer cancel()
	s, err := a.Activities.Await(waiting, activity.StreamID(identity.Requestor, id), activity.State.Answered)
	switch {
	case err != nil:
		return timeout(c, err)
	case s.Failure != "":
		return creationFailed(s)
	case bare:
		return ok(c, id)
	}
	return ok(c, gen.CreatedActivity{ActivityId: id})
}

func readNewActivity(c echo.Context) (in gen.NewActivity, bare bool, err error) {
	var text jsonText
	if err := readJSON(c, &text); err != nil {
		return in, false, err
	}
	if json.Unmarshal(text, &in.AgreementId) == nil {
		return in, true, nil
	}
	if err := json.Unmarshal(text, &in); err != nil || in.AgreementId == "" {
		return in, false, badBody(c, "Json deserialize error: want an agreement id, or an object with agreementId")
	}
	return in, false, nil
}

// requestCreation records the wish, together with a look at the agreement that
// allows it.
func (a *activityAPI) requestCreation(c echo.Context, in gen.NewActivity, wait time.Duration) (string, error) {
	ctx := c.Request().Context()
	id, caller := newID(c), callerOf(ctx)
	_, err := a.Log.Atomically(ctx, metaOf(c, in.AgreementId, ""), func(t *es.Tx) error {
		deal, err := a.agreements.Peek(t, agreement.StreamID(identity.Requestor, in.AgreementId))
		if err != nil {
			return err
		}
		if !deal.Exists() || deal.Owner() != caller.Node {
			return problem(http.StatusNotFound, "Agreement [%.70s] not found.", in.AgreementId)
		}
		_, err = a.Activities.In(t, activity.StreamID(identity.Requestor, id), activity.RequestCreation{
			ActivityID: id, AgreementID: in.AgreementId, AgreementState: deal.Shown(), By: caller,
			Provider: deal.Terms.Provider, Requestor: deal.Terms.Requestor, RequestorPubKey: in.RequestorPubKey, TimeoutMS: wait.Milliseconds(),
		})
		return err
	})
	return id, err
}

func creationFailed(s activity.State) error {
	switch peer.Code(s.FailureCode) {
	case peer.BadRequest, peer.InvalidState, peer.Expired, peer.Duplicate, peer.Unsupported:
		return problem(http.StatusBadRequest, "%s", s.Failure)
	case peer.Forbidden:
		return problem(http.StatusForbidden, "%s", s.Failure)
	case peer.NotFound:
		return problem(http.StatusNotFound, "%s", s.Failure)
	case "unreachable":
		return problem(http.StatusInternalServerError, "%s: %s", noExeUnit, s.Failure)
	}
	return problem(http.StatusInternalServerError, "%s", s.Failure)
}

// timeout is what waiting beyond the client's timeout ends with.
func timeout(c echo.Context, err error) error {
	if c.Request().Context().Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return problem(http.StatusRequestTimeout, "no answer in time")
	}
	return err
}

// DestroyActivity ends an activity and waits until the provider confirms.
func (a *activityAPI) DestroyActivity(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait := q.wait("timeout", defaultWait)
	if q.err != nil {
		return q.err
	}
	s, err := a.find(c, "")
	if err != nil {
		return err
	}
	stream, cause := activity.StreamID(s.Side, s.ID), activity.ByRequestor
	if s.Side == identity.Provider {
		cause = activity.ByProvider
	}
	cmd := activity.RequestDestruction{By: callerOf(ctx), Cause: cause, TimeoutMS: wait.Milliseconds()}
	if _, err := a.Activities.Do(ctx, stream, cmd, metaOf(c, s.AgreementID, "")); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, wait+netMargin)
	defer cancel()
	if _, err := a.Activities.Await(waiting, stream, func(s activity.State) bool { return s.Ended || !s.DestructionOpen }); err != nil {
		return timeout(c, err)
	}
	return done(c)
}

// ListActivities lists the activities of an agreement.
func (a *activityAPI) ListActivities(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	id, given := q.given("agreementId")
	if !given {
		q.fail("agreementId", "missing field")
		return q.err
	}
	rows, err := a.Views.Activities(ctx, projections.ActivityFilter{Owner: keyOf(ctx).Identity, AgreementID: id})
	if err != nil {
		return err
	}
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return list(c, out)
}

// GetActivityAgreement tells under which agreement an activity runs.
func (a *activityAPI) GetActivityAgreement(c echo.Context) error {
	s, err := a.find(c, "")
	if err != nil {
		return err
	}
	return ok(c, s.AgreementID)
}

// GetActivityState tells how an activity is. While it lives, its provider is
// asked.
func (a *activityAPI) GetActivityState(c echo.Context) error {
	s, err := a.find(c, "")
	if err != nil {
		return err
	}
	if a.asks(s) {
		if err := a.refresh(c.Request().Context(), s.ID); err != nil {
			return problem(http.StatusInternalServerError, "%s: %v", noExeUnit, err)
		}
		if s, err = a.find(c, identity.Requestor); err != nil {
			return err
		}
	}
	return ok(c, stateOf(s))
}

// asks says whether the provider of an activity knows more than the log.
func (a *activityAPI) asks(s activity.State) bool {
	return s.Side == identity.Requestor && s.Exists && !s.Ended && a.Moment == nil
}

func stateOf(s activity.State) gen.ActivityState {
	current := string(s.Pair.Current)
	return gen.ActivityState{
		State: []*string{&current, orNull(string(s.Pair.Pending))}, Reason: s.Reason, ErrorMessage: s.ErrorMessage,
	}
}

// refresh asks the provider unless it was asked a moment ago.
func (a *activityAPI) refresh(ctx context.Context, id string) error {
	last := a.last(id)
	last.mu.Lock()
	defer last.mu.Unlock()
	if time.Since(last.state) < askEvery {
		return last.err
	}
	err := a.Providers.Refresh(ctx, id)
	if ctx.Err() == nil {
		last.state, last.err = time.Now(), err
	}
	return err
}

func (a *activityAPI) last(id string) *lastAsked {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.asked[id]
	if !ok {
		if len(a.asked) >= maxActivities {
			clear(a.asked)
		}
		l = &lastAsked{}
		a.asked[id] = l
	}
	return l
}

// forget makes the next question about an activity go to its provider, after
// something that changes it. The last reading stays known.
func (a *activityAPI) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asked, id)
}

// SetActivityState is the report of a provider's agent.
func (a *activityAPI) SetActivityState(c echo.Context) error {
	ctx := c.Request().Context()
	var in gen.ActivityState
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if len(in.State) != 2 || in.State[0] == nil {
		return badBody(c, "Json deserialize error: state must be a pair")
	}
	s, err := a.find(c, identity.Provider)
	if err != nil {
		return err
	}
	pair := activity.Pair{Current: activity.Phase(*in.State[0])}
	if in.State[1] != nil {
		pair.Pending = activity.Phase(*in.State[1])
	}
	cmd := activity.ReportState{By: callerOf(ctx), Pair: pair, Reason: in.Reason, ErrorMessage: in.ErrorMessage}
	if _, err := a.Activities.Do(ctx, activity.StreamID(identity.Provider, s.ID), cmd, metaOf(c, s.AgreementID, "")); err != nil {
		return err
	}
	return done(c)
}

// GetActivityUsage tells what an activity used so far. While it lives, its
// provider is asked; afterwards the last reading that is known is told.
func (a *activityAPI) GetActivityUsage(c echo.Context) error {
	ctx := c.Request().Context()
	s, err := a.find(c, "")
	if err != nil {
		return err
	}
	if a.asks(s) {
		is, err := a.usageOf(ctx, s.ID)
		if err != nil {
			return problem(http.StatusInternalServerError, "%s: %v", noExeUnit, err)
		}
		return ok(c, gen.ActivityUsage{CurrentUsage: json.RawMessage(is.Vector), Timestamp: is.AtUnix})
	}
	u, _, err := a.Usages.Load(ctx, usage.StreamID(s.Side, s.ID))
	if err != nil {
		return err
	}
	if u.Vector != "" {
		return ok(c, gen.ActivityUsage{CurrentUsage: json.RawMessage(u.Vector), Timestamp: u.At.Unix()})
	}
	a.mu.Lock()
	last := a.used[s.ID]
	a.mu.Unlock()
	if last.Vector != "" {
		return ok(c, gen.ActivityUsage{CurrentUsage: json.RawMessage(last.Vector), Timestamp: last.AtUnix})
	}
	return ok(c, gen.ActivityUsage{Timestamp: a.now().Unix()})
}

func (a *activityAPI) usageOf(ctx context.Context, id string) (peer.ActivityUsage, error) {
	last := a.last(id)
	last.mu.Lock()
	defer last.mu.Unlock()
	if time.Since(last.usage) < askEvery {
		return last.is, nil
	}
	is, err := a.Providers.Usage(ctx, id)
	if err == nil {
		last.usage, last.is = time.Now(), is
		a.read(id, is)
	}
	return is, err
}

// read notes what an activity has used, for when nobody can be asked any more.
func (a *activityAPI) read(id string, is peer.ActivityUsage) {
	if is.Vector == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.used) >= maxActivities {
		clear(a.used)
	}
	a.used[id] = is
}

// GetRunningCommands lists what runs now.
func (a *activityAPI) GetRunningCommands(c echo.Context) error {
	ctx := c.Request().Context()
	s, err := a.find(c, "")
	if err != nil {
		return err
	}
	rows, err := a.Views.Batches(ctx, projections.BatchFilter{Owner: s.Owner(), Side: s.Side, ActivityID: s.ID, Open: true})
	if err != nil {
		return err
	}
	var out []gen.RunningCommand
	for _, r := range rows {
		b, _, err := a.Batches.Load(ctx, batch.StreamID(s.Side, s.ID, r.ID))
		if err != nil {
			return err
		}
		if cmd, runs := runningOf(b); runs {
			out = append(out, cmd)
		}
	}
	if len(out) == 0 {
		return problem(http.StatusNotFound, "no command runs")
	}
	return list(c, out)
}

func runningOf(b batch.State) (gen.RunningCommand, bool) {
	if !b.Running || b.IsClosed() {
		return gen.RunningCommand{}, false
	}
	events := b.Events()
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Kind != batch.Started {
			continue
		}
		cmd, err := script.ParseCommand(events[i].Command)
		if err != nil {
			return gen.RunningCommand{}, false
		}
		name := cmd.Name()
		return gen.RunningCommand{Command: strings.ToUpper(name[:1]) + name[1:], Params: paramsOf(cmd)}, true
	}
	return gen.RunningCommand{}, false
}

func paramsOf(cmd script.Command) []string {
	if p, ok := cmd.(interface{ Params() []string }); ok {
		return p.Params()
	}
	return nil
}
