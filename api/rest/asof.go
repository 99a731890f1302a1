package rest

import (
	lru "container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections"
)

// Headers of questions about the past and their answers.
const (
	// headerAsOf asks like the query parameter asOf: for a position or a time.
	headerAsOf = "Emet-As-Of"
	// headerPosition says which fact was the last that counted.
	headerPosition = "Emet-Position"
	// headerRecorded says when that fact was recorded.
	headerRecorded = "Emet-Recorded"
)

const paramAsOf = "asOf"

// maxPasts is how many moments of the past are kept open.
const maxPasts = 4

// Past opens what the handlers ask as it was at a moment. done is called when
// nobody asks any more.
type Past func(ctx context.Context, at es.Moment) (deps Deps, done func(), err error)

// now is the time that answers are given for.
func (s *server) now() time.Time {
	if s.Moment != nil {
		return s.Moment.Recorded
	}
	return time.Now()
}

// nowOnly are routes whose answers are not in the log, or which hand something
// out or never end. The reason completes "… cannot be asked as of the past: ".
var nowOnly = []struct {
	begins, ends, why string
}{
	{marketBase + "/demands/", "/events", "it hands proposals out"},
	{marketBase + "/offers/", "/events", "it hands proposals out"},
	{marketBase + "/scan/", "", "offers of others are not in the log"},
	{activityBase + "/_monitor", "", "it is a stream"},
	{emetBase + "/events", "", "news are of the present"},
	{gsbBase + "/", "", "it is a connection"},
	{emetBase + "/log/checkpoint", "", "a checkpoint is of now; older ones are cosigned by their size"},
	{emetBase + "/log/tile/", "", "a tile never changes"},
	{"/net-api/", "", "connections are not in the log"},
	{"/metrics-api", "", "counters are of this process"},
	{"/healthcheck", "", "health is of this process"},
	{"/version/get", "", "the version is of this process"},
}

// presentOnly says why a request cannot be answered for the past, "" = it can.
func presentOnly(r *http.Request) string {
	if isUpgrade(r) || wantsStream(r) {
		return "it is a stream"
	}
	for _, n := range nowOnly {
		if strings.HasPrefix(r.URL.Path, n.begins) && strings.HasSuffix(r.URL.Path, n.ends) {
			return n.why
		}
	}
	return ""
}

// asOfOf is what a request says about the moment it asks for, "" = now.
func asOfOf(r *http.Request) (string, error) {
	query, header := r.URL.Query()[paramAsOf], r.Header.Values(headerAsOf)
	asked := append(query, header...)
	switch {
	case len(asked) == 0:
		return "", nil
	case len(asked) > 1 && strings.Join(asked, "") != strings.Repeat(asked[0], len(asked)):
		return "", fmt.Errorf("%s and %s name different moments: %s; give one", paramAsOf, headerAsOf, strings.Join(asked, ", "))
	case asked[0] == "":
		return "", fmt.Errorf("%s is empty; give a position (42: as it was after fact 42) or a time (2026-01-02T15:04:05Z)", paramAsOf)
	}
	return asked[0], nil
}

// travelled answers questions about the past as the node would have then.
func (s *server) travelled(next http.Handler) http.Handler {
	pasts := &pasts{open: s.openPast, turns: s.moments, byCount: make(map[es.Position]*pastHandler), order: lru.New()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := asOfOf(r)
		if err == nil && text == "" {
			next.ServeHTTP(w, r)
			return
		}
		var m es.Moment
		if err == nil {
			err = s.mayTravel(r)
		}
		if err == nil {
			m, err = es.MomentOf(r.Context(), s.Log.Store, text, time.Now())
		}
		if err != nil {
			s.refuseTravel(w, r, err)
			return
		}
		h, done, err := pasts.get(r.Context(), m)
		var many *tooManyMoments
		if errors.As(err, &many) {
			w.Header().Set("Retry-After", strconv.Itoa(int(many.wait/time.Second)+1))
			plain(w, http.StatusTooManyRequests, err.Error())
			return
		}
		if err != nil {
			s.Logger.Warn("the past cannot be opened", "position", m.Last, "error", err)
			plain(w, http.StatusInternalServerError, "the past cannot be opened: "+err.Error())
			return
		}
		defer done()
		tellMoment(w, m)
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), hasty{}, true)))
	})
}

// hasty marks the context of questions that wait for nothing.
type hasty struct{}

func tellMoment(w http.ResponseWriter, m es.Moment) {
	w.Header().Set(headerPosition, strconv.FormatUint(uint64(m.Last), 10))
	w.Header().Set(headerRecorded, m.Recorded.UTC().Format(time.RFC3339Nano))
}

func (s *server) mayTravel(r *http.Request) error {
	switch why := presentOnly(r); {
	case r.Method != http.MethodGet:
		return fmt.Errorf("%s cannot change the past; %s is for GET", r.Method, paramAsOf)
	case why != "":
		return fmt.Errorf("%s cannot be asked as of the past: %s", r.URL.Path, why)
	case !needsKey(r):
		return errors.New("the past is shown to app-keys only")
	case s.Past == nil:
		return errors.New("this node does not serve the past")
	}
	return nil
}

func (s *server) refuseTravel(w http.ResponseWriter, r *http.Request, err error) {
	var bad *es.MomentError
	if errors.As(err, &bad) && !bad.Empty {
		w.Header().Set(headerPosition, strconv.FormatUint(uint64(bad.Last), 10))
	}
	if r.Context().Err() != nil {
		plain(w, http.StatusServiceUnavailable, "interrupted")
		return
	}
	text, _ := encode(message{Message: new(err.Error())})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(text)
}

// openPast makes the handler of all routes as of a moment.
func (s *server) openPast(ctx context.Context, m es.Moment) (http.Handler, func(), error) {
	deps, done, err := s.Past(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	deps.Moment = &m
	then := &server{Config: s.Config, Deps: deps, guard: s.guard, tally: newTally(deps.Log), tries: newTurns(), feeds: &feeds{}, moments: s.moments}
	return then.router(), done, nil
}

// pasts keeps the moments that were asked for last open.
type pasts struct {
	open  func(context.Context, es.Moment) (http.Handler, func(), error)
	turns *momentTurns

	mu      sync.Mutex
	byCount map[es.Position]*pastHandler
	order   *lru.List // of *pastHandler, newest first
}

type pastHandler struct {
	http.Handler
	count es.Position
	done  func()
	users int  // requests that run
	gone  bool // not among those that are kept
	at    *lru.Element
}

// get returns the handler of a moment; done is called after use.
func (p *pasts) get(ctx context.Context, m es.Moment) (http.Handler, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.byCount[m.Count()]
	if !ok {
		if err := p.turns.turn(keyOf(ctx).ID, time.Now()); err != nil {
			return nil, nil, err
		}
		handler, done, err := p.open(ctx, m)
		if err != nil {
			return nil, nil, err
		}
		h = &pastHandler{Handler: handler, count: m.Count(), done: done}
		p.byCount[h.count], h.at = h, p.order.PushFront(h)
		if p.order.Len() > maxPasts {
			p.drop(p.order.Back().Value.(*pastHandler)) //nolint:forcetypeassert // nothing else is in it
		}
	}
	p.order.MoveToFront(h.at)
	h.users++
	return h, func() { p.release(h) }, nil
}

func (p *pasts) drop(h *pastHandler) {
	p.order.Remove(h.at)
	delete(p.byCount, h.count)
	h.gone = true
	if h.users == 0 {
		h.done()
	}
}

func (p *pasts) release(h *pastHandler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.users--; h.users == 0 && h.gone {
		h.done()
	}
}

// still makes a server of the past refuse what would change it, and tell for
// which moment it answers.
func (s *server) still(next http.Handler) http.Handler {
	m := *s.Moment
	what := fmt.Sprintf("this node shows the past, as it was after fact %d (%s); it can be read and not changed", m.Last, m.Recorded.UTC().Format(time.RFC3339))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tellMoment(w, m)
		why := ""
		switch {
		case r.Method != http.MethodGet:
			why = what
		case presentOnly(r) != "" && !strings.HasPrefix(r.URL.Path, "/version/") && !strings.HasPrefix(r.URL.Path, "/healthcheck"):
			why = what + "; " + r.URL.Path + " needs the present: " + presentOnly(r)
		}
		if why == "" {
			next.ServeHTTP(w, r)
			return
		}
		text, _ := encode(message{Message: &why})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(text)
	})
}

// answerPast gives the status to an attempt to change the past that got
// through to the log, and to looks that were given up.
func answerPast(err error) *Problem {
	switch {
	case errors.Is(err, es.ErrPast):
		return &Problem{Status: http.StatusForbidden, Text: err.Error()}
	case errors.Is(err, projections.ErrFolds):
		return &Problem{Status: http.StatusServiceUnavailable, Text: err.Error()}
	}
	return nil
}
