package node

import (
	"context"
	"errors"
	"net/http"

	"github.com/emet-node/emet/adapters/offerbook"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/identity"
)

// yagna is the version of the reference node whose interfaces are served.
const yagna = "0.17.6"

func (n *Node) server() http.Handler {
	return rest.New(rest.Config{
		AllowOrigins: n.o.AllowOrigins, AllowAnyOrigin: n.o.AllowAnyOrigin, Version: yagna, Name: "emet " + n.o.Version, Logger: n.log, Moments: 10,
	}, rest.Deps{
		Keys: n.people, Log: n.Log, Files: n.bridge, Stories: n.Ledger.Node, Books: n.Payment, Ledger: n.keeper, Net: n, Healthy: n.healthy, Limits: n.bounded, Values: n.values,
		Past: n.past().at,
		Market: rest.Market{
			Agreements: n.Agreements, Demands: n.Demands, Inboxes: n.Inboxes, Negotiations: n.Negotiations, Offers: n.Offers,
			Views: n.Market, Book: book{n.book}, TTL: n.o.TTL,
		},
		Activity: rest.Activity{
			Activities: n.Activities, Batches: n.Batches, Usages: n.Usage, Views: n.Activity,
			Providers: n.buyer, Blobs: n,
		},
		Payment: &rest.PaymentDeps{
			Activities: n.Activities, Agreements: n.Agreements, Allocations: n.Allocations, Bills: n.Bills, Cycles: n.Cycles,
			Ops: n.Ops, Views: n.Payment, Funds: n.money, Networks: n.profiles(), DefaultNetwork: n.o.DefaultNetwork, Cycle: n.o.cycle(), SkipValidation: n.o.SkipValidation,
		},
	})
}

// healthy is nil while the log can be written and the views follow it.
func (n *Node) healthy(ctx context.Context) error {
	if err := errors.Join(n.Store.Failed(), n.Watch.Held(ctx)); err != nil {
		return err
	}
	for _, v := range n.Views() {
		if err := v.Fresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

// NetStatus implements rest.Net.
func (n *Node) NetStatus(_ context.Context, _ identity.NodeID) (rest.NetStatus, error) {
	s := n.peers.Status()
	out := rest.NetStatus{Sessions: len(s.Peers)}
	if len(s.Listen) > 0 {
		out.Listen = s.Listen[0]
	}
	return out, nil
}

// Blob implements rest.Blobs.
func (n *Node) Blob(_ context.Context, b batch.Blob) ([]byte, error) {
	return blobStore{n.Blobs, n.Secrets.Vault}.read(b.SHA256)
}

// book is the offer book as REST wants it.
type book struct{ *offerbook.Book }

func (b book) Open(properties, constraints string, owner identity.NodeID) rest.Cursor {
	return b.Book.Open(properties, constraints, owner)
}

func (b book) Scan(constraints string) (rest.Cursor, error) {
	c, err := b.Book.Scan(constraints)
	if err != nil {
		return nil, err
	}
	return c, nil
}
