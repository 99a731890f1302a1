package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/blobs"
	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
)

// Ledger is a node's log with its secrets and views: all that reading needs.
type Ledger struct {
	Log     *es.Log
	Store   Engine
	Secrets *secrets.Store
	Blobs   *blobs.Store
	News    *bus.State // how far others were told; nil when open for reading

	Market   *projections.Market
	Activity *projections.Activity
	Payment  *projections.Payment
	Node     *projections.Node
}

// OpenLedger opens the log of a data directory for writing. It fails with
// es.ErrLocked when another process has it, and with [ErrInterrupted] where a
// log is to come back first.
func OpenLedger(ctx context.Context, o Options) (l *Ledger, err error) {
	if err := interrupted(o.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	opened := &Ledger{}
	l = opened
	defer func() {
		if err != nil { // l is nil then
			err = errors.Join(err, opened.Close())
		}
	}()
	if l.Store, err = openStore(ctx, o); err != nil {
		return nil, fmt.Errorf("log in %s: %w", o.Dir, err)
	}
	if l.Secrets, err = secrets.Open(filepath.Join(o.Dir, "secrets")); err != nil {
		return nil, err
	}
	if l.Blobs, err = blobs.Open(filepath.Join(o.Dir, "store", "blobs")); err != nil {
		return nil, err
	}
	if l.News, err = bus.OpenState(newsFile(o.Dir)); err != nil {
		return nil, err
	}
	l.Log = &es.Log{Store: l.Store, Codec: eventschemas.New(), Sealer: l.Secrets.Vault, Build: o.Version}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	if err := l.adopt(ctx, o.Logger); err != nil {
		return nil, err
	}
	return l, l.openViews(ctx, filepath.Join(o.Dir, "views"))
}

// begin writes the first fact of a log: which log it is.
func (l *Ledger) begin(ctx context.Context) error {
	head, err := l.Store.Head(ctx)
	if err != nil || head > 0 {
		return err
	}
	id := l.Store.LogID()
	_, err = l.Log.Append(ctx, es.Meta{Key: "log/opened", Actor: es.ActorOperator, Grade: es.GradeSelf}, nil, es.Facts{
		Stream: ledger.LogStream, Expected: es.NoStream,
		Facts: []any{ledger.Opened{Engine: l.Store.Caps().Name, Epoch: 0, LogID: hex.EncodeToString(id[:])}},
	})
	return err
}

// adopt tells the state of webhooks which log this is: it may have been restored,
// and then has less than was told of the one before.
func (l *Ledger) adopt(ctx context.Context, logger *slog.Logger) error {
	var line ledger.Lineage
	for r, err := range l.Log.ReadStream(ctx, ledger.LogStream, 0) {
		if err != nil {
			return err
		}
		line = line.Evolve(r.Data)
	}
	head, err := l.Store.Head(ctx)
	if err != nil || line.ID == "" {
		return err
	}
	moved, err := l.News.Adopt(ctx, line.ID, line.Shared, head)
	if moved > 0 && logger != nil {
		logger.Warn("this log has less than webhooks were told of another one; they are told what it has instead", "log", line.ID, "webhooks", moved)
	}
	return err
}

func (l *Ledger) openViews(ctx context.Context, dir string) (err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if l.Market, err = projections.OpenMarket(ctx, dir, l.Log); err != nil {
		return err
	}
	if l.Activity, err = projections.OpenActivity(ctx, dir, l.Log); err != nil {
		return err
	}
	if l.Payment, err = projections.OpenPayment(ctx, dir, l.Log); err != nil {
		return err
	}
	l.Node, err = projections.OpenNode(ctx, dir, l.Log)
	return err
}

// Views are the four groups of views, to be run.
func (l *Ledger) Views() []*projections.DB {
	return []*projections.DB{l.Market.DB, l.Activity.DB, l.Payment.DB, l.Node.DB}
}

// Close closes what was opened.
func (l *Ledger) Close() error {
	var errs []error
	if l.Market != nil {
		errs = append(errs, l.Market.Close())
	}
	if l.Activity != nil {
		errs = append(errs, l.Activity.Close())
	}
	if l.Payment != nil {
		errs = append(errs, l.Payment.Close())
	}
	if l.Node != nil {
		errs = append(errs, l.Node.Close())
	}
	if l.News != nil {
		errs = append(errs, l.News.Close())
	}
	if l.Store != nil {
		errs = append(errs, l.Store.Close())
	}
	if l.Secrets != nil {
		errs = append(errs, l.Secrets.Close())
	}
	return errors.Join(errs...)
}

// randomHex makes n random bytes as text.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// followed keeps a view at the end of its log. One that stops, because the disk
// is full for instance, tells so whoever asks it, and goes on when it can again.
func (n *Node) followed(ctx context.Context, v *projections.DB) {
	wait, at := time.Second, v.Position()
	for {
		err := v.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if now := v.Position(); now > at {
			wait, at = time.Second, now
		}
		n.log.Error("a view stopped and is tried again", "in", wait, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Minute)
	}
}
