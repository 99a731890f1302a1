package news_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const alice = "0x00000000000000000000000000000000000000a1"

func event(stream es.Stream, typ, subject, data string) es.Event {
	cause := es.Position(6)
	meta, _ := es.Meta{
		Correlation: "story", CausationID: es.ID{1, 2, 3}, Cause: &cause, Key: "k", Actor: es.ActorREST, Identity: alice, Grade: es.GradeSelf,
	}.MarshalJSON()
	return es.Event{
		NewEvent: es.NewEvent{ID: es.EventID(stream, "k", 0), Type: typ, Data: []byte(data), Meta: meta, Subject: subject},
		Stream:   stream, Revision: 2, Position: 7, Recorded: time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC),
	}
}

func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	foreign := event("notes-1", "note", "", "\xff\x00")
	foreign.Meta = []byte("no json")
	for name, e := range map[string]es.Event{
		"plain":   event("agreement-R-aa", "agreement.approved.v1", "", `{"html":"<b>&","n":"0.0"}`),
		"sealed":  event("batch-R-aa-bb", "batch.exec_requested.v1", "activity/aa", `{"secret":1}`),
		"foreign": foreign,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := news.Of(e).JSON()
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := news.Of(e).JSON(); !bytes.Equal(got, again) {
				t.Errorf("told in other words: %s", again)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Error(diff)
			}
			if bytes.Contains(got, []byte("secret")) {
				t.Errorf("what is sealed is told: %s", got)
			}
		})
	}
}

func TestTheDataOfAFactIsToldAsItIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		data, _ := es.CanonicalJSON(map[string]string{"text": text})
		line, err := news.Of(event("demand-aa", "demand.published.v1", "", string(data))).JSON()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(line, "\n\r") {
			t.Fatalf("more than one line: %q", line)
		}
		var back news.Item
		if err := json.Unmarshal(line, &back); err != nil || !bytes.Equal(back.Data, data) {
			t.Fatalf("%s, want %s: %v", back.Data, data, err)
		}
	})
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f      news.Filter
		stream es.Stream
		typ    string
		want   bool
	}{
		{news.Filter{}, "x-1", "x.y.v1", true},
		{news.Filter{Types: []string{"x.y.v1"}}, "x-1", "x.y.v1", true},
		{news.Filter{Types: []string{"x.y.v1"}}, "x-1", "x.y.v10", false},
		{news.Filter{Types: []string{"x.y*"}}, "x-1", "x.y.v10", true},
		{news.Filter{Types: []string{"a", "x*"}, Streams: []string{"x-2"}}, "x-1", "x.y.v1", false},
		{news.Filter{Streams: []string{"x-2", "x-1"}}, "x-1", "x.y.v1", true},
		{news.Filter{Streams: []string{"x-1*"}}, "x-12", "x.y.v1", true},
		{news.Filter{Categories: []string{"x"}}, "x-12", "x.y.v1", true},
		{news.Filter{Categories: []string{"x"}}, "xy-12", "x.y.v1", false},
		{news.Filter{Categories: []string{"$log"}}, "$log", "$log.opened.v1", true},
		{news.Filter{Categories: []string{"x"}, Streams: []string{"y-1"}}, "y-1", "y.y.v1", true},
	} {
		if err := c.f.Check(); err != nil {
			t.Errorf("%+v: %v", c.f, err)
		}
		if got := c.f.Store().Match(c.stream, c.typ); got != c.want {
			t.Errorf("%+v on %s %s: %v", c.f, c.stream, c.typ, got)
		}
	}
	for _, f := range []news.Filter{
		{Types: []string{""}},
		{Types: []string{"a*b"}},
		{Categories: []string{"a-b"}},
		{Categories: []string{"a*"}},
		{Types: make([]string, 65)},
		{Streams: []string{strings.Repeat("x", 1025)}},
	} {
		if f.Check() == nil {
			t.Errorf("%.80v passes", f)
		}
	}
}

func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	mine, store := news.Item{Stream: "a-1", Identity: alice}, news.Item{Stream: "$log"}
	for _, c := range []struct {
		who  string
		item news.Item
		want bool
	}{
		{"", mine, true},
		{alice, mine, true},
		{"0xb0", mine, false},
		{alice, store, true},
		{alice, news.Item{Stream: "a-1"}, false},
		{"0xb0", news.Item{Stream: "$audit", Identity: alice}, false},
	} {
		if got := (news.Filter{Identity: c.who}).Sees(c.item); got != c.want {
			t.Errorf("%q sees %+v: %v", c.who, c.item, got)
		}
	}
}

// The vector is in docs/formats.md.
func TestSignatures(t *testing.T) {
	t.Parallel()
	const secret = "whsec_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	at, body := time.Unix(1795255200, 0), []byte(`{"position":7}`)
	header := news.Sign(secret, at, body)
	if want := "t=1795255200,v1=91deacc18de6c00038fa7f3e3146edf9bc833890f06492292681d7c920231a0d"; header != want {
		t.Errorf("signed %s, want %s", header, want)
	}
	for _, c := range []struct {
		secret, header, body string
		now                  time.Time
		want                 error
	}{
		{secret, header, string(body), at.Add(4 * time.Minute), nil},
		{secret, "v0=x, " + header + ",v1=00,v2=zz", string(body), at, nil},
		{secret, header, string(body), at.Add(6 * time.Minute), news.ErrStale},
		{secret, header, string(body), at.Add(-6 * time.Minute), news.ErrStale},
		{secret, strings.Replace(header, "t=1795255200", "t=1795255201", 1), string(body), at, news.ErrForged},
		{secret, header, string(body) + " ", at, news.ErrForged},
		{secret + "0", header, string(body), at, news.ErrForged},
		{secret, "", string(body), at, news.ErrUnsigned},
		{secret, "t=1795255200", string(body), at, news.ErrUnsigned},
		{secret, "t=x,v1=00", string(body), at, news.ErrUnsigned},
	} {
		if err := news.Verify(c.secret, c.header, []byte(c.body), c.now, news.Tolerance); !errors.Is(err, c.want) {
			t.Errorf("%s over %s: %v, want %v", c.header, c.body, err, c.want)
		}
	}
}
