package esdb

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheFileOfGroups(t *testing.T) {
	t.Parallel()
	const golden = "testdata/groups.golden.json"
	path := filepath.Join(t.TempDir(), "groups.json")
	s, err := openGroups(path, memory.New(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []kept{
		{
			Stream: "agreement-R-1", Group: "bookkeeper", From: 2, StartFrom: "2", Next: 40, Parked: []es.Position{12, 17},
			Settings: settings{MaxRetries: 10, MinCheckpoint: 10, MaxCheckpoint: 1000, LiveBuffer: 500, ReadBatch: 20, HistoryBuffer: 500, TimeoutMS: 30_000, CheckpointMS: 2_000, Strategy: "RoundRobin"},
		},
		{Stream: allStream, Group: "alarm", StartFrom: "C:0/P:0", Filter: &keptFilter{OnType: true, Prefix: []string{"bill."}}, Settings: settings{MaxSubscribers: 1, Strategy: "Pinned"}},
	} {
		g, err := newGroup(s, k)
		if err != nil {
			t.Fatal(err)
		}
		s.byName[g.name()] = g
	}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(got) != string(want) {
		t.Errorf("wrote\n%s\nwant\n%s (%v)", got, want, err)
	}
	again, err := openGroups(golden, memory.New(), slog.New(slog.DiscardHandler))
	if err != nil || len(again.list("")) != 2 || again.list("")[1].Next != 40 {
		t.Errorf("read back %v, %v", again, err)
	}
}

func TestADamagedFileOfGroupsIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "groups.json")
	for _, text := range []string{"{", `{"format":2}`, `{"format":1,"groups":[{"stream":"$all","group":"g","filter":{"onType":true,"regex":"("}}]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Store: memory.New(), Groups: path}); err == nil || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), "filter") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
