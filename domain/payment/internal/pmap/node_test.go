package pmap

import "testing"

// Keys whose hashes are the same, or differ late, are told apart.
func TestKeysOfOneRank(t *testing.T) {
	t.Parallel()
	for _, ranks := range [][3]uint64{{7, 7, 7}, {7, 7, 8}, {0x7000000000000000, 0x7000000000000001, 0x7000000000000001}, {1 << 63, 0, 1 << 63}} {
		var n *node[int]
		for i, key := range []string{"a", "b", "c"} {
			n = n.with(&entry[int]{rank: ranks[i], key: key, val: i}, last)
		}
		old := n
		n = n.with(&entry[int]{rank: ranks[1], key: "b", val: 10}, last)
		for root, b := range map[*node[int]]int{old: 1, n: 10} {
			got := make(map[string]int)
			root.walk(func(key string, v int) bool {
				got[key] = v
				return true
			})
			if len(got) != 3 || got["a"] != 0 || got["b"] != b || got["c"] != 2 {
				t.Fatalf("ranks %x: %v", ranks, got)
			}
		}
	}
}
