package node

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/saga/cosign"
	"github.com/emet-node/emet/domain/saga/settlement"
	"github.com/emet-node/emet/projections/replay"
)

// ViewCheck says whether a group of views, made anew, is as it was.
type ViewCheck struct {
	Name string
	Same bool
}

// Replay makes all decisions of a log again, with the sagas and rules of this
// build. The configuration of then is taken from the log.
func Replay(ctx context.Context, log *es.Log, progress func(done, of es.Position)) (replay.Report, error) {
	settle, err := settledAs(ctx, log)
	if err != nil {
		return replay.Report{}, err
	}
	return replay.Run(ctx, replay.Config{Log: log, Processes: processes(settle), Deciders: deciders, Progress: progress})
}

// deciders are the rules of all streams over a log.
func deciders(log *es.Log) map[string]replay.Handler {
	out := make(map[string]replay.Handler)
	for category, h := range newAggregates(log).router() {
		out[category] = h
	}
	out[cosign.Category] = wishes{}
	return out
}

// wishes are orders that decide nothing: what comes of them is told by others.
type wishes struct{}

// Handle implements replay.Handler.
func (wishes) Handle(context.Context, string, any, es.Meta) error { return nil }

// settledAs finds in the log which platforms were served and how often their
// debts were settled.
func settledAs(ctx context.Context, log *es.Log) (settlement.Config, error) {
	served, every := make(map[payment.Platform]bool), make(map[payment.Platform][2]time.Duration)
	for r, err := range log.ReadAll(ctx, 0, es.Filter{Types: []string{"wallet.opened.v1", "cycle.configured.v1"}}) {
		if err != nil {
			return settlement.Config{}, err
		}
		switch e := r.Data.(type) {
		case wallet.Opened:
			served[e.Platform] = true
		case cycle.Configured:
			if _, known := every[e.Platform]; !known && r.Info.Actor == es.ActorSaga {
				every[e.Platform] = [2]time.Duration{time.Duration(e.IntervalSec) * time.Second, time.Duration(e.ExtraPayTimeSec) * time.Second}
			}
		}
	}
	return settlement.Config{
		Profile: func(p payment.Platform) (onchain.Profile, bool) {
			for _, known := range onchain.Networks() {
				if known.Platform() == string(p) {
					return known, served[p]
				}
			}
			return onchain.Profile{}, false
		},
		Cycle: func(p payment.Platform) (interval, extra time.Duration) {
			if c, ok := every[p]; ok {
				return c[0], c[1]
			}
			return cycle.Defaults(p)
		},
	}, nil
}

// CheckViews makes all views anew beside those that are there.
func (r *Reading) CheckViews(ctx context.Context) ([]ViewCheck, error) {
	views := r.Views()
	out := make([]ViewCheck, len(views))
	g, ctx := errgroup.WithContext(ctx)
	for i, v := range views {
		g.Go(func() (err error) {
			out[i].Name = v.Name()
			out[i].Same, err = v.Check(ctx)
			return err
		})
	}
	return out, g.Wait()
}
