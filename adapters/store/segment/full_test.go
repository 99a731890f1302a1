package segment_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

func payment(i int) es.Write {
	return es.Write{Stream: "bill-1", Expected: es.Any, Events: []es.NewEvent{
		{ID: es.EventID("bill-1", "pay", i), Type: "bill.paid.v1", Data: make([]byte, 700)},
	}}
}

func order(i int) es.Write {
	return es.Write{Stream: "job-1", Expected: es.Any, Events: []es.NewEvent{
		{ID: es.EventID("job-1", "order", i), Type: "open.ordered.v1", Data: make([]byte, 700)},
	}}
}

// TestAFullDisk fills a disk: what opens obligations is refused before there is
// no room left, what closes them goes on into the space that was put by, nothing
// acknowledged is lost, and when there is space again everything goes on, even if
// all that is asked for is what was refused.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	const size = 16 << 10
	disk := vfs.NewQuota(vfs.NewCrash(4096), 6*size)
	o := segment.Options{SegmentBytes: size, FS: disk, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Opens: func(typ string) bool { return strings.HasPrefix(typ, "open.") }}
	s, err := segment.Open("/store", o)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	i, refused := 0, 0
	for ; !s.Tight(); i++ {
		if !l.append(s, payment(i)) {
			t.Fatalf("payment %d was refused while there was room: %v", i, s.Failed())
		}
		if i > 1000 {
			t.Fatal("the disk does not become full")
		}
	}
	before := i
	for {
		if _, err := s.Append(t.Context(), nil, order(i)); !errors.Is(err, es.ErrDegraded) {
			t.Fatalf("order on a full disk: %v", err)
		}
		refused++
		r, err := s.Append(t.Context(), nil, payment(i))
		if err != nil {
			if !errors.Is(err, es.ErrDegraded) || errors.Is(err, es.ErrCommitUnknown) {
				t.Fatalf("payment %d: %v", i, err)
			}
			break
		}
		l.acked[payment(i).Events[0].ID] = r.First
		i++
	}
	if room := i - before; room < (size-4096)/1300 {
		t.Errorf("only %d payments fitted after the disk was full", room)
	}
	if s.Failed() != nil {
		t.Fatalf("a full disk is no broken one: %v", s.Failed())
	}
	l.check(t, s)

	disk.Free(20 * size)
	deadline := time.Now().Add(2 * time.Minute)
	for n := 0; ; n++ {
		if _, err = s.Append(t.Context(), nil, order(100+n)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is space again: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = segment.Open("/store", o); err != nil {
		t.Fatal(err)
	}
	l.check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := segment.VerifyFS(disk, "/store"); err != nil || len(report.Damage) > 0 {
		t.Fatal(report, err)
	}
}

// TestAStartOnAFullDisk opens stores of all lengths with no byte to spare.
func TestAStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		disk := vfs.NewQuota(vfs.NewCrash(4096), 1<<20)
		o := segment.Options{SegmentBytes: 8 << 10, FS: disk}
		s, err := segment.Open("/store", o)
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger()
		for i := range n {
			if !l.append(s, payment(i)) {
				t.Fatal("refused")
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		disk.Free(-1 << 30)
		if s, err = segment.Open("/store", o); err != nil {
			t.Fatalf("%d events: %v", n, err)
		}
		l.check(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(fmt.Errorf("%d events: %w", n, err))
		}
	}
}
