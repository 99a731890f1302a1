package node

import (
	"slices"
	"testing"

	"github.com/emet-node/emet/eventschemas"
)

func TestObligationsAreTypesThatExist(t *testing.T) {
	t.Parallel()
	names := eventschemas.New().Names()
	for _, typ := range obligations {
		if !slices.Contains(names, typ) {
			t.Errorf("%s is no type of event", typ)
		}
	}
	if opensObligations("bill.invoice_accepted.v1") {
		t.Error("what closes an obligation must go on")
	}
}
