package esdb_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// member reads for a group.
type member struct {
	t   testing.TB
	sub *client.PersistentSubscription
	in  chan *client.PersistentSubscriptionEvent
}

func join(t testing.TB, db *client.Client, stream, group string, buffer uint32) *member {
	t.Helper()
	var sub *client.PersistentSubscription
	var err error
	o := client.SubscribeToPersistentSubscriptionOptions{BufferSize: buffer}
	if stream == "$all" {
		sub, err = db.SubscribeToPersistentSubscriptionToAll(t.Context(), group, o)
	} else {
		sub, err = db.SubscribeToPersistentSubscription(t.Context(), stream, group, o)
	}
	if err != nil {
		t.Fatalf("join %s: %v", group, err)
	}
	m := &member{t: t, sub: sub, in: make(chan *client.PersistentSubscriptionEvent)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = sub.Close() })
	go func() {
		for {
			e := sub.Recv()
			select {
			case m.in <- e:
			case <-ctx.Done():
				return
			}
			if e.SubscriptionDropped != nil {
				return
			}
		}
	}()
	return m
}

func (m *member) next() *client.EventAppeared {
	m.t.Helper()
	select {
	case e := <-m.in:
		if e.SubscriptionDropped != nil {
			m.t.Fatalf("dropped: %v", e.SubscriptionDropped.Error)
		}
		return e.EventAppeared
	case <-time.After(patience):
		m.t.Fatal("nothing comes")
		return nil
	}
}

func (m *member) nothing() {
	m.t.Helper()
	select {
	case e := <-m.in:
		m.t.Errorf("got %+v", e.EventAppeared)
	case <-time.After(150 * time.Millisecond):
	}
}

func (m *member) ack(e *client.EventAppeared) {
	m.t.Helper()
	if err := m.sub.Ack(e.Event); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) nack(a client.NackAction, e *client.EventAppeared) {
	m.t.Helper()
	if err := m.sub.Nack("because", a, e.Event); err != nil {
		m.t.Fatal(err)
	}
}

func name(e *client.EventAppeared) string { return string(e.Event.OriginalEvent().Data) }

func named(n string) string { return fmt.Sprintf(`{"name":%q}`, n) }

func numbered(t *testing.T, n int) *memory.Store {
	s := memory.New()
	for i := range n {
		add(t, s, "job-1", "job.v1", fmt.Sprint(i))
		add(t, s, "noise-1", "noise.v1", fmt.Sprint(i))
	}
	return s
}

func settings(change func(*client.PersistentSubscriptionSettings)) *client.PersistentSubscriptionSettings {
	s := client.SubscriptionSettingsDefault()
	if change != nil {
		change(&s)
	}
	return &s
}

func onStream(t *testing.T, db *client.Client, group string, change func(*client.PersistentSubscriptionSettings)) {
	t.Helper()
	o := client.PersistentStreamSubscriptionOptions{Settings: settings(change), StartFrom: client.Start{}}
	if err := db.CreatePersistentSubscription(t.Context(), "job-1", group, o); err != nil {
		t.Fatalf("create %s: %v", group, err)
	}
}

// awaitInfo waits until a group stands as it should.
func awaitInfo(t *testing.T, db *client.Client, group string, ok func(*client.PersistentSubscriptionInfo) bool) {
	t.Helper()
	var info *client.PersistentSubscriptionInfo
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(5 * time.Millisecond) {
		var err error
		if info, err = db.GetPersistentSubscriptionInfo(t.Context(), "job-1", group, client.GetPersistentSubscriptionOptions{}); err != nil {
			t.Fatal(err)
		}
		if ok(info) {
			return
		}
	}
	t.Fatalf("%s: %+v", group, info.Stats)
}

func checkpointAt(r uint64) func(*client.PersistentSubscriptionInfo) bool {
	return func(i *client.PersistentSubscriptionInfo) bool {
		return i.Stats.LastCheckpointedEventRevision != nil && *i.Stats.LastCheckpointedEventRevision == r
	}
}

func TestAGroupGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s, file := numbered(t, 6), filepath.Join(t.TempDir(), "views", "groups.json")
	t.Run("first", func(t *testing.T) {
		db := connect(t, plain(door(t, esdb.Options{Store: s, Groups: file})))
		onStream(t, db, "g", nil)
		m := join(t, db, "job-1", "g", 10)
		events := make([]*client.EventAppeared, 6)
		for i := range events {
			events[i] = m.next()
			if name(events[i]) != named(fmt.Sprint(i)) || events[i].RetryCount != 0 {
				t.Errorf("event %d: %s", i, name(events[i]))
			}
		}
		m.ack(events[0])
		m.ack(events[2]) // beyond the hole, so it comes again
		m.ack(events[1])
		m.nack(client.NackActionPark, events[3])
		awaitInfo(t, db, "g", checkpointAt(3))
	})
	t.Run("after a restart", func(t *testing.T) {
		db := connect(t, plain(door(t, esdb.Options{Store: s, Groups: file})))
		m := join(t, db, "job-1", "g", 10)
		for _, want := range []string{"4", "5"} {
			e := m.next()
			if name(e) != named(want) {
				t.Errorf("got %s, want %s", name(e), want)
			}
			m.ack(e)
		}
		m.nothing()
		add(t, s, "job-1", "job.v1", "live")
		e := m.next()
		if name(e) != named("live") {
			t.Errorf("got %s", name(e))
		}
		m.ack(e)
		awaitInfo(t, db, "g", checkpointAt(6))
		if err := db.ReplayParkedMessages(t.Context(), "job-1", "g", client.ReplayParkedMessagesOptions{}); err != nil {
			t.Fatal(err)
		}
		if e := m.next(); name(e) != named("3") {
			t.Errorf("parked: %s", name(e))
		}
	})
	if n := len(log(t, s, es.Filter{Streams: []es.Stream{"job-1", "noise-1"}})); n != len(log(t, s, es.Filter{})) {
		t.Error("the groups wrote to the log")
	}
}

func TestWhatFailsIsTriedAgainAndThenParked(t *testing.T) {
	t.Parallel()
	db := connect(t, plain(door(t, esdb.Options{Store: numbered(t, 2)})))
	onStream(t, db, "g", func(s *client.PersistentSubscriptionSettings) { s.MaxRetryCount, s.MessageTimeout = 2, 5000 })
	m := join(t, db, "job-1", "g", 1)
	for want := range 2 {
		e := m.next()
		if name(e) != named("0") || e.RetryCount != want {
			t.Errorf("%s, retry %d; want 0, %d", name(e), e.RetryCount, want)
		}
		m.nack(client.NackActionRetry, e)
	}
	if e := m.next(); e.RetryCount != 2 { // and now it runs out of time
		t.Errorf("retry %d", e.RetryCount)
	}
	e := m.next()
	if name(e) != named("1") {
		t.Fatalf("got %s", name(e))
	}
	m.nack(client.NackActionSkip, e)
	awaitInfo(t, db, "g", func(i *client.PersistentSubscriptionInfo) bool {
		return i.Stats.ParkedMessagesCount == 1 && checkpointAt(1)(i)
	})
}

func TestMembersShareAndInherit(t *testing.T) {
	t.Parallel()
	s := numbered(t, 8)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	onStream(t, db, "g", func(s *client.PersistentSubscriptionSettings) { s.MaxSubscriberCount = 2 })
	a, b := join(t, db, "job-1", "g", 4), join(t, db, "job-1", "g", 4)
	if _, err := db.SubscribeToPersistentSubscription(t.Context(), "job-1", "g", client.SubscribeToPersistentSubscriptionOptions{}); err == nil {
		t.Error("a third one joined")
	}
	var seen []string
	for range 4 {
		seen = append(seen, name(a.next()))
		e := b.next()
		b.ack(e)
		seen = append(seen, name(e))
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != 8 {
		t.Errorf("together they saw %v", seen)
	}
	if err := a.sub.Close(); err != nil { // without a word about its four
		t.Fatal(err)
	}
	for range 4 {
		b.ack(b.next())
	}
	awaitInfo(t, db, "g", checkpointAt(7))
	b.nothing()
}

func TestAGroupOfTheLogHasAFilter(t *testing.T) {
	t.Parallel()
	s := numbered(t, 3)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	o := client.PersistentAllSubscriptionOptions{
		StartFrom: client.Start{}, Filter: &client.SubscriptionFilter{Type: client.EventFilterType, Prefixes: []string{"noise."}},
	}
	if err := db.CreatePersistentSubscriptionToAll(t.Context(), "g", o); err != nil {
		t.Fatal(err)
	}
	m := join(t, db, "$all", "g", 10)
	for i := range 3 {
		e := m.next()
		if name(e) != named(fmt.Sprint(i)) || e.Event.OriginalEvent().StreamID != "noise-1" {
			t.Errorf("got %s of %s", name(e), e.Event.OriginalEvent().StreamID)
		}
		m.ack(e)
	}
	m.nothing()
	list, err := db.ListAllPersistentSubscriptions(t.Context(), client.ListPersistentSubscriptionsOptions{})
	if err != nil || len(list) != 1 || list[0].EventSource != "$all" || list[0].GroupName != "g" || len(list[0].Connections) != 1 {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestGroupsAreMadeChangedAndRemoved(t *testing.T) {
	t.Parallel()
	db := connect(t, plain(door(t, esdb.Options{Store: numbered(t, 2)})))
	onStream(t, db, "g", nil)
	o := client.PersistentStreamSubscriptionOptions{Settings: settings(nil), StartFrom: client.Start{}}
	if err := db.CreatePersistentSubscription(t.Context(), "job-1", "g", o); errorCode(err) != client.ErrorCodeResourceAlreadyExists {
		t.Errorf("made twice: %v", err)
	}
	m := join(t, db, "job-1", "g", 1)
	o.Settings = settings(func(s *client.PersistentSubscriptionSettings) { s.MaxRetryCount = 77 })
	if err := db.UpdatePersistentSubscription(t.Context(), "job-1", "g", o); err != nil {
		t.Fatal(err)
	}
	for dropped := false; !dropped; {
		select {
		case e := <-m.in:
			dropped = e.SubscriptionDropped != nil
		case <-time.After(patience):
			t.Fatal("the reader was not sent away")
		}
	}
	awaitInfo(t, db, "g", func(i *client.PersistentSubscriptionInfo) bool { return i.Settings.MaxRetryCount == 77 })
	if err := db.DeletePersistentSubscription(t.Context(), "job-1", "g", client.DeletePersistentSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"delete": db.DeletePersistentSubscription(t.Context(), "job-1", "g", client.DeletePersistentSubscriptionOptions{}),
		"update": db.UpdatePersistentSubscription(t.Context(), "job-1", "g", o),
	} {
		if errorCode(err) != client.ErrorCodeResourceNotFound {
			t.Errorf("%s after it was removed: %v", what, err)
		}
	}
	late := client.PersistentStreamSubscriptionOptions{Settings: settings(nil), StartFrom: client.Revision(1)}
	if err := db.CreatePersistentSubscription(t.Context(), "job-1", "late", late); err != nil {
		t.Fatal(err)
	}
	if e := join(t, db, "job-1", "late", 1).next(); name(e) != named("1") {
		t.Errorf("from revision 1: %s", name(e))
	}
}
