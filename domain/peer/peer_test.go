package peer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/peer"
)

// What another node calls a refusal is one, however it is spelled, and takes
// little room.
func TestARefusalIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100_000)
	for _, r := range []peer.Refusal{{}, {Code: peer.Code(long), State: long, Text: long, RetryAfter: -time.Hour}} {
		got := r.Bounded()
		if got.Code != peer.Internal || got.State != "" || len(got.Text) > peer.MaxRefusalText || got.RetryAfter != 0 || !strings.HasPrefix(long, got.Text) {
			t.Errorf("%.200v", got)
		}
	}
	if r := (peer.Refusal{Code: peer.Busy, State: "Approved", Text: "no", RetryAfter: time.Second}); *r.Bounded() != r {
		t.Errorf("an honest one is changed: %v", r.Bounded())
	}
}
