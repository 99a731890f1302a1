package pmap_test

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/payment/internal/pmap"
)

func TestItIsAMapThatNeverChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type step struct {
			m    pmap.Map[int]
			want map[string]int
		}
		steps := []step{{want: map[string]int{}}}
		for i, k := range rapid.SliceOf(rapid.StringMatching(`[a-z]{0,2}`)).Draw(t, "keys") {
			last := steps[len(steps)-1]
			want := maps.Clone(last.want)
			want[k] = i
			steps = append(steps, step{last.m.Set(k, i), want})
		}
		for _, s := range steps { // the old ones too
			if got := maps.Collect(s.m.All()); !maps.Equal(got, s.want) || s.m.Len() != len(s.want) {
				t.Fatalf("got %v, want %v", got, s.want)
			}
			for k, v := range s.want {
				if got, ok := s.m.Get(k); !ok || got != v {
					t.Fatalf("%q is %d, %v", k, got, ok)
				}
			}
			if _, ok := s.m.Get("absent"); ok {
				t.Fatal("found what was never set")
			}
		}
	})
}
