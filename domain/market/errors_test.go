package market_test

import (
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

// A refusal that says nothing is no success, and one that says too much fits
// into a fact.
func TestAPeersNoIsAFailure(t *testing.T) {
	t.Parallel()
	if !market.FailureOf(&peer.Refusal{}).Failed() {
		t.Error("a refusal without a word counts as a success")
	}
	long := strings.Repeat("x", 300<<10)
	b, err := es.CanonicalJSON(market.FailureOf(&peer.Refusal{Code: peer.Code(long), State: long, Text: long}))
	if err != nil || len(b) > 4<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
