package projections

import (
	"context"
	"errors"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/eventschemas"
)

// counter remembers how many facts it heard and writes the number.
type counter struct{ n *int }

func (counter) Name() string           { return "counter/1" }
func (counter) Schema() string         { return `CREATE TABLE counted (n INTEGER PRIMARY KEY)` }
func (counter) Hears() []string        { return []string{"demand.expired.v1"} }
func (counter) fresh() remembering     { return counter{new(int)} }
func (c counter) remember(es.Recorded) { *c.n++ }
func (c counter) Apply(tx *Tx, _ es.Recorded) error {
	*c.n++
	return tx.insert("counted", *c.n)
}

// moody fails as long as told.
type moody struct{ fail *bool }

func (moody) Name() string    { return "moody/1" }
func (moody) Schema() string  { return `CREATE TABLE moody (x TEXT)` }
func (moody) Hears() []string { return []string{"demand.expired.v1"} }
func (m moody) Apply(*Tx, es.Recorded) error {
	if *m.fail {
		return errors.New("not now")
	}
	return nil
}

// A batch that was rolled back leaves no trace in what views remember.
func TestAFailedBatchIsForgotten(t *testing.T) {
	t.Parallel()
	store := memory.New()
	defer store.Close()
	log := &es.Log{Store: store, Codec: eventschemas.New()}
	say := func(key string) {
		t.Helper()
		_, err := log.Append(t.Context(), es.Meta{Key: key}, nil, es.Facts{Stream: "demand-d", Expected: es.Any, Facts: []any{demand.Expired{DemandID: "d"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	fail := false
	db, err := Open(t.Context(), "test", Memory, log, counter{}, moody{&fail})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	say("a")
	if err := db.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	say("b")
	fail = true
	for range 3 {
		if db.catchUp(t.Context()) == nil {
			t.Fatal("a failure was swallowed")
		}
	}
	fail = false
	if err := db.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := query(context.Background(), db, func(s scanner) (n int, err error) { return n, s.Scan(&n) }, `SELECT n FROM counted ORDER BY rowid`)
	if err != nil || len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Fatalf("counted %v, %v", got, err)
	}
}
