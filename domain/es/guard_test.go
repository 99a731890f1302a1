package es_test

import (
	"context"
	"errors"
	"testing"
)

// A guard refuses before anything is written, and is not asked about what was
// carried out already.
func TestAGuardRefuses(t *testing.T) {
	t.Parallel()
	l := newLog()
	a := counters(l, "counter", 100)
	ok := func(key string) error {
		_, err := a.Do(t.Context(), "1", add{N: 1}, meta(key))
		return err
	}
	if err := ok("first"); err != nil {
		t.Fatal(err)
	}
	closed := errors.New("closed")
	a.Guard = func(context.Context, add) error { return closed }
	if err := ok("second"); !errors.Is(err, closed) {
		t.Errorf("%v", err)
	}
	if err := ok("first"); err != nil {
		t.Errorf("a repeated command: %v", err)
	}
	if head, _ := l.Store.Head(t.Context()); head != 1 {
		t.Errorf("%d facts", head)
	}
}
