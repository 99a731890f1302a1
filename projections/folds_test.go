package projections

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/eventschemas"
)

// Not parallel: the places are those of the process.
func TestLooksAtThePastAreBounded(t *testing.T) {
	st := memory.New()
	defer st.Close() //nolint:errcheck // a test's store
	log := &es.Log{Store: st, Codec: eventschemas.New()}
	ctx := t.Context()
	for i := range 40 {
		text := make([]byte, 20_000)
		for k := range text {
			text[k] = 'x'
		}
		facts := es.Facts{Stream: es.Stream("demand-" + string(rune('a'+i%26)) + string(rune('a'+i/26))), Expected: es.Any, Facts: []any{
			demand.Published{DemandID: string(rune('a'+i%26)) + string(rune('a'+i/26)), Properties: `{"a":"` + string(text) + `"}`, Expires: time.Now().Add(time.Hour)},
		}}
		if _, err := log.Append(ctx, es.Meta{Key: string(rune('a' + i)), Actor: es.ActorREST}, nil, facts); err != nil {
			t.Fatal(err)
		}
	}
	m, err := OpenMarket(ctx, Memory, log)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // a test's view
	_, most, before := Folds()
	look := func(ctx context.Context, within time.Duration, size int64) (*DB, error) {
		past := m.DB.asOfWithin(40, within, size)
		return past, past.Fresh(ctx)
	}
	if _, err := look(ctx, maxFoldTime, 200_000); !errors.Is(err, ErrFolds) {
		t.Errorf("800 kB in 200 kB: %v", err)
	}
	past, err := look(ctx, maxFoldTime, maxFoldSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := past.Close(); err != nil {
		t.Error(err)
	}
	for range most {
		folds.running <- struct{}{}
	}
	if _, err := look(ctx, time.Millisecond, maxFoldSize); !errors.Is(err, ErrFolds) {
		t.Errorf("one too many: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := look(gone, maxFoldTime, maxFoldSize); !errors.Is(err, context.Canceled) {
		t.Errorf("who asked has left: %v", err)
	}
	for range most {
		<-folds.running
	}
	if _, err := look(ctx, 0, maxFoldSize); !errors.Is(err, ErrFolds) {
		t.Errorf("no time at all: %v", err)
	}
	if used, _, refused := Folds(); used != 0 || refused-before != 3 {
		t.Errorf("%d run, %d were refused", used, refused-before)
	}
}
