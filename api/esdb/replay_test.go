package esdb_test

import (
	"errors"
	"io"
	"math"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// BenchmarkReplay is one event per iteration, read by the official client.
func BenchmarkReplay(b *testing.B) {
	s := memory.New()
	for at := 0; at < b.N; at += 1000 {
		w := es.Write{Stream: es.Stream("bench-" + string(rune('a'+at/1000))), Expected: es.Any, Events: make([]es.NewEvent, min(1000, b.N-at))}
		for i := range w.Events {
			w.Events[i] = es.NewEvent{ID: es.EventID(w.Stream, "b", at+i), Type: "bench.done.v1", Data: make([]byte, 300), Meta: make([]byte, 100)}
		}
		if _, err := s.Append(b.Context(), nil, w); err != nil {
			b.Fatal(err)
		}
	}
	db := connect(b, plain(door(b, esdb.Options{Store: s})))
	b.ResetTimer()
	in, err := db.ReadAll(b.Context(), client.ReadAllOptions{From: client.Start{}}, math.MaxUint64)
	for n := 0; err == nil; n++ {
		if _, err = in.Recv(); errors.Is(err, io.EOF) && n == b.N {
			return
		}
	}
	b.Fatal(err)
}
