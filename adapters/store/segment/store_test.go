package segment_test

import (
	"io"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/storetest"
	"github.com/emet-node/emet/domain/es"
)

var small = segment.Options{SegmentBytes: 16 << 10, Idle: time.Millisecond}

// dirs remembers where a store lies, since the port does not tell.
type opened struct {
	*segment.Store
	dir     string
	options segment.Options
}

func open(t testing.TB, dir string, o segment.Options) opened {
	t.Helper()
	s, err := segment.Open(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return opened{s, dir, o}
}

func reopen(t testing.TB, old es.Store) es.Store {
	t.Helper()
	o := old.(opened)
	if err := old.(io.Closer).Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, o.dir, o.options)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]segment.Options{"default": {}, "small segments": small, "handed over": {SegmentBytes: 32 << 10, HandOver: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) es.Store { return open(t, t.TempDir(), o) }, storetest.Reopening(reopen))
		})
	}
}
