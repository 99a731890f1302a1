package rest

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// changingKeys are keys that may be dropped.
type changingKeys struct {
	mu sync.Mutex
	testKeys
}

func (k *changingKeys) Find(secret string) (Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.testKeys.Find(secret)
}

func (k *changingKeys) Origins() []string { return nil }

func (k *changingKeys) drop(secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.testKeys, secret)
}

// What runs with a key ends with it, and nothing else does.
func TestADroppedKeyEndsWhatRunsWithIt(t *testing.T) {
	t.Parallel()
	keys := &changingKeys{testKeys: testKeys{
		"alice": {ID: "k-alice", Identity: alice, Role: identity.RoleManager}, "alice2": {ID: "k-alice2", Identity: alice, Role: identity.RoleManager},
	}}
	w := newWorld(t, func(d *Deps) { d.Keys = keys })
	ended := make(chan string, 4)
	ask := func(name, path, key string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			for b := make([]byte, 1024); err == nil; {
				_, err = resp.Body.Read(b)
			}
			_ = resp.Body.Close()
		}
		ended <- name
	}
	go ask("poll", "/market-api/v1/agreementEvents?timeout=600", "alice")
	go ask("stream", "/activity-api/v1/_monitor", "alice")
	go ask("other", "/activity-api/v1/_monitor", "alice2")
	time.Sleep(3 * keyLooks) // several looks find the keys
	select {
	case name := <-ended:
		t.Fatalf("%s ended although its key is there", name)
	default:
	}
	keys.drop("alice")
	within, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 {
		select {
		case name := <-ended:
			if name == "other" {
				t.Error("another key's stream ended")
			}
		case <-within.Done():
			t.Fatal("something goes on with a key that there is not")
		}
	}
}

// A look that fails once ends nothing, and nothing is watched that does not run.
func TestAMissedLookEndsNothing(t *testing.T) {
	t.Parallel()
	keys := &changingKeys{testKeys: testKeys{"a": {}}}
	w := newWatches(keys)
	w.every = time.Hour
	ctx, leave := w.enter(t.Context(), "a")
	x := w.by["a"]
	keys.drop("a")
	w.look("a", x)
	if ctx.Err() != nil {
		t.Error("one look that missed the key ended what runs")
	}
	keys.testKeys["a"] = Key{}
	w.look("a", x)
	keys.drop("a")
	w.look("a", x)
	if ctx.Err() != nil {
		t.Error("two looks that missed the key were not in a row")
	}
	w.look("a", x)
	<-ctx.Done()
	leave()
	if len(w.by) != 0 {
		t.Errorf("%d keys are watched", len(w.by))
	}
}
