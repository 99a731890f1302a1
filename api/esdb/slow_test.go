package esdb_test

import (
	"context"
	"strings"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
)

// A reader that takes nothing holds up neither the others nor the end of the
// node, also when what it was given is tried again and again.
func TestAReaderThatTakesNothingHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := memory.New()
	long := strings.Repeat("x", 400<<10)
	for i := range 8 {
		add(t, s, "job-1", "job.v1", long+string(rune('a'+i)))
	}
	db := connect(t, plain(door(t, esdb.Options{Store: s, Open: true})))
	err := db.CreatePersistentSubscription(t.Context(), "job-1", "slow", client.PersistentStreamSubscriptionOptions{
		StartFrom: client.Start{}, Settings: settings(func(s *client.PersistentSubscriptionSettings) { s.MessageTimeout, s.MaxRetryCount = 60, 1000 }),
	})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := db.SubscribeToPersistentSubscription(t.Context(), "job-1", "slow", client.SubscribeToPersistentSubscriptionOptions{BufferSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close() //nolint:errcheck // a test
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := db.GetPersistentSubscriptionInfo(ctx, "job-1", "slow", client.GetPersistentSubscriptionOptions{})
		cancel()
		if err != nil {
			t.Fatalf("nobody can ask about the group any more: %v", err)
		}
	}
}
