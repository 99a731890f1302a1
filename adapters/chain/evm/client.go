package evm

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Config says where a network is reached.
type Config struct {
	Profile onchain.Profile
	// URLs are JSON-RPC endpoints, http or https, the preferred one first.
	URLs []string
	// MaxHeadAge makes endpoints useless whose newest block is older. Zero is
	// for networks that rest when nobody uses them, as a development chain.
	MaxHeadAge time.Duration
}

// Client is an onchain.Chain over JSON-RPC. Each question goes to the best
// endpoint, then to the others; one question to one endpoint takes 5 s and
// 10 MiB at most.
type Client struct {
	profile onchain.Profile
	pool    *pool

	mu      sync.Mutex
	checked bool
}

var _ onchain.Chain = (*Client)(nil)

// Open makes a client. It asks nothing yet, so it works while the network is
// down; [Client.Check] tells early whether the network is the right one.
func Open(cfg Config) (*Client, error) {
	if len(cfg.URLs) == 0 {
		return nil, fmt.Errorf("no endpoint for chain %s: name at least one JSON-RPC URL", cfg.Profile.Network)
	}
	all, err := dial(cfg.URLs)
	if err != nil {
		return nil, err
	}
	return &Client{profile: cfg.Profile, pool: &pool{all: all, chainID: cfg.Profile.ChainID, maxAge: cfg.MaxHeadAge}}, nil
}

// Close ends all connections.
func (c *Client) Close() {
	for _, e := range c.pool.all {
		e.rpc.Close()
	}
}

// Profile is the network as configured.
func (c *Client) Profile() onchain.Profile { return c.profile }

// Check makes sure that the endpoints serve this network, that there is code
// where the profile has contracts, and that the token counts in 10^-18. It
// returns [*onchain.WrongChainError], [*ContractError] or an error that is
// onchain.ErrUnavailable. [Client.Send] does it by itself when nobody did.
func (c *Client) Check(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked {
		return nil
	}
	p := c.profile
	for what, a := range map[string]onchain.Address{"token": p.Token, "multi-transfer": p.MultiTransfer} {
		if err := c.hasCode(ctx, what, a); err != nil {
			return err
		}
	}
	if err := c.hasDecimals(ctx); err != nil {
		return err
	}
	c.checked = true
	return nil
}

func (c *Client) hasCode(ctx context.Context, what string, a onchain.Address) error {
	if a.IsZero() {
		return nil
	}
	var code hexutil.Bytes
	if err := c.call(ctx, &code, "eth_getCode", common.Address(a), "latest"); err != nil {
		return err
	}
	if len(code) == 0 {
		return &ContractError{Address: a, Network: c.profile.Network, What: what, Why: "there is no code at this address"}
	}
	return nil
}

func (c *Client) hasDecimals(ctx context.Context) error {
	bad := &ContractError{Address: c.profile.Token, Network: c.profile.Network, What: "token"}
	out, err := c.Call(ctx, onchain.Call{To: c.profile.Token, Data: []byte{0x31, 0x3c, 0xe5, 0x67}}) // decimals()
	switch n, ok := number(out); {
	case errors.Is(err, onchain.ErrUnavailable):
		return err
	case err != nil || !ok:
		bad.Why = "it does not say how many decimals it has"
		return bad
	case n.Cmp(big.NewInt(18)) != 0:
		bad.Why = fmt.Sprintf("it has %v decimals, amounts need 18", n)
		return bad
	}
	return nil
}

// call asks one method, and decodes its result.
func (c *Client) call(ctx context.Context, result any, method string, args ...any) error {
	return c.pool.ask(ctx, func(ctx context.Context, e *rpc.Client) error {
		return e.CallContext(ctx, result, method, args...)
	})
}

// Head is the newest block of the endpoint that answers.
func (c *Client) Head(ctx context.Context) (onchain.Head, error) {
	h, err := c.block(ctx, "latest")
	if err == nil && h == nil {
		err = unavailable(errors.New("the endpoint has no block"))
	}
	if err != nil {
		return onchain.Head{}, err
	}
	return *h, nil
}

// Finalised is the block that the network calls finalized, or, where it calls
// none so, the one Profile.FinalDepth below the head.
func (c *Client) Finalised(ctx context.Context) (onchain.Head, error) {
	h, err := c.block(ctx, "finalized")
	var rejected *onchain.RejectedError
	switch {
	case h != nil && err == nil:
		return *h, nil
	case err != nil && !errors.As(err, &rejected):
		return onchain.Head{}, err
	}
	head, err := c.Head(ctx)
	if err != nil {
		return onchain.Head{}, err
	}
	h, err = c.Block(ctx, head.Number-min(head.Number, c.profile.FinalDepth))
	if err == nil && h == nil {
		err = unavailable(errors.New("the chain has just become shorter"))
	}
	if err != nil {
		return onchain.Head{}, err
	}
	return *h, nil
}

// Block is the canonical block at that height, nil beyond the head.
func (c *Client) Block(ctx context.Context, n uint64) (*onchain.Head, error) {
	return c.block(ctx, hexutil.EncodeUint64(n))
}

func (c *Client) block(ctx context.Context, which string) (*onchain.Head, error) {
	var w *wireHead
	if err := c.call(ctx, &w, "eth_getBlockByNumber", which, false); err != nil || w == nil {
		return nil, err
	}
	h := w.head()
	return &h, nil
}

// Call runs c on the newest state.
func (c *Client) Call(ctx context.Context, call onchain.Call) ([]byte, error) {
	var out hexutil.Bytes
	err := c.call(ctx, &out, "eth_call", wireOf(call), "latest")
	return out, err
}

// Nonce counts the owner's transactions.
func (c *Client) Nonce(ctx context.Context, owner onchain.Address, pending bool) (uint64, error) {
	at := "latest"
	if pending {
		at = "pending"
	}
	var n hexutil.Uint64
	err := c.call(ctx, &n, "eth_getTransactionCount", common.Address(owner), at)
	return uint64(n), err
}

// Send hands raw to the network. The hash is computed here, whatever the
// endpoint says.
func (c *Client) Send(ctx context.Context, raw []byte) (onchain.Hash, error) {
	tx, err := Decode(raw)
	if err != nil {
		return onchain.Hash{}, err
	}
	if tx.ChainID != c.profile.ChainID {
		return tx.Hash, fmt.Errorf("transaction %s is for chain %d and will not be sent to chain %d", tx.Hash, tx.ChainID, c.profile.ChainID)
	}
	if err := c.Check(ctx); err != nil {
		return tx.Hash, err
	}
	var ignored string
	return tx.Hash, c.call(ctx, &ignored, "eth_sendRawTransaction", hexutil.Bytes(raw))
}

// Receipt is what became of tx, nil when no block holds it.
func (c *Client) Receipt(ctx context.Context, tx onchain.Hash) (*onchain.Receipt, error) {
	var r *onchain.Receipt
	err := c.pool.ask(ctx, func(ctx context.Context, e *rpc.Client) error {
		var w *wireReceipt
		r = nil
		if err := e.CallContext(ctx, &w, "eth_getTransactionReceipt", common.Hash(tx)); err != nil || w == nil {
			return err
		}
		var err error
		r, err = w.receipt(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Logs are events in a range of blocks.
func (c *Client) Logs(ctx context.Context, q onchain.LogQuery) ([]onchain.FoundLog, error) {
	var found []wireLog
	if err := c.call(ctx, &found, "eth_getLogs", wireOfQuery(q)); err != nil {
		return nil, err
	}
	var out []onchain.FoundLog
	for _, w := range found {
		if !w.Removed {
			out = append(out, onchain.FoundLog{Block: onchain.Hash(w.BlockHash), Log: w.log(), Tx: onchain.Hash(w.TxHash)})
		}
	}
	return out, nil
}
