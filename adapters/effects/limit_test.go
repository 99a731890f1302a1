package effects_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
)

func TestAPaceIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &effects.Pace{Rate: 1, Burst: 3, Keys: 100}
		for i := range 3 {
			if wait := p.Take("a", 1); wait != 0 {
				t.Fatalf("%d: wait %v", i, wait)
			}
		}
		if wait := p.Take("a", 1); wait != time.Second {
			t.Errorf("wait %v, want a second", wait)
		}
		if wait := p.Take("b", 3); wait != 0 {
			t.Errorf("another has to wait %v", wait)
		}
		time.Sleep(2 * time.Second)
		if a, b := p.Take("a", 2), p.Take("a", 1); a != 0 || b == 0 {
			t.Errorf("after two seconds: %v %v", a, b)
		}
		p.Forgive("a")
		if wait := p.Take("a", 3); wait != 0 {
			t.Errorf("forgiven, and %v", wait)
		}
		if wait := p.Take("c", 4); wait <= 0 {
			t.Error("more than can ever be there was given")
		}
		for i := range 10_000 {
			p.Take(fmt.Sprint(i), 3)
		}
		if wait := (&effects.Pace{}).Take("a", 1); wait <= 0 {
			t.Error("no pace allows something")
		}
	})
}
