package market_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/market"
)

// A reason is never ground to refuse: whatever a peer sent is an object with a
// message, of bounded size, and taken as it is the next time.
func FuzzForeignReason(f *testing.F) {
	for _, s := range []string{"", "null", `{"message":"no"}`, `{"message":1}`, "no \xff", strings.Repeat("long ", 10_000), `{"message":"` + strings.Repeat("x", 70_000) + `"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := market.ForeignReason(text)
		var r struct {
			Message *string `json:"message"`
		}
		if err := json.Unmarshal([]byte(got), &r); err != nil || r.Message == nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		if len(got) > market.MaxReasonBytes {
			t.Errorf("%d bytes", len(got))
		}
		if again, err := market.ParseReason([]byte(got)); err != nil || again != got {
			t.Errorf("%q is then read as %q, %v", got, again, err)
		}
	})
}
