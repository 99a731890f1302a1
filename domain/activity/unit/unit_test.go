package unit_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emet-node/emet/domain/activity/unit"
)

func TestEveryEventSurvivesTheJournal(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for i, b := range []unit.Body{
		unit.StateChanged{State: "Ready", Pending: "Ready", Reason: "r", Error: "e"},
		unit.BatchAccepted{Batch: "b", Commands: 2, Script: `[{"run":{"entry_point":"<x>"}}]`},
		unit.CommandStarted{Batch: "b", Index: 1, Command: `{"sign":{}}`, Replay: &unit.Replay{Args: []string{"a"}, Clock: "wall"}},
		unit.CommandOutput{Batch: "b", Bytes: []byte{0, 255}, Stream: unit.Stderr, Offset: 9},
		unit.TransferFinished{Batch: "b", Bytes: 3, From: "f", To: "t", SHA3: "00"},
		unit.CommandFinished{Batch: "b", Code: 7, Message: "m", Fuel: 5, Signal: "killed", Rusage: unit.Rusage{UserUS: 1}},
		unit.BatchClosed{Batch: "b", Outcome: unit.Failed},
		unit.Sampled{Vector: "[1.5,0]", DownloadSec: "0.1", RunSec: "1"},
		unit.Progress{Batch: "b", Done: 1, Total: -1},
		unit.LimitExceeded{Limit: "fuel", Value: "10"},
		unit.VolumeMapped{Path: "/in", Dir: "vol-1"},
		unit.Exited{Reason: "destroyed", Code: 0},
	} {
		in := unit.Event{Seq: int64(i), At: at, Body: b}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out unit.Event
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, out); d != "" {
			t.Errorf("%T changed: %s", b, d)
		}
	}
}

func TestAnEventOfUnknownKindIsNotGuessed(t *testing.T) {
	t.Parallel()
	var e unit.Event
	if err := json.Unmarshal([]byte(`{"seq":1,"kind":"surprise","body":{}}`), &e); err == nil {
		t.Fatal("read an event of unknown kind")
	}
}
