package pmap_test

import (
	"iter"
	"maps"
	"slices"
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
			next := last.m.Set(k, i)
			switch i % 3 {
			case 1:
				next = last.m.Change(k, func(v *int) {
					if *v != last.want[k] {
						t.Fatalf("%q was %d, want %d", k, *v, last.want[k])
					}
					*v = i
				})
			case 2:
				next = last.m.Update(k, func(v *int) { *v = i })
				if _, ok := last.want[k]; !ok {
					delete(want, k)
				}
			}
			steps = append(steps, step{next, want})
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

// The order does not depend on when keys came, and stays when a map grows.
func TestTheOrderIsThatOfTheKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f0-9]{1,8}`), 1, 100, rapid.ID[string]).Draw(t, "keys")
		var m, other pmap.Map[string]
		for _, k := range keys {
			before := slices.Collect(names(m))
			m = m.Set(k, k)
			after := slices.DeleteFunc(slices.Collect(names(m)), func(x string) bool { return x == k })
			if !slices.Equal(before, after) {
				t.Fatalf("%q moves %q to %q", k, before, after)
			}
		}
		for _, k := range rapid.Permutation(keys).Draw(t, "permutation") {
			other = other.Set(k, k)
		}
		if a, b := slices.Collect(names(m)), slices.Collect(names(other)); !slices.Equal(a, b) {
			t.Fatalf("%q, put in otherwise %q", a, b)
		}
	})
}

func names(m pmap.Map[string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m.All() {
			if !yield(k) {
				return
			}
		}
	}
}
