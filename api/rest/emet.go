package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/emet"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/negotiation"
)

const (
	maxLogPage = 1000
	// maxLogScan bounds how many facts one request looks at for those it wants.
	maxLogScan = 50_000
)

// emetAPI shows the log itself.
type emetAPI struct{ *server }

// GetHead tells where the log ends.
func (s emetAPI) GetHead(c echo.Context) error {
	head, err := s.Log.Store.Head(c.Request().Context())
	if err != nil {
		return err
	}
	return ok(c, emet.Head{Size: int64(head), Store: s.Log.Store.Caps().Name})
}

// ReadLog lists facts of the caller's identity, as a page or one per line.
func (s emetAPI) ReadLog(c echo.Context) error {
	q := queryOf(c)
	from, limit := q.number("from", 0), q.number("limit", 100)
	f := es.Filter{}
	exactOrPrefix(q.text("stream"), func(v string) { f.Streams = []es.Stream{es.Stream(v)} }, &f.StreamPrefixes)
	exactOrPrefix(q.text("type"), func(v string) { f.Types = []string{v} }, &f.TypePrefixes)
	correlation := q.text("correlation")
	switch {
	case q.err != nil:
		return q.err
	case from < 0, limit < 1, limit > maxLogPage:
		return badQuery("from must not be negative, limit must be 1 to %d", maxLogPage)
	}
	page, err := s.logPage(c.Request().Context(), es.Position(from), int(limit), f, correlation)
	if err != nil {
		return err
	}
	if accepts(c.Request(), "application/jsonl") {
		return jsonLines(c, page.Events)
	}
	return ok(c, page)
}

func exactOrPrefix(v string, exact func(string), prefixes *[]string) {
	if p, isPrefix := strings.CutSuffix(v, "*"); isPrefix {
		*prefixes = []string{p}
	} else if v != "" {
		exact(v)
	}
}

func (s emetAPI) logPage(ctx context.Context, from es.Position, limit int, f es.Filter, correlation string) (emet.LogPage, error) {
	head, err := s.Log.Store.Head(ctx)
	if err != nil {
		return emet.LogPage{}, err
	}
	me := keyOf(ctx).Identity
	page := emet.LogPage{Events: []emet.LogEntry{}, Next: int64(head), Head: int64(head)}
	if from >= head {
		return page, nil
	}
	looked := 0
	for r, err := range s.Log.ReadAll(ctx, from, f) {
		if err != nil {
			return page, err
		}
		if r.Position >= head {
			return page, nil
		}
		if visible(r, me) && (correlation == "" || r.Info.Correlation == correlation) {
			page.Events = append(page.Events, entry(r))
		}
		if looked++; len(page.Events) == limit || looked == maxLogScan {
			page.Next = int64(r.Position) + 1
			return page, nil
		}
	}
	return page, nil
}

// visible says whether a fact may be shown to an identity: its own, and those
// that the store writes about itself.
func visible(r es.Recorded, me identity.NodeID) bool {
	return r.Info.Identity == string(me) || r.Info.Identity == "" && strings.HasPrefix(string(r.Stream), "$")
}

func entry(r es.Recorded) emet.LogEntry {
	e := emet.LogEntry{
		Position: int64(r.Position), Stream: string(r.Stream), Revision: int64(r.Revision), Type: r.Type,
		Id: r.ID.String(), Recorded: dto.At(r.Recorded), Meta: r.Meta, Data: json.RawMessage("null"),
	}
	if _, erased := r.Data.(es.Erased); !erased && json.Valid(r.Event.Data) {
		e.Data = r.Event.Data
	}
	if r.Leaf != (es.Hash{}) {
		e.Leaf, e.PrevInStream = r.Leaf.String(), r.PrevInStream.String()
	}
	return e
}

func jsonLines(c echo.Context, entries []emet.LogEntry) error {
	var b bytes.Buffer
	for _, e := range entries {
		line, err := encode(e)
		if err != nil {
			return err
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return c.Blob(http.StatusOK, "application/jsonl", b.Bytes())
}

// GetTimeline tells the story of one agreement, from the first proposal on.
func (s emetAPI) GetTimeline(c echo.Context) error {
	ctx := c.Request().Context()
	id := c.Param("agreementId")
	positions, err := s.Stories.Positions(ctx, id)
	if err != nil {
		return err
	}
	me := keyOf(ctx).Identity
	facts := make(map[es.Position]es.Recorded)
	for _, p := range positions {
		r, err := s.at(ctx, p)
		if err != nil {
			return err
		}
		if !visible(r, me) {
			continue
		}
		facts[p] = r
		if err := s.before(ctx, r, facts); err != nil {
			return err
		}
	}
	if len(facts) == 0 {
		return problem(http.StatusNotFound, "Agreement [%s] not found.", id)
	}
	out := emet.Timeline{AgreementId: id, Events: make([]emet.LogEntry, 0, len(facts))}
	for _, p := range slices.Sorted(maps.Keys(facts)) {
		out.Events = append(out.Events, entry(facts[p]))
	}
	return ok(c, out)
}

// before adds the negotiation that an agreement came of, which was told before
// the agreement had its id.
func (s emetAPI) before(ctx context.Context, r es.Recorded, facts map[es.Position]es.Recorded) error {
	var thread string
	switch e := r.Data.(type) {
	case agreement.Created:
		thread = e.Terms.NegotiationID
	case agreement.Received:
		thread = e.Terms.NegotiationID
	}
	if thread == "" {
		return nil
	}
	for n, err := range s.Log.ReadStream(ctx, es.StreamOf(negotiation.Category, thread), 0) {
		if err != nil {
			return err
		}
		if n.Position < r.Position {
			facts[n.Position] = n
		}
	}
	return nil
}

// at reads the fact at a position.
func (s emetAPI) at(ctx context.Context, p es.Position) (es.Recorded, error) {
	for e, err := range s.Log.Store.ReadAll(ctx, p, es.Forward, es.Filter{}, 1) {
		if err != nil {
			return es.Recorded{}, err
		}
		return s.Log.Decode(ctx, e)
	}
	return es.Recorded{}, fmt.Errorf("the log has no position %d", p)
}

// GetMoney shows the books of the caller's identity.
func (s emetAPI) GetMoney(c echo.Context) error {
	ctx := c.Request().Context()
	head, err := s.Log.Store.Head(ctx)
	if err != nil {
		return err
	}
	balances, err := s.Books.Balances(ctx, keyOf(ctx).Identity)
	if err != nil {
		return err
	}
	out := emet.Money{Position: int64(head), Balances: make([]emet.Balance, len(balances))}
	for i, b := range balances {
		normal := emet.Credit
		if b.Account.Name.DebitNormal() {
			normal = emet.Debit
		}
		out.Balances[i] = emet.Balance{
			Account: string(b.Account.Name), Key: b.Account.Key, Asset: emet.BalanceAsset(b.Asset),
			Platform: string(b.Platform), Normal: normal, Amount: b.Amount.String(),
		}
	}
	return ok(c, out)
}
