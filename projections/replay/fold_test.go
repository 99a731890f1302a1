package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/story/storytest"
)

func deals(t testing.TB, n int) *es.Log {
	t.Helper()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	w, err := storytest.NewWorld(t.Context(), log)
	if err == nil {
		err = w.Deals(t.Context(), 0, n, func(n int) storytest.Stage { return storytest.Stage(n % int(storytest.Paid+1)) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// contents are the states of one share of the streams, by stream.
func contents(f folders, into map[string]any) {
	for _, states := range f.all {
		v := reflect.ValueOf(states).Elem().FieldByName("states")
		for k, state := range reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem().Seq2() {
			into[k.String()] = state.Interface()
		}
	}
}

// Many workers come to the states that one comes to who reads one fact after
// the other, and no stream is in two hands.
func TestSharedFoldingIsFolding(t *testing.T) {
	t.Parallel()
	log := deals(t, 60)
	one := newFolders(log)
	for e, err := range log.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		fact, err := log.Content(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		one.all[e.Stream.Category()].fold([]byte(e.Stream), fact)
	}
	shares, err := shareAmong(t.Context(), log.Store, 5, func() folders { return newFolders(log) })
	if err != nil {
		t.Fatal(err)
	}
	want, got, streams := make(map[string]any), make(map[string]any), 0
	contents(one, want)
	for _, s := range shares {
		before := len(got)
		contents(s, got)
		if len(got) == before {
			t.Error("a worker had nothing to do")
		}
		for _, f := range s.all {
			streams += f.streams()
		}
	}
	if streams != len(want) || len(want) < 300 {
		t.Fatalf("%d streams in all hands, there are %d", streams, len(want))
	}
	for _, stream := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(got[stream], want[stream]) {
			t.Fatalf("%s is\n%+v\nwant\n%+v", stream, got[stream], want[stream])
		}
	}
	if n, err := Fold(t.Context(), log); err != nil || n != streams {
		t.Fatalf("Fold finds %d streams, %v", n, err)
	}
}

// An event that cannot be read ends the folding, and is named.
func TestFoldingEndsAtWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	log := deals(t, 4)
	at, err := log.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range []es.NewEvent{
		{Type: "usage.sampled.v1", Data: []byte(`{"vector":7}`)},
		{Type: "usage.sampled.v1", Data: []byte(`{}`)},
	} {
		e.ID, e.Meta = es.ID{1, byte(i)}, []byte(`{}`)
		if _, err := log.Store.Append(t.Context(), nil, es.Write{Stream: "usage-P-damaged", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Fold(t.Context(), log); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("event %d of usage-P-damaged", at)) {
		t.Fatalf("folded with %v", err)
	}
}

// What is not decoded does no harm: other people's streams and facts of other
// builds.
func TestFoldingPassesOverWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	log := deals(t, 4)
	before, err := Fold(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	for i, stream := range []es.Stream{"guests-1", "usage-P-later", "nocategory"} {
		e := es.NewEvent{ID: es.ID{2, byte(i)}, Type: "usage.dreamt.v9", Data: []byte(`not JSON`), Meta: []byte(`{}`)}
		if _, err := log.Store.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := Fold(t.Context(), log); err != nil || after != before {
		t.Fatalf("%d streams, %v; before %d", after, err, before)
	}
}

// What a node knows of another is a stream like any.
func TestFoldingKnowsOtherNodes(t *testing.T) {
	t.Parallel()
	log := deals(t, 4)
	before, err := Fold(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	typ, data, _, err := log.Codec.Encode(contact.Met{})
	if err != nil {
		t.Fatal(err)
	}
	e := es.NewEvent{ID: es.ID{3}, Type: typ, Data: data, Meta: []byte(`{}`)}
	if _, err := log.Store.Append(t.Context(), nil, es.Write{Stream: contact.Category + "-1", Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
	if after, err := Fold(t.Context(), log); err != nil || after != before+1 {
		t.Fatalf("%d streams, %v; before %d", after, err, before)
	}
}

func TestFoldingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fold(ctx, deals(t, 4)); !errors.Is(err, context.Canceled) {
		t.Fatalf("folded with %v", err)
	}
}
