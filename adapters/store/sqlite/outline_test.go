package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

// said makes a store of n events in some streams.
func said(t testing.TB, path string, n int) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	size, _ := s.Root()
	for at := int(size); at < n; {
		var w []es.Write
		for k := range 5 {
			stream := es.Stream(fmt.Sprintf("s-%d", (at+k)%7))
			w = append(w, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{{ID: es.EventID(stream, "k", at+k), Type: "t.v1", Data: []byte("{}")}}})
		}
		if _, err := s.Append(t.Context(), nil, w...); err != nil {
			t.Fatal(err)
		}
		at += 5
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// outlook is all that a store knows without its table.
func outlook(t testing.TB, path string) string {
	t.Helper()
	s, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	size, root := s.Root()
	out := fmt.Sprint(size, root, s.LogID())
	for i := range 7 {
		info, err := s.Info(t.Context(), es.Stream(fmt.Sprintf("s-%d", i)))
		out += fmt.Sprint(info, err)
		for e, err := range s.ReadStream(t.Context(), es.Stream(fmt.Sprintf("s-%d", i)), 0, es.Forward, 0) {
			out += fmt.Sprint(e.Position, e.Revision, err)
		}
	}
	return out
}

func copied(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, err := os.Create(to)
	if err == nil {
		_, err = io.Copy(f, in)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Whatever is done to the outline, the store is the same; at the worst it reads
// the table.
func TestAnOutlineIsNeverBelievedWhenItIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log.sqlite")
	said(t, path, 100)
	said(t, path, 200) // another chunk
	good, err := os.ReadFile(path + ".outline")
	if err != nil || len(good) < 200*17 {
		t.Fatal(len(good), err)
	}
	if err := os.Remove(path + ".outline"); err != nil {
		t.Fatal(err)
	}
	want := outlook(t, path)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 150 {
		b := slices.Clone(good)
		switch i % 4 {
		case 0:
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		case 1:
			b = b[:r.IntN(len(b))]
		case 2:
			b = append(b, b[r.IntN(len(b)):]...)
		case 3:
			at := 24 + r.IntN(len(b)-24)
			clear(b[at:])
		}
		if i == 0 {
			b = good
		}
		if err := os.WriteFile(path+".outline", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := outlook(t, path); got != want {
			t.Fatalf("%d: the store is another:\n%s\nwant\n%s", i, got, want)
		}
	}
	// it goes on from what is whole, and writes the rest again
	said(t, path, 300)
	after := outlook(t, path)
	if err := os.Remove(path + ".outline"); err != nil {
		t.Fatal(err)
	}
	if got := outlook(t, path); got != after {
		t.Errorf("with the outline %s, without it %s", after, got)
	}
}

func TestAnOutlineOfAnotherStoreIsNotUsed(t *testing.T) {
	t.Parallel()
	a, b := filepath.Join(t.TempDir(), "log.sqlite"), filepath.Join(t.TempDir(), "log.sqlite")
	said(t, a, 50)
	said(t, b, 70)
	want := outlook(t, a)
	copied(t, b+".outline", a+".outline")
	if got := outlook(t, a); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// one that knows more than the store, as after a copy was put back
	said(t, b, 120)
	copied(t, b+".outline", filepath.Join(filepath.Dir(b), "longer"))
	db, err := sql.Open("sqlite", b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM events WHERE position >= 70`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b + ".outline"); err != nil {
		t.Fatal(err)
	}
	short := outlook(t, b)
	copied(t, filepath.Join(filepath.Dir(b), "longer"), b+".outline")
	if got := outlook(t, b); got != short {
		t.Errorf("got %s, want %s", got, short)
	}
}

// A start with an outline does not look at old rows; reading and verify do.
func TestAHoleBehindTheOutlineIsFoundByReaders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log.sqlite")
	said(t, path, 100)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM events WHERE position = 40`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if err := s.Verify(t.Context()); !errors.Is(err, es.ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	for _, d := range []es.Direction{es.Forward, es.Backward} {
		from := es.Position(0)
		if d == es.Backward {
			from = 99
		}
		var last error
		n := 0
		for _, err := range s.ReadAll(t.Context(), from, d, es.Filter{}, 0) {
			if last = err; err == nil {
				n++
			}
		}
		if !errors.Is(last, es.ErrCorrupt) || n != 40 && n != 59 {
			t.Errorf("direction %v: %d events, then %v", d, n, last)
		}
	}
}

// BenchmarkStart opens a log with and without its outline.
func BenchmarkStart(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log.sqlite")
	const events = 200_000
	db, err := sqlite.Open(b.Context(), path, sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < events; {
		var w []es.Write
		for k := range 1000 {
			stream := es.Stream(fmt.Sprintf("s-%d", at+k))
			if (at+k)%10 != 0 {
				stream = es.Stream(fmt.Sprintf("s-%d", (at+k)/10*10))
			}
			e := es.NewEvent{ID: es.EventID(stream, "k", at+k), Type: "t.v1", Data: make([]byte, 400)}
			if n := len(w); n > 0 && w[n-1].Stream == stream {
				w[n-1].Events = append(w[n-1].Events, e)
			} else {
				w = append(w, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}})
			}
		}
		if _, err := db.Append(b.Context(), nil, w...); err != nil {
			b.Fatal(err)
		}
		at += 1000
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for _, with := range []bool{true, false} {
		b.Run(fmt.Sprint("outline=", with), func(b *testing.B) {
			if !with {
				_ = os.Remove(path + ".outline")
			}
			for b.Loop() {
				s, err := sqlite.OpenReadOnly(b.Context(), path)
				if err != nil {
					b.Fatal(err)
				}
				_ = s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
		})
	}
}
