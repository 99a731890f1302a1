package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

const (
	replayEvents = 200_000
	replayRounds = 3
)

// benchESDB measures how fast the official Go client of EventStoreDB replays a
// log of events of 400 B through the gRPC door. Server and client share this
// process and its processors.
func benchESDB(ctx context.Context, b *bench) error {
	s, err := segment.Open(filepath.Join(b.dir, "esdb"), segment.Options{})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // thrown away
	if err := fillLog(ctx, s, replayEvents); err != nil {
		return err
	}
	server, err := esdb.New(esdb.Options{Store: s, Open: true})
	if err != nil {
		return err
	}
	l, err := esdb.Listen("127.0.0.1:0", false)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, l) }()
	var rates []float64
	for range replayRounds {
		var rate float64
		if rate, err = readThrough(ctx, "esdb://"+l.Addr().String()+"?tls=false"); err != nil {
			break
		}
		rates = append(rates, rate)
	}
	stop()
	if err := errors.Join(err, <-served); err != nil {
		return err
	}
	slices.Sort(rates)
	b.say("esdb/replay_per_s", rates[len(rates)/2], "ev/s")
	return nil
}

// fillLog appends n events in large batches.
func fillLog(ctx context.Context, s es.Store, n int) error {
	const batch = 1000
	data, meta := make([]byte, 300), []byte(fmt.Sprintf(`{"$correlationId":"%064x"}`, 1))
	for i := range data {
		data[i] = 'x'
	}
	data[0], data[len(data)-1] = '"', '"'
	for at := 0; at < n; at += batch {
		w := es.Write{Stream: es.Stream(fmt.Sprintf("agreement-R-%064x", at/batch)), Expected: es.NoStream, Events: make([]es.NewEvent, batch)}
		for i := range w.Events {
			w.Events[i] = es.NewEvent{ID: es.EventID(w.Stream, "bench", i), Type: "agreement.approval_requested.v1", Data: data, Meta: meta}
		}
		if _, err := s.Append(ctx, nil, w); err != nil {
			return err
		}
	}
	return nil
}

// readThrough reads everything and returns the events per second.
func readThrough(ctx context.Context, url string) (float64, error) {
	c, err := client.ParseConnectionString(url)
	if err != nil {
		return 0, err
	}
	c.Logger = client.NoopLogging()
	db, err := client.NewClient(c)
	if err != nil {
		return 0, err
	}
	defer db.Close() //nolint:errcheck // thrown away
	begun, n := time.Now(), 0
	in, err := db.ReadAll(ctx, client.ReadAllOptions{From: client.Start{}}, math.MaxUint64)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	for ; ; n++ {
		if _, err := in.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
	}
	if n != replayEvents {
		return 0, fmt.Errorf("replay: %d events, want %d", n, replayEvents)
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
