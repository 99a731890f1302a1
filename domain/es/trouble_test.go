package es_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// away is a store of which nothing can be read.
type away struct {
	es.Store
	why error
}

func (a away) ReadStream(context.Context, es.Stream, es.Revision, es.Direction, int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) { yield(es.Event{}, a.why) }
}

// mute seals nothing.
type mute struct{ es.Sealer }

func (mute) Seal(context.Context, es.Stream, *es.NewEvent) error { return errors.New("no space") }

type secretive struct{ codec }

func (s secretive) Encode(fact any) (string, []byte, string, error) {
	typ, data, _, err := s.codec.Encode(fact)
	return typ, data, "someone", err
}

// Who gives a command must tell what was refused from what can be tried again.
func TestTroubleIsNoRefusal(t *testing.T) {
	t.Parallel()
	l := newLog()
	if _, err := counters(l, "counter", 9).Do(t.Context(), "a", add{N: 1}, meta("first")); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("connection refused")
	for name, c := range map[string]struct {
		log     *es.Log
		trouble bool
		is      error
	}{
		"unread":   {&es.Log{Store: away{l.Store, refused}, Codec: codec{}}, true, refused},
		"damaged":  {&es.Log{Store: away{l.Store, fmt.Errorf("frame 7: %w", es.ErrCorrupt)}, Codec: codec{}}, false, es.ErrCorrupt},
		"unsealed": {&es.Log{Store: l.Store, Codec: secretive{}, Sealer: mute{}}, true, nil},
	} {
		_, err := counters(c.log, "counter", 9).Do(t.Context(), "a", add{N: 1}, meta("second"))
		if err == nil || errors.Is(err, es.ErrTrouble) != c.trouble || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
