package projections

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/eventschemas"
)

// step is something that a view may do with its rows.
type step struct {
	Do   string `json:"do"`
	A, B int
	N    int
}

// scribbler does what the facts say. They say it in a name.
type scribbler struct{}

func (scribbler) Name() string { return "scribbler/1" }
func (scribbler) Schema() string {
	return `CREATE TABLE totals (side TEXT NOT NULL, agreement_id TEXT NOT NULL, b INTEGER NOT NULL, n INTEGER NOT NULL, x BLOB, PRIMARY KEY (side, agreement_id, b)) WITHOUT ROWID;
	CREATE INDEX totals_by_n ON totals (n)`
}
func (scribbler) Hears() []string { return []string{"demand.expired.v1"} }

func (scribbler) Apply(tx *Tx, r es.Recorded) error {
	var steps []step
	if err := json.Unmarshal([]byte(r.Data.(demand.Expired).DemandID), &steps); err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.apply(tx); err != nil {
			return err
		}
	}
	return nil
}

func (s step) apply(tx *Tx) error {
	const side = "R"
	deal := fmt.Sprint("a", s.A)
	values := []any{side, deal, s.B, s.N, []byte{byte(s.N)}}
	switch s.Do {
	case "insert":
		if r, err := tx.get("totals", side, deal, s.B); err != nil || r != nil {
			return err
		}
		return tx.insert("totals", values...)
	case "insertNew":
		return tx.insertNew("totals", values...)
	case "put":
		return tx.put("totals", values...)
	case "merge":
		return tx.merge("totals", []string{"x"}, values...)
	case "update":
		return tx.update("totals", func(r *row) { r.set("n", r.int("n")+int64(s.N)) }, side, deal, s.B)
	case "remove":
		return tx.remove("totals", side, deal, s.B)
	case "group":
		all, err := tx.group("totals", side, deal)
		for _, r := range all {
			r.set("n", s.N)
		}
		return err
	}
	rows, err := tx.query(`SELECT count(*) FROM totals`) // writes what is not written
	if err != nil {
		return err
	}
	return rows.Close()
}

type cell struct{ a, b int }

// apply is what a step means.
func (s step) model(m map[cell]string) {
	is := func(n, x int) string { return fmt.Sprint(n, " ", x) }
	at := cell{s.A, s.B}
	var n, x int
	old, there := m[at]
	_, _ = fmt.Sscan(old, &n, &x)
	switch {
	case s.Do == "put", !there && slices.Contains([]string{"insert", "insertNew", "merge"}, s.Do):
		m[at] = is(s.N, s.N)
	case s.Do == "merge":
		m[at] = is(n, s.N)
	case s.Do == "update" && there:
		m[at] = is(n+s.N, x)
	case s.Do == "remove":
		delete(m, at)
	case s.Do == "group":
		for p, v := range m {
			if _, _ = fmt.Sscan(v, &n, &x); p.a == s.A {
				m[p] = is(s.N, x)
			}
		}
	}
}

var doings = []string{"insert", "insertNew", "put", "merge", "update", "remove", "group", "query"}

func drawSteps(r *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
		return step{rapid.SampledFrom(doings).Draw(r, "do"), rapid.IntRange(0, 3).Draw(r, "a"), rapid.IntRange(0, 2).Draw(r, "b"), rapid.IntRange(0, 9).Draw(r, "n")}
	}), 0, 4).Draw(r, "steps")
}

// Rows that pass through memory are what they would be without it: whatever
// views do with them, in batches of any size, after a reopening, in a rebuild,
// and as of every position.
func TestRowsAreWhatWasDoneWithThem(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		store := memory.New()
		defer store.Close() //nolint:errcheck // a test's store
		log := &es.Log{Store: store, Codec: eventschemas.New()}
		path := filepath.Join(dir, fmt.Sprint(n), "test.db")
		open := func() *DB {
			db, err := Open(t.Context(), "test", path, log, scribbler{})
			if err != nil {
				r.Fatal(err)
			}
			db.rows.kept = rapid.IntRange(0, 4).Draw(r, "kept")
			return db
		}
		db := open()
		defer func() { check(r, db.Close()) }()
		state, states := map[cell]string{}, []map[cell]string{{}}
		for i := range rapid.IntRange(1, 12).Draw(r, "facts") {
			steps := drawSteps(r)
			text, err := json.Marshal(steps)
			check(r, err)
			_, err = log.Append(t.Context(), es.Meta{Key: fmt.Sprint(i)}, nil, es.Facts{Stream: "demand-d", Expected: es.Any, Facts: []any{demand.Expired{DemandID: string(text)}}})
			check(r, err)
			for _, s := range steps {
				s.model(state)
			}
			states = append(states, maps.Clone(state))
			switch rapid.IntRange(0, 9).Draw(r, "then") {
			case 0, 1, 2:
				_, err = db.stepOf(t.Context(), rapid.IntRange(1, 3).Draw(r, "size"))
				check(r, err)
			case 3:
				check(r, db.CatchUpPast(t.Context()))
			case 4:
				check(r, db.Close())
				db = open()
			case 5:
				check(r, db.Rebuild(t.Context()))
			}
		}
		check(r, db.CatchUp(t.Context()))
		compare(r, db, state)
		check(r, db.Rebuild(t.Context()))
		compare(r, db, state)
		for at, want := range states {
			past, err := db.AsOf(t.Context(), es.Position(at))
			check(r, err)
			compare(r, past, want)
			check(r, past.Close())
		}
	})
}

func check(r *rapid.T, err error) {
	if err != nil {
		r.Helper()
		r.Fatal(err)
	}
}

func compare(r *rapid.T, db *DB, want map[cell]string) {
	r.Helper()
	have := map[cell]string{}
	_, err := query(r.Context(), db, func(s scanner) (none struct{}, err error) {
		var deal string
		var b, n int
		var x []byte
		err = s.Scan(&deal, &b, &n, &x)
		var a int
		_, _ = fmt.Sscanf(deal, "a%d", &a)
		have[cell{a, b}] = fmt.Sprint(n, " ", int(x[0]))
		return none, err
	}, `SELECT agreement_id, b, n, x FROM totals`)
	check(r, err)
	if !maps.Equal(have, want) {
		r.Fatalf("%s has %v, want %v", db.name, have, want)
	}
}
