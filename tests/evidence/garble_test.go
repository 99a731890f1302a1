package evidence

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/es"
)

// lenient reads what it can: an owner may write anything into a log.
type lenient struct{ es.Codec }

// Decode implements es.Codec.
func (l lenient) Decode(typ string, data []byte) (any, error) {
	fact, err := l.Codec.Decode(typ, data)
	if err != nil {
		return nil, es.ErrUnknownType
	}
	return fact, nil
}

// garbled changes one field of a fact into something that it never is.
func garbled(r *rand.Rand, data []byte) []byte {
	var fact map[string]any
	if json.Unmarshal(data, &fact) != nil || len(fact) == 0 {
		return data
	}
	name := slices.Sorted(maps.Keys(fact))[r.IntN(len(fact))]
	switch text, _ := fact[name].(string); r.IntN(9) {
	case 0:
		delete(fact, name)
	case 1:
		fact[name] = nil
	case 2:
		fact[name] = ""
	case 3:
		fact[name] = r.IntN(5) - 2
	case 4:
		fact[name] = []any{text}
	case 5:
		fact[name] = text + "0"
	case 6:
		fact[name] = "-" + text
	case 7:
		fact[name] = []string{"1e600", "0x1", ".5", "NaN", "1e-40", "00000000-0000-0000-0000-000000000000", "\xff", "2026-01-01T00:00:00Z"}[r.IntN(8)]
	case 8:
		fact[name] = map[string]any{"id": text, "prev": 1}
	}
	out, err := json.Marshal(fact)
	if err != nil {
		panic(err)
	}
	return out
}

// Whatever the owner of a log writes into it and signs, both verifiers come to
// an end, and to the same answers.
func TestBothVerifiersSayTheSameOfNonsense(t *testing.T) {
	t.Parallel()
	n := uint64(600)
	if testing.Short() {
		n = 150
	}
	verdicts := map[dossier.Verdict]int{}
	for seed := range n {
		r := rand.New(rand.NewPCG(seed, 11))
		lies := cheats{garble: func(data []byte) []byte {
			if r.IntN(12) > 0 {
				return data
			}
			return garbled(r, data)
		}}
		func() {
			defer func() { recover() }() //nolint:errcheck // a log without its first facts makes no dossier
			w := newWorld(seed, smallest, lies)
			built := w.build()
			verdicts[w.opinion(t, fmt.Sprintf("seed %d", seed), encode(t, built.Dossier)).Verdict()]++
		}()
	}
	t.Logf("%v", verdicts)
	if sum := verdicts[dossier.Proved] + verdicts[dossier.Disproved] + verdicts[dossier.Missing]; sum < int(n)/2 { //nolint:gosec // small
		t.Errorf("only %d of %d could be asked", sum, n)
	}
}
