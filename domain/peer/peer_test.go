package peer_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/peer"
)

// Each refusal as it is on the wire, by nodes of now and of before, and what
// it means for who was refused.
func TestWhatARefusalMeans(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]struct{ passing, mayPass bool }{
		`{"code":"busy","text":"later"}`:                                {true, true},
		`{"code":"busy","retryAfter":2000000000,"text":"later"}`:        {true, true},
		`{"code":"internal","retryAfter":1000000000,"text":"its disk"}`: {true, true},
		`{"code":"internal","text":"of an old node"}`:                   {false, true},
		`{"code":"failed","text":"the exe-unit did not start"}`:         {false, false},
		`{"code":"invalid-state","state":"Terminated","text":"over"}`:   {false, false},
		`{"code":"of-a-later-version","text":"no"}`:                     {false, false},
	} {
		var r peer.Refusal
		if err := json.Unmarshal([]byte(wire), &r); err != nil {
			t.Fatal(err)
		}
		if r.Passing() != want.passing || r.MayPass() != want.mayPass {
			t.Errorf("%s: passing %t, may pass %t", wire, r.Passing(), r.MayPass())
		}
		if got, err := es.CanonicalJSON(r); err != nil || string(got) != wire {
			t.Errorf("%s is written as %s, %v", wire, got, err)
		}
	}
}

func TestTroublePasses(t *testing.T) {
	t.Parallel()
	var r *peer.Refusal
	if err := peer.Trouble("disk %d", 1); !errors.As(err, &r) || !r.Passing() || r.RetryAfter != time.Second || r.Text != "disk 1" {
		t.Errorf("%+v", r)
	}
}
