package projections

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/eventschemas"
)

// A look that is given up has begun something that goes on: the next one finds
// it done. Not parallel: the places are those of the process.
func TestALookThatIsGivenUpGoesOn(t *testing.T) {
	store := memory.New()
	defer store.Close() //nolint:errcheck // a test's store
	log := &es.Log{Store: store, Codec: eventschemas.New()}
	for i := range 300 {
		d := fmt.Sprint("d", i)
		facts := es.Facts{Stream: es.Stream("demand-" + d), Expected: es.Any, Facts: []any{demand.Published{DemandID: d, Properties: "{}", Expires: time.Now().Add(time.Hour)}, demand.Expired{DemandID: d}}}
		if _, err := log.Append(t.Context(), es.Meta{Key: d}, nil, facts); err != nil {
			t.Fatal(err)
		}
	}
	m, err := OpenMarket(t.Context(), filepath.Join(t.TempDir(), "views"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()        //nolint:errcheck // a test's view
	building <- struct{}{} // as if another past was being made
	past := m.asOfWithin(7, time.Millisecond, maxFoldSize)
	if err := past.Fresh(t.Context()); !errors.Is(err, ErrFolds) {
		t.Fatalf("no time at all: %v", err)
	}
	<-building
	run := m.versions.start() // the one that goes on
	<-run.done
	if at := m.versions.db.Position(); run.err != nil || at != 600 {
		t.Fatalf("the past is known up to %d: %v", at, run.err)
	}
	past = m.asOfWithin(7, maxFoldTime, maxFoldSize)
	defer past.Close() //nolint:errcheck // opened for reading
	if err := past.Fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	live, err := query(t.Context(), past, func(s scanner) (n int, err error) { return n, s.Scan(&n) }, `SELECT count(*) FROM subscriptions WHERE state = 'live'`)
	if err != nil || live[0] != 1 {
		t.Fatalf("%d demands were on the market after 7 facts: %v", live[0], err)
	}
}
