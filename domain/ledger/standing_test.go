package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/ledger"
)

func TestALogIsFrozenUntilItsOperatorSaysSo(t *testing.T) {
	t.Parallel()
	var s ledger.Standing
	cosigned := ledger.Frozen{Kind: ledger.Cosigned, Node: "0xb", Note: "n", Signed: 9, Size: 5}
	spent := ledger.Frozen{Kind: ledger.Spent, Address: "0xa", ChainID: 7, Expected: 1, Seen: 3}
	for _, fact := range []any{ledger.Opened{LogID: "one"}, ledger.KeyAttested{}, ledger.Recovered{}, ledger.Beacon{}} {
		s = s.Evolve(fact)
	}
	if s.Err() != nil || s.LogID != "one" {
		t.Fatalf("%+v", s)
	}
	s = s.Evolve(cosigned)
	if s.New(cosigned) || !s.New(spent) {
		t.Error("what is known is new, or what is new is known")
	}
	s = s.Evolve(spent)
	err := s.Err()
	if !errors.Is(err, ledger.ErrHeld) {
		t.Fatal(err)
	}
	for _, piece := range []string{"0xb cosigned 9 events", "only 5 were here", "chain 7", "below 1", "put back the newest copy", "emet store reconcile"} {
		if !strings.Contains(err.Error(), piece) {
			t.Errorf("it does not say %q: %v", piece, err)
		}
	}
	s = s.Evolve(ledger.Reconciled{Reason: "lost"}).Evolve(ledger.Opened{LogID: "two", Epoch: 1, Predecessor: &ledger.Predecessor{LogID: "one"}})
	if s.Err() != nil || s.LogID != "two" || s.Epoch != 1 || s.Before.LogID != "one" || !s.New(cosigned) {
		t.Errorf("%+v", s)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	var s ledger.Standing
	n := 0
	for ; s.New(ledger.Frozen{Kind: ledger.Cosigned, Note: strings.Repeat("x", n+1)}); n++ {
		s = s.Evolve(ledger.Frozen{Kind: ledger.Cosigned, Note: strings.Repeat("x", n+1)})
	}
	if n != 16 {
		t.Errorf("%d findings are kept", n)
	}
}
