package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/emet"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/projections/news"
)

// FeedLimits bound the feeds of news. The zero value takes the usual ones.
type FeedLimits struct {
	Heartbeat time.Duration // longest silence; 0 = 15 s
	Patience  time.Duration // a reader that takes longer over one fact is cut off; 0 = 10 s
	Total     int           // feeds at the same time; 0 = 128
	PerKey    int           // feeds of one app-key; 0 = 32
}

func (l FeedLimits) orUsual() FeedLimits {
	if l.Heartbeat == 0 {
		l.Heartbeat = pingInterval
	}
	if l.Patience == 0 {
		l.Patience = 10 * time.Second
	}
	if l.Total == 0 {
		l.Total = 128
	}
	if l.PerKey == 0 {
		l.PerKey = 32
	}
	return l
}

// feeds counts what is open. What one feed holds in memory is a page of the
// log, 1 MiB or one fact, whatever its reader does.
type feeds struct {
	mu     sync.Mutex
	total  int
	perKey map[string]int
	full   int64 // feeds that were refused, since too many were open
	cut    int64 // readers that were too slow
}

func (f *feeds) enter(key string, l FeedLimits) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total >= l.Total || f.perKey[key] >= l.PerKey {
		f.full++
		return false
	}
	if f.perKey == nil {
		f.perKey = make(map[string]int)
	}
	f.total++
	f.perKey[key]++
	return true
}

func (f *feeds) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total--
	if f.perKey[key]--; f.perKey[key] == 0 {
		delete(f.perKey, key)
	}
}

func (f *feeds) limit(l FeedLimits) Limit {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Limit{Name: "feeds", Used: int64(f.total), Max: int64(l.Total), Refused: f.full}
}

// slow is how many readers were cut off.
func (f *feeds) slow() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// FollowEvents tells the facts of the caller's identity as they come, from
// where the reader left off.
func (s emetAPI) FollowEvents(c echo.Context) error {
	key := keyOf(c.Request().Context())
	if key.Role != identity.RoleManager && key.Role != identity.RoleAuditor {
		return problem(http.StatusForbidden, "This application key has the role %s; news are for manager and auditor", key.Role)
	}
	f := &feed{server: s.server, c: c}
	if err := f.read(key); err != nil {
		return err
	}
	if !s.feeds.enter(key.ID, s.Feeds) {
		c.Response().Header().Set("Retry-After", "5")
		return problem(http.StatusTooManyRequests, "Too many feeds are open: at most %d, and %d of one application key", s.Feeds.Total, s.Feeds.PerKey)
	}
	defer s.feeds.leave(key.ID)
	var err error
	if f.out, err = startStream(c); err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	f.run(c.Request().Context())
	return nil
}

// feed is one reader that is told the news.
type feed struct {
	*server
	c       echo.Context
	out     *stream
	filter  news.Filter
	at      int64  // up to here everything was told, -1 = nothing
	mark    string // that names the log in ids
	written time.Time
}

// read takes up what the request asks for.
func (f *feed) read(key Key) error {
	ctx, q := f.c.Request().Context(), queryOf(f.c)
	f.filter = news.Filter{Types: q.list("type"), Streams: q.list("stream"), Categories: q.list("category"), Identity: string(key.Identity)}
	after := q.text("after")
	if q.err != nil {
		return q.err
	}
	if q.values.Has("asOf") {
		return badQuery("asOf: news are of the present; GET %s/log reads the past", emetBase)
	}
	if err := f.filter.Check(); err != nil {
		return badQuery("%v", err)
	}
	head, err := f.Log.Store.Head(ctx)
	if err != nil {
		return err
	}
	lineage, err := lineageOf(ctx, f.Log)
	if err != nil {
		return err
	}
	f.mark = markOf(lineage)
	name := "after"
	if last := f.c.Request().Header.Get("Last-Event-ID"); last != "" {
		name, after = "Last-Event-ID", last
	}
	switch after {
	case "":
		f.at = -1
	case "now":
		f.at = int64(head) - 1
	default:
		if f.at, err = f.resume(name, after, lineage); err != nil {
			return err
		}
	}
	if f.at >= int64(head) {
		return badQuery("%s: %d is beyond the end of this log, which has %d facts; it is the position of another log", name, f.at, head)
	}
	return nil
}

// checkKey is how often it is looked whether the key still exists.
const checkKey = time.Second

// run tells news until the reader is gone or must go.
func (f *feed) run(ctx context.Context) {
	var after *es.Position
	if f.at >= 0 {
		p := es.Position(f.at)
		after = &p
	}
	sub := f.Log.Store.Subscribe(ctx, after, f.filter.Store())
	defer sub.Close() //nolint:errcheck // nothing is written
	if f.heartbeat() != nil {
		return
	}
	for checked := time.Now(); ; {
		m, err := f.next(ctx, sub)
		switch {
		case ctx.Err() != nil:
			f.end(emet.Stopping, "The node stops, or the connection does. Go on with after="+f.cursor()+".")
			return
		case err != nil:
			f.Logger.Warn("a feed of news ended", "error", err)
			f.end(emet.Failed, "The log cannot be read now. Go on with after="+f.cursor()+".")
			return
		}
		if !f.take(m) {
			return
		}
		if now := time.Now(); now.Sub(checked) >= checkKey {
			if _, valid := f.Keys.Find(secretOf(f.c.Request())); !valid {
				f.end(emet.Key, "The application key does not exist any more.")
				return
			}
			checked = now
		}
	}
}

// next waits for the next message, at most until the next heartbeat is due.
// Then, and when that was long ago, it is an empty one.
func (f *feed) next(ctx context.Context, sub es.Subscription) (es.Message, error) {
	waiting, cancel := context.WithTimeout(ctx, f.Feeds.Heartbeat-time.Since(f.written))
	defer cancel()
	m, err := sub.Next(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return es.Message{}, nil
	}
	return m, err
}

// take tells what a message says; false ends the feed.
func (f *feed) take(m es.Message) bool {
	begun := time.Now()
	var err error
	switch {
	case m.Event != nil:
		item := news.Of(*m.Event)
		f.at = int64(item.Position)
		if f.filter.Sees(item) {
			err = f.tell(item)
		}
	case m.Checkpoint != nil:
		f.at = max(f.at, int64(*m.Checkpoint))
	}
	if err == nil && time.Since(f.written) >= f.Feeds.Heartbeat {
		err = f.heartbeat()
	}
	if err != nil {
		return false // the client is gone, or reads nothing at all
	}
	if took := time.Since(begun); took > f.Feeds.Patience {
		f.feeds.mu.Lock()
		f.feeds.cut++
		f.feeds.mu.Unlock()
		f.end(emet.Slow, "One event took "+took.Round(time.Millisecond).String()+" to be read, longer than "+
			f.Feeds.Patience.String()+". Read faster, or ask for less; go on with after="+f.cursor()+".")
		return false
	}
	return true
}

func (f *feed) tell(i news.Item) error {
	data, err := i.JSON()
	if err != nil {
		return err
	}
	f.written = time.Now()
	return f.out.event("", data, f.cursor())
}

// heartbeat shows that the connection lives, and up to where the log was
// looked at, so that a reader which resumes need not look again.
func (f *feed) heartbeat() error {
	f.written = time.Now()
	if f.at < 0 {
		return f.out.ping()
	}
	return f.out.send([]byte(":ping\nid: " + f.cursor() + "\n\n"))
}

func (f *feed) cursor() string { return strconv.FormatInt(f.at, 10) + f.mark }

// end says why the stream is closed. A reader that is gone does not hear it.
func (f *feed) end(reason emet.FeedEndReason, text string) {
	data, err := encode(emet.FeedEnd{Reason: reason, Text: text, After: f.at})
	if err != nil {
		return
	}
	id := ""
	if f.at >= 0 {
		id = f.cursor()
	}
	_ = f.out.event("end", data, id)
}

// isFeed says whether a request is one for news, whatever it accepts.
func isFeed(r *http.Request) bool {
	return r.URL.Path == emetBase+"/events"
}
