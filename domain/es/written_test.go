package es_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
)

func TestCanonicalJSONIsRFC8785(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := map[string]any{
			"a": rapid.String().Draw(t, "text"), "b<>&": rapid.SliceOf(rapid.String()).Draw(t, "texts"),
			"n": rapid.Int64Range(-1<<53+1, 1<<53-1).Draw(t, "n"), "z": nil,
			"s": "\u2028\u2029\\u2028 \\ \" \x7f \x00\x1f\b\f\n\r\t</script>" + rapid.StringOf(rapid.RuneFrom([]rune("\u2027\u2028\u2029\\u208\""))).Draw(t, "separators"),
			"m": map[string]bool{"x": true, "A": false},
		}
		got, err := es.CanonicalJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(got)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s\n%s\n%v", got, want, err)
		}
		var back map[string]any
		if err := json.Unmarshal(got, &back); err != nil || back["a"] != v["a"] || back["s"] != v["s"] {
			t.Fatalf("%v, %v", back, err)
		}
	})
}

func TestMetaKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	at := es.Position(7)
	full := es.Meta{
		Correlation: "c", CausationID: es.EventID("s-1", "k", 0), Cause: &at, Key: "k", Actor: es.ActorPeer, Identity: "i", AppKey: "a", Session: "s",
		Peer: "p", Via: "v", SentAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Seq: 9, Grade: es.GradeSigned,
		Effect: &es.EffectMeta{Attempt: 2, DurationMicros: 3, Endpoint: "e"}, Policy: &es.PolicyMeta{Code: "c", Inputs: "i", Name: "n", Version: "1"},
		Node: "n", Trace: "t", Extra: map[string]json.RawMessage{"future": json.RawMessage(`{"a":[1,"x"]}`), "zz": json.RawMessage(`null`)},
	}
	b, err := full.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := jcs.Transform(b)
	if err != nil || string(canonical) != string(b) {
		t.Fatalf("%s\n%s\n%v", b, canonical, err)
	}
	var back es.Meta
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := back.MarshalJSON()
	if err != nil || string(again) != string(b) || len(back.Extra) != 2 || *back.Cause != 7 {
		t.Fatalf("%s\n%s\n%v", b, again, err)
	}
	var empty es.Meta
	if b, err := empty.MarshalJSON(); err != nil || string(b) != "{}" {
		t.Fatalf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"$causationId":"no"}`), &back); err == nil {
		t.Fatal("a malformed id was taken")
	}
}

// Ids are names for ever: other programs may compute them.
func TestEventIDs(t *testing.T) {
	t.Parallel()
	if got := es.NameID(es.ID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, "www.example.com").String(); got != "2ed6657d-e927-568b-95e1-2665a8aea6a2" {
		t.Errorf("the vector of RFC 9562 gives %s", got)
	}
	seen := map[es.ID]string{}
	for _, stream := range []es.Stream{"a-1", "a-11", "b-1"} {
		for _, key := range []string{"k", "k1", "1"} {
			for i := range 12 {
				id := es.EventID(stream, key, i)
				name := fmt.Sprint(stream, " ", key, " ", i)
				if other, ok := seen[id]; ok {
					t.Errorf("%s and %s share %s", name, other, id)
				}
				seen[id] = name
				if back, err := es.ParseID(id.String()); err != nil || back != id || id[6]>>4 != 5 || id[8]>>6 != 2 {
					t.Errorf("%s: %s, %v", id, back, err)
				}
			}
		}
	}
	if got := es.EventID("agreement-R-1", "key", 0).String(); got != golden {
		t.Errorf("%s, want %s", got, golden)
	}
}

func TestStreamNames(t *testing.T) {
	t.Parallel()
	s := es.StreamOf("agreement", "R-a-b")
	if s != "agreement-R-a-b" || s.Category() != "agreement" || s.Key() != "R-a-b" {
		t.Fatal(s, s.Category(), s.Key())
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    es.Filter
		want bool
	}{
		"everything":          {es.Filter{}, true},
		"the stream":          {es.Filter{Streams: []es.Stream{"x-1", "a-1"}}, true},
		"another stream":      {es.Filter{Streams: []es.Stream{"a-2"}}, false},
		"a prefix":            {es.Filter{StreamPrefixes: []string{"b", "a-"}}, true},
		"another prefix":      {es.Filter{StreamPrefixes: []string{"b"}}, false},
		"exact or prefix":     {es.Filter{Streams: []es.Stream{"no"}, StreamPrefixes: []string{"a"}}, true},
		"the type":            {es.Filter{Types: []string{"t.v1"}}, true},
		"type and stream":     {es.Filter{Types: []string{"t.v1"}, Streams: []es.Stream{"a-1"}}, true},
		"type, other stream":  {es.Filter{Types: []string{"t.v1"}, Streams: []es.Stream{"a-2"}}, false},
		"stream, other type":  {es.Filter{Types: []string{"u.v1"}, Streams: []es.Stream{"a-1"}}, false},
		"a prefix of a type":  {es.Filter{TypePrefixes: []string{"t."}}, true},
		"a pattern":           {es.Filter{StreamPattern: regexp.MustCompile("^a-[0-9]$")}, true},
		"another pattern":     {es.Filter{TypePattern: regexp.MustCompile("v2$")}, false},
		"pattern or the type": {es.Filter{TypePattern: regexp.MustCompile("v2$"), Types: []string{"t.v1"}}, true},
	} {
		if got := c.f.Match("a-1", "t.v1"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
