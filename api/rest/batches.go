package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/activity"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// failedLinger is how long an event stream stays open after a batch failed
// before its last command. A client that waits for the last one would hang for
// ever; that the stream ends tells it.
const failedLinger = 2 * time.Second

// ExecScript hands a script to the exe-unit and waits until that took it. When
// the client's timeout is over, the script is not brought there any more.
func (a *activityAPI) ExecScript(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait := q.patience("timeout", defaultWait, batch.LongestDelivery)
	if q.err != nil {
		return q.err
	}
	var in gen.ExeScript
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if _, err := script.Parse(in.Text); err != nil {
		return err
	}
	id, s, err := a.requestExec(c, in.Text, wait)
	if err != nil {
		return err
	}
	a.forget(s.ID)
	waiting, cancel := context.WithTimeout(ctx, wait+netMargin)
	defer cancel()
	b, err := a.Batches.Await(waiting, batch.StreamID(identity.Requestor, s.ID, id), batch.State.Answered)
	switch {
	case err != nil:
		return timeout(c, err)
	case b.RefusedCode != "":
		return execRefused(b)
	}
	return ok(c, id)
}

// requestExec records the script, together with a look at the activity.
func (a *activityAPI) requestExec(c echo.Context, text string, patience time.Duration) (string, activity.State, error) {
	ctx := c.Request().Context()
	s, err := a.find(c, identity.Requestor)
	if err != nil {
		return "", s, err
	}
	id, caller := newID(c), callerOf(ctx)
	_, err = a.Log.Atomically(ctx, metaOf(c, s.AgreementID, ""), func(t *es.Tx) error {
		now, err := a.Activities.Peek(t, activity.StreamID(identity.Requestor, s.ID))
		if err != nil {
			return err
		}
		if now.Ended || !now.Exists {
			return problem(http.StatusInternalServerError, "%s: the activity is over", noExeUnit)
		}
		_, err = a.Batches.In(t, batch.StreamID(identity.Requestor, s.ID, id), batch.RequestExec{
			ActivityID: s.ID, AgreementID: s.AgreementID, BatchID: id, By: caller, Provider: s.Provider, Requestor: s.Requestor,
			Script: text, TimeoutMS: patience.Milliseconds(),
		})
		return err
	})
	return id, s, err
}

func execRefused(b batch.State) error {
	switch peer.Code(b.RefusedCode) {
	case peer.BadRequest, peer.InvalidState, peer.Duplicate, peer.Unsupported:
		return problem(http.StatusBadRequest, "%s", b.RefusedWhy)
	case peer.Forbidden:
		return problem(http.StatusForbidden, "%s", b.RefusedWhy)
	case "unreachable":
		return problem(http.StatusRequestTimeout, "%s", b.RefusedWhy)
	}
	return problem(http.StatusInternalServerError, "%s: %s", noExeUnit, b.RefusedWhy)
}

// GetBatchResults answers what came of a script: the results so far, or with
// Accept text/event-stream everything that its commands said.
func (a *activityAPI) GetBatchResults(c echo.Context) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait, index := q.wait("timeout", 0), q.number("commandIndex", -1)
	if q.values.Has("commandIndex") && index < 0 {
		q.fail("commandIndex", "want a whole number")
	}
	if q.err != nil {
		return q.err
	}
	id := c.Param("activityId")
	stream := batch.StreamID(identity.Requestor, id, c.Param("batchId"))
	b, _, err := a.Batches.Load(ctx, stream)
	if err != nil {
		return err
	}
	if b.ID == "" || b.Owner() != keyOf(ctx).Identity {
		return problem(http.StatusNotFound, "batch_id = %.64s", c.Param("batchId"))
	}
	if wantsStream(c.Request()) {
		return a.streamBatch(c, stream)
	}
	enough := func(b batch.State) bool { return over(b) || index >= 0 && int64(len(b.Results())) > index }
	if !enough(b) && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		last, err := a.Batches.Await(waiting, stream, enough)
		if err != nil && !late(ctx, waiting, err) {
			return err
		}
		if last.ID != "" {
			b = last
		}
	}
	if index >= 0 && !enough(b) {
		return problem(http.StatusRequestTimeout, "command %d did not finish in time", index)
	}
	// What the results tell may have changed the state that is asked next.
	a.forget(id)
	results, err := a.results(ctx, b, index)
	if err != nil {
		return err
	}
	return list(c, results)
}

// over says whether no further result will come.
func over(b batch.State) bool {
	r := b.Results()
	return b.IsClosed() || b.RefusedCode != "" || len(r) > 0 && r[len(r)-1].BatchFinished
}

// results are those of the commands from the first on, to the index if one is
// given; then only that one has its output.
func (a *activityAPI) results(ctx context.Context, b batch.State, index int64) ([]gen.CommandResult, error) {
	all := b.Results()
	if index >= 0 && index < int64(len(all)) {
		all = all[:index+1]
	}
	out := make([]gen.CommandResult, len(all))
	for i, r := range all {
		out[i] = gen.CommandResult{
			Index: int(r.Index), Result: gen.Ok, Message: orNull(r.Message), EventDate: dto.At(r.At),
			IsBatchFinished: r.BatchFinished || index >= 0 && r.Index == index, Stdout: json.RawMessage("null"), Stderr: json.RawMessage("null"),
		}
		if !r.OK {
			out[i].Result = gen.Error
		}
		if index >= 0 && r.Index != index {
			continue
		}
		var err error
		if out[i].Stdout, err = a.output(ctx, r.Stdout); err != nil {
			return nil, err
		}
		if out[i].Stderr, err = a.output(ctx, r.Stderr); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *activityAPI) output(ctx context.Context, o batch.Output) (json.RawMessage, error) {
	v, err := o.Value(func(b batch.Blob) ([]byte, error) { return a.Blobs.Blob(ctx, b) })
	if err != nil {
		return nil, err
	}
	return encode(v)
}

// streamBatch sends what the commands of a batch said, from the first word on
// (or after Last-Event-ID), and then what they say, until the client leaves.
func (a *activityAPI) streamBatch(c echo.Context, stream string) error {
	ctx := c.Request().Context()
	after := int64(-1)
	if last := c.Request().Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return badQuery("Last-Event-ID: want a whole number, got %.40q", last)
		}
		after = n
	}
	out, err := startStream(c)
	if err != nil {
		return err
	}
	t := &teller{a: a, out: out, after: after, kept: make(map[string][]byte)}
	for {
		b, err := a.tellNew(ctx, t, stream)
		if err != nil {
			return nil // the client is gone, or the node stops
		}
		if endedEarly(b) {
			select {
			case <-time.After(failedLinger):
			case <-ctx.Done():
			}
			return nil
		}
		if err := a.nextNews(ctx, stream, t, b); err != nil {
			return nil
		}
	}
}

// tellNew sends the events that were not sent yet.
func (a *activityAPI) tellNew(ctx context.Context, t *teller, stream string) (batch.State, error) {
	b, _, err := a.Batches.Load(ctx, stream)
	if err != nil {
		return b, err
	}
	for _, e := range b.Events()[t.next:] {
		if err := t.tell(ctx, b, e); err != nil {
			return b, err
		}
		t.next++
	}
	return b, nil
}

// nextNews waits for the batch to go on, and pings meanwhile.
func (a *activityAPI) nextNews(ctx context.Context, stream string, t *teller, seen batch.State) error {
	known := len(seen.Events())
	for {
		waiting, cancel := context.WithTimeout(ctx, pingInterval)
		_, err := a.Batches.Await(waiting, stream, func(b batch.State) bool {
			return len(b.Events()) > known || b.IsClosed() != seen.IsClosed()
		})
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if err := t.out.ping(); err != nil {
			return err
		}
	}
}

// endedEarly says whether a batch ended before its last command, so that a
// client which waits for that one must be told by the end of the stream.
func endedEarly(b batch.State) bool {
	if !over(b) || b.Commands == 0 {
		return false
	}
	r := b.Results()
	return len(r) == 0 || r[len(r)-1].Index < b.Commands-1
}

// teller writes runtime events to one connection.
type teller struct {
	a     *activityAPI
	out   *stream
	after int64
	next  int               // index of the first event that was not looked at
	kept  map[string][]byte // beginnings of characters whose rest has not come
}

func (t *teller) tell(ctx context.Context, b batch.State, e batch.RuntimeEvent) error {
	kind, err := t.kind(ctx, e)
	if err != nil || kind == nil || e.ID <= t.after {
		return err
	}
	raw, err := encode(kind)
	if err != nil {
		return err
	}
	data, err := encode(gen.RuntimeEvent{BatchId: b.ID, Index: int(e.Index), Timestamp: dto.NaiveTime{Time: e.At}, Kind: raw})
	if err != nil {
		return err
	}
	return t.out.event("runtime", data, strconv.FormatInt(e.ID, 10))
}

// kind is the object with the single key that names what happened; nil when
// there is nothing to tell yet.
func (t *teller) kind(ctx context.Context, e batch.RuntimeEvent) (map[string]any, error) {
	switch e.Kind {
	case batch.Started:
		return map[string]any{"started": map[string]any{"command": json.RawMessage(e.Command)}}, nil
	case batch.Finished:
		return map[string]any{"finished": map[string]any{"return_code": e.Code, "message": orNull(e.Message)}}, nil
	}
	b, err := e.Output.Bytes(func(b batch.Blob) ([]byte, error) { return t.a.Blobs.Blob(ctx, b) })
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, nil // clients take any word on stderr for a failure
	}
	if e.Output.Format == batch.Bin {
		return map[string]any{string(e.Kind): dto.Bytes(b)}, nil
	}
	if text := t.whole(strconv.FormatInt(e.Index, 10)+string(e.Kind), b); text != "" {
		return map[string]any{string(e.Kind): text}, nil
	}
	return nil, nil
}

// whole joins a piece of text with what the piece before left over, and keeps
// the beginning of a character that is cut off at its end.
func (t *teller) whole(of string, piece []byte) string {
	b := append(t.kept[of], piece...)
	cut := len(b)
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				cut = len(b) - i
			}
			break
		}
	}
	t.kept[of] = append([]byte(nil), b[cut:]...)
	return string(b[:cut])
}
