package projections_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
)

func TestAReaderSeesWhatTheOwnerWroteAndWaitsForIt(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	owner, err := projections.OpenNode(ctx, dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close() //nolint:errcheck // a test
	_, err = log.Append(ctx, es.Meta{Key: "k", Correlation: "story"}, nil, es.Facts{
		Stream: ledger.LogStream, Expected: es.NoStream, Facts: []any{ledger.Opened{Engine: "memory", LogID: "00"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	go owner.Run(run) //nolint:errcheck // the reader tells
	reader, err := projections.ReadNode(ctx, dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close() //nolint:errcheck // a test
	if at, err := reader.Positions(ctx, "story"); err != nil || len(at) != 1 {
		t.Fatal(at, err)
	}
}

func TestAReaderMakesNoFilesAndRefusesOtherTables(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	if _, err := projections.ReadMarket(ctx, dir, log); !errors.Is(err, projections.ErrStale) {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Fatal("a file was made")
	}
	other, err := projections.OpenNode(ctx, dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // a test
	if err := os.Rename(filepath.Join(dir, "node.db"), filepath.Join(dir, "market.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := projections.ReadMarket(ctx, dir, log); !errors.Is(err, projections.ErrStale) {
		t.Fatal(err)
	}
}
