package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/emet-node/emet/domain/ledger"
)

// testLedger has the tiles of a log of 300 events at level 0.
type testLedger struct{ note string }

func (l *testLedger) Checkpoint(context.Context) (ledger.Checkpoint, error) {
	if l.note == "" {
		return ledger.Checkpoint{}, ledger.ErrUnsigned
	}
	return ledger.Checkpoint{Note: []byte(l.note)}, nil
}

func (l *testLedger) Tile(_ context.Context, level int, index uint64, width int) ([]byte, error) {
	if level == 0 && index == 0 || level == 0 && index == 1 && width <= 44 || level == 1 && index == 1234067 {
		return bytes.Repeat([]byte{byte(index)}, 32*width), nil
	}
	return nil, fmt.Errorf("%w: that tile", ledger.ErrRange)
}

func TestCheckpointAndTilesAreServed(t *testing.T) {
	t.Parallel()
	l := &testLedger{}
	srv := httptest.NewServer(New(Config{}, Deps{Keys: someKeys, Log: newLog(t), Ledger: l}))
	t.Cleanup(srv.Close)
	const at = "/emet-api/v1/log"
	if got := ask(t, srv.URL, "GET", at+"/checkpoint", "", asAlice); got.status != 404 {
		t.Errorf("unsigned: %d %s", got.status, got.body)
	}
	l.note = "emet/x\n1\nroot\n\n— emet/x sig\n"
	if got := ask(t, srv.URL, "GET", at+"/checkpoint", "", asAlice); got.status != 200 || got.body != l.note {
		t.Errorf("%d %q", got.status, got.body)
	}
	for path, size := range map[string]int{
		"0/000": 256, "0/000.p/7": 7, "0/001.p/44": 44, "1/x001/x234/067": 256, "1/x001/x234/067.p/255": 255,
	} {
		if got := ask(t, srv.URL, "GET", at+"/tile/"+path, "", asAlice); got.status != 200 || len(got.body) != 32*size {
			t.Errorf("%s: %d, %d bytes", path, got.status, len(got.body))
		}
	}
	for _, path := range []string{
		"0/001", "0/001.p/45", "0/0", "00/000", "0/000.p/0", "0/000.p/256", "0/000.p/07", "0/x000/000", "0/000/000", "0/x000", "entries/000", "-1/000", "0/", "0/000.p/", "0/+00",
	} {
		if got := ask(t, srv.URL, "GET", at+"/tile/"+path, "", asAlice); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	for _, path := range []string{at + "/checkpoint", at + "/tile/0/000"} {
		if got := ask(t, srv.URL, "GET", path, ""); got.status != 401 {
			t.Errorf("%s without a key: %d", path, got.status)
		}
	}
}
