package rest

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

const (
	scanLife      = 300 * time.Second
	scanMaxEvents = 500
	maxScans      = 1024
	maxScansOfOne = 128 // identity
)

// scans are the cursors over all offers that clients opened. They live a while
// after their last use and do not survive a restart.
type scans struct {
	book Book

	mu   sync.Mutex
	next int
	open map[string]*scan
}

type scan struct {
	owner   identity.NodeID
	cursor  Cursor // nil for demands, of which nobody knows any
	life    time.Duration
	expires time.Time // guarded by scans.mu
	done    chan struct{}
}

func newScans(book Book) *scans { return &scans{book: book, open: make(map[string]*scan)} }

func (s *scans) begin(owner identity.NodeID, cursor Cursor, life time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	mine := 0
	for _, sc := range s.open {
		if sc.owner == owner {
			mine++
		}
	}
	if len(s.open) >= maxScans || mine >= maxScansOfOne {
		return "", problem(http.StatusBadRequest, "%d scans are open already, %d of them of this identity; there may be %d, and %d of one identity.",
			len(s.open), mine, maxScans, maxScansOfOne)
	}
	id := strconv.Itoa(s.next)
	s.next++
	s.open[id] = &scan{owner: owner, cursor: cursor, life: life, expires: time.Now().Add(life), done: make(chan struct{})}
	return id, nil
}

// sweep ends scans that nobody used for long. The lock is held.
func (s *scans) sweep() {
	now := time.Now()
	for id, sc := range s.open {
		if !sc.expires.After(now) {
			s.drop(id, sc)
		}
	}
}

func (s *scans) drop(id string, sc *scan) {
	delete(s.open, id)
	close(sc.done)
	if sc.cursor != nil {
		sc.cursor.Close()
	}
}

// use finds a scan of owner and prolongs its life.
func (s *scans) use(owner identity.NodeID, id string) (*scan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	sc, ok := s.open[id]
	switch {
	case !ok:
		return nil, problem(http.StatusNotFound, "Scan [%s] not found.", id)
	case sc.owner != owner:
		return nil, problem(http.StatusForbidden, "Scan [%s] belongs to another identity.", id)
	}
	sc.expires = time.Now().Add(sc.life)
	return sc, nil
}

func (s *scans) end(owner identity.NodeID, id string) error {
	sc, err := s.use(owner, id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id] == sc {
		s.drop(id, sc)
	}
	return nil
}

// BeginScan opens a cursor over the offers that this node knows.
func (m *marketAPI) BeginScan(c echo.Context) error {
	var in gen.NewScan
	if err := readJSON(c, &in); err != nil {
		return err
	}
	if !in.Type.Valid() {
		return badBody(c, "Json deserialize error: type must be offer or demand")
	}
	life := scanLife
	if in.Timeout > 0 {
		life = seconds(in.Timeout)
	}
	var cursor Cursor
	if in.Type == gen.NewScanTypeOffer {
		var err error
		if cursor, err = m.Book.Scan(in.Constraints); err != nil {
			return problem(http.StatusBadRequest, "%s", err.Error())
		}
	}
	id, err := m.scans.begin(keyOf(c.Request().Context()).Identity, cursor, life)
	if err != nil {
		if cursor != nil {
			cursor.Close()
		}
		return err
	}
	return answer(c, http.StatusCreated, id)
}

// EndScan ends a scan.
func (m *marketAPI) EndScan(c echo.Context) error {
	if err := m.scans.end(keyOf(c.Request().Context()).Identity, c.Param("scanId")); err != nil {
		return err
	}
	return nothing(c)
}

// EndScanOfEvents is the same at the path that older documents name.
func (m *marketAPI) EndScanOfEvents(c echo.Context) error { return m.EndScan(c) }

// CollectScan yields the next offers.
func (m *marketAPI) CollectScan(c echo.Context) error {
	q := queryOf(c)
	wait, most := q.wait("timeout", defaultWait), q.number("maxEvents", scanMaxEvents)
	asked := q.text("peerId")
	switch {
	case q.err != nil:
		return q.err
	case most < 1:
		return market.Errorf(market.ErrMaxEvents, "Invalid maxEvents '%d', should be at least 1.", most)
	case asked != "":
		return problem(http.StatusBadGateway, "Peer [%s] cannot be asked directly; its offers arrive with those of all others.", asked)
	}
	ctx := c.Request().Context()
	sc, err := m.scans.use(keyOf(ctx).Identity, c.Param("scanId"))
	if err != nil {
		return err
	}
	n := int(min(most, scanMaxEvents))
	if wantsStream(c.Request()) {
		return m.streamScan(c, sc, n)
	}
	offers, err := sc.wait(ctx, n, wait)
	if err != nil {
		return err
	}
	out := make([]gen.Offer, len(offers))
	for i, o := range offers {
		out[i] = scannedOffer(o)
	}
	return list(c, out)
}

// wait takes offers as soon as there are any, none when the time is over.
func (sc *scan) wait(ctx context.Context, n int, wait time.Duration) ([]peer.Offer, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		if offers := sc.take(n); len(offers) > 0 {
			return offers, nil
		}
		select {
		case <-sc.wake():
		case <-timer.C:
			return sc.take(n), nil
		case <-sc.done:
			return nil, problem(http.StatusGone, "The scan was ended.")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (sc *scan) take(n int) []peer.Offer {
	if sc.cursor == nil {
		return nil
	}
	return sc.cursor.Take(n, nil)
}

func (sc *scan) wake() <-chan struct{} {
	if sc.cursor == nil {
		return nil
	}
	return sc.cursor.Wake()
}

// streamScan sends offers until the client leaves or the scan ends.
func (m *marketAPI) streamScan(c echo.Context, sc *scan, n int) error {
	out, err := startStream(c)
	if err != nil {
		return err
	}
	ctx, id := c.Request().Context(), c.Param("scanId")
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		for _, o := range sc.take(n) {
			b, err := encode(scannedOffer(o))
			if err != nil {
				return err
			}
			if err := out.event("offer", b, ""); err != nil {
				return nil // the client is gone
			}
		}
		select {
		case <-sc.wake():
		case <-ping.C:
			if _, err := m.scans.use(sc.owner, id); err != nil || out.ping() != nil {
				return nil
			}
		case <-sc.done:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func scannedOffer(o peer.Offer) gen.Offer {
	return gen.Offer{
		Properties: gen.Properties(o.Properties), Constraints: o.Constraints,
		OfferId: o.ID, ProviderId: string(o.Provider), Timestamp: dto.At(o.Created),
	}
}
