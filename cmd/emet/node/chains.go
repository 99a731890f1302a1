package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"

	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/adapters/effects/payments"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	dpayment "github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/projections"
)

// chains are the payment networks that the node can reach.
type chains struct {
	byID     map[uint64]*evm.Client
	profiles []onchain.Profile
}

func openChains(urls map[string][]string) (*chains, error) {
	c := &chains{byID: make(map[uint64]*evm.Client)}
	for network, at := range urls {
		profile, ok := onchain.Network(network)
		if !ok {
			return nil, fmt.Errorf("payment network %q is not known; known are %s", network, strings.Join(networkNames(), ", "))
		}
		client, err := evm.Open(evm.Config{Profile: profile, URLs: at})
		if err != nil {
			return nil, fmt.Errorf("payment network %s: %w", network, err)
		}
		c.byID[profile.ChainID] = client
		c.profiles = append(c.profiles, client.Profile())
	}
	slices.SortFunc(c.profiles, func(a, b onchain.Profile) int { return strings.Compare(a.Network, b.Network) })
	return c, nil
}

// check says of each network that cannot be used why that is. A chain that is
// down may come back: nothing ends for it.
func (c *chains) check(ctx context.Context, logger *slog.Logger) error {
	var all sync.WaitGroup
	for _, p := range c.profiles {
		all.Go(func() {
			if err := c.byID[p.ChainID].Check(ctx); err != nil && ctx.Err() == nil {
				logger.Warn("a payment network cannot be used now", "network", p.Network, "error", err)
			}
		})
	}
	all.Wait()
	return nil
}

func networkNames() []string {
	var out []string
	for _, p := range onchain.Networks() {
		out = append(out, p.Network)
	}
	return out
}

// Chain implements payments.Chains.
func (c *chains) Chain(id uint64) (onchain.Chain, error) {
	client, ok := c.byID[id]
	if !ok {
		p, _ := onchain.NetworkOf(id)
		return nil, fmt.Errorf("payment network %s (chain %d) is not configured; set %s_GETH_ADDR to its JSON-RPC URL", p.Network, id, strings.ToUpper(p.Network))
	}
	return client, nil
}

// Build implements payments.Chains.
func (c *chains) Build(p onchain.Profile, call onchain.Call, nonce, gas uint64, fees onchain.Fees) (payments.Unsigned, error) {
	u, err := evm.Build(p, call, nonce, gas, fees)
	return unsigned{u}, err
}

type unsigned struct{ evm.Unsigned }

func (u unsigned) SigningHash() [32]byte { return u.Digest }

// Fund implements payments.Chains: a development chain gives what is asked for.
func (c *chains) Fund(ctx context.Context, id uint64, owner onchain.Address) (string, error) {
	client, ok := c.byID[id]
	if !ok {
		_, err := c.Chain(id)
		return "", err
	}
	if err := client.Fund(ctx, owner); err != nil {
		return "", err
	}
	funds, err := client.Funds(ctx, owner)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s holds %s wei of %s and %s wei of %s on %s now", owner, funds.Token, client.Profile().TokenSymbol,
		funds.Native, client.Profile().GasCoin, client.Profile().Network), nil
}

func (c *chains) profile(p payment.Platform) (onchain.Profile, bool) {
	for _, known := range c.profiles {
		if known.Platform() == string(p) {
			return known, true
		}
	}
	return onchain.Profile{}, false
}

// finalBlock is the newest final block of the first chain that tells one, the
// main networks before those for tests. Hash "" = there is no chain.
func (c *chains) finalBlock(ctx context.Context, logID string) (b ledger.Beacon, err error) {
	order := slices.Clone(c.profiles)
	slices.SortStableFunc(order, func(a, b onchain.Profile) int { return cmp.Compare(rank(a), rank(b)) })
	for _, p := range order {
		h, header, failed := c.byID[p.ChainID].FinalHeader(ctx)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", p.Network, failed))
			continue
		}
		return ledger.Beacon{
			Block: int64(h.Number), ChainID: int64(p.ChainID), Hash: h.Hash.String(), Header: header, LogID: logID, //nolint:gosec // both are small
		}, nil
	}
	return b, err
}

func rank(p onchain.Profile) int {
	if p.Fundable {
		return 1
	}
	return 0
}

func (c *chains) Close() {
	for _, client := range c.byID {
		client.Close()
	}
}

// claims says which payment rests on which transfer, from the received
// payments of all identities, of which several may share an address.
type claims struct {
	view *projections.Payment
	agg  *Aggregates
}

// Claimed implements payments.Claims.
func (c claims) Claimed(ctx context.Context, ref onchain.LogRef, except string) (*big.Int, error) {
	if err := c.view.Fresh(ctx); err != nil {
		return nil, err
	}
	rows, err := c.view.Received(ctx, ref.Tx.String())
	if err != nil {
		return nil, err
	}
	sum := new(big.Int)
	for _, r := range rows {
		if r.ID+"/"+string(r.Payee) == except {
			continue
		}
		s, _, err := c.agg.Payments.Load(ctx, dpayment.ReceivedID(r.Payee, r.ID))
		if err != nil {
			return nil, err
		}
		if s.Claim.Phase != dpayment.PhaseVerified && s.Claim.Phase != dpayment.PhaseFinalised {
			continue
		}
		for _, share := range s.Claim.Proof.Logs {
			if share.Index == ref.Index {
				sum.Add(sum, share.Amount.Wei())
			}
		}
	}
	return sum, nil
}

// Inclusion returns what asks the chains at the given URLs for the proof of a
// transaction, and what ends it.
func Inclusion(urls map[string][]string) (ask func(context.Context, uint64, onchain.Hash) (*onchain.Inclusion, error), done func(), err error) {
	c, err := openChains(urls)
	if err != nil {
		return nil, nil, err
	}
	return c.inclusion, c.Close, nil
}

func (c *chains) inclusion(ctx context.Context, id uint64, tx onchain.Hash) (*onchain.Inclusion, error) {
	client, ok := c.byID[id]
	if !ok {
		_, err := c.Chain(id)
		return nil, err
	}
	return client.Inclusion(ctx, tx)
}
