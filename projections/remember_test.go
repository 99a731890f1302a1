package projections

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
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

// wide writes a long row of every fact.
type wide struct{}

func (wide) Name() string    { return "wide/1" }
func (wide) Schema() string  { return `CREATE TABLE wide (n INTEGER PRIMARY KEY, x TEXT NOT NULL)` }
func (wide) Hears() []string { return []string{"demand.expired.v1"} }
func (wide) Apply(tx *Tx, r es.Recorded) error {
	return tx.insert("wide", int64(r.Position), strings.Repeat("x", 3000)) //nolint:gosec // small
}

// A view whose disk was full goes on when there is space: SQLite rolls back by
// itself then, and nothing of what it took back stays in memory.
func TestAViewGoesOnAfterAFullDisk(t *testing.T) {
	t.Parallel()
	store := memory.New()
	defer store.Close()
	log := &es.Log{Store: store, Codec: eventschemas.New()}
	db, err := Open(t.Context(), "test", filepath.Join(t.TempDir(), "test.db"), log, counter{}, wide{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	pages := func(n int) {
		t.Helper()
		if _, err := db.write.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	pages(20)
	said, failed := 0, 0
	say := func(n int) {
		t.Helper()
		for range n {
			said++
			_, err := log.Append(t.Context(), es.Meta{Key: fmt.Sprint(said)}, nil, es.Facts{Stream: "demand-d", Expected: es.Any, Facts: []any{demand.Expired{DemandID: "d"}}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 12 {
		say(3)
		for range 3 {
			err := db.catchUp(t.Context())
			if err != nil && !strings.Contains(err.Error(), "full") {
				t.Fatalf("after %d facts: %v", said, err)
			}
			if err != nil {
				failed++
			}
		}
	}
	if failed < 3 {
		t.Fatalf("the disk was full %d times only", failed)
	}
	pages(10_000)
	if err := db.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n, last int
	err = db.read.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM wide), (SELECT max(n) FROM counted)`).Scan(&n, &last)
	if err != nil || n != said || last != said || db.Position() != es.Position(said) { //nolint:gosec // small
		t.Errorf("%d rows, counted to %d, of %d facts: %v", n, last, said, err)
	}
}
