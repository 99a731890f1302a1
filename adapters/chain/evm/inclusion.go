package evm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// ErrUnprovable says that a block cannot be rebuilt from what an endpoint
// tells of it.
var ErrUnprovable = errors.New("the block cannot be rebuilt from what the endpoint tells")

// Inclusion proves tx and its receipt by the header of their block, nil when
// no block holds tx now. It fetches the whole block, and fails with
// [ErrUnprovable] when that does not add up.
func (c *Client) Inclusion(ctx context.Context, tx onchain.Hash) (*onchain.Inclusion, error) {
	r, err := c.Receipt(ctx, tx)
	if err != nil || r == nil {
		return nil, err
	}
	var b block
	err = c.pool.ask(ctx, func(ctx context.Context, e *rpc.Client) error {
		b = block{}
		hash := common.Hash(r.BlockHash)
		return errors.Join(
			e.CallContext(ctx, &b.header, "eth_getBlockByHash", hash, false),
			e.CallContext(ctx, &b.body, "eth_getBlockByHash", hash, true),
			e.CallContext(ctx, &b.receipts, "eth_getBlockReceipts", hash),
		)
	})
	if err != nil {
		return nil, err
	}
	return b.prove(c.profile.ChainID, r.BlockHash, tx)
}

// block is what JSON-RPC tells of one.
type block struct {
	header *types.Header
	body   struct {
		Transactions types.Transactions `json:"transactions"`
	}
	receipts types.Receipts
}

func (b block) prove(chain uint64, hash, tx onchain.Hash) (*onchain.Inclusion, error) {
	if b.header == nil || onchain.Hash(b.header.Hash()) != hash {
		return nil, fmt.Errorf("%w: the header does not hash to %s", ErrUnprovable, hash)
	}
	out := &onchain.Inclusion{ChainID: chain}
	found := false
	for i, t := range b.body.Transactions {
		if onchain.Hash(t.Hash()) == tx {
			out.Index, found = uint64(i), true //nolint:gosec // not negative
		}
	}
	if !found || len(b.receipts) != len(b.body.Transactions) {
		return nil, fmt.Errorf("%w: it has %d transactions and %d receipts", ErrUnprovable, len(b.body.Transactions), len(b.receipts))
	}
	var err error
	if out.Header, err = rlp.EncodeToBytes(b.header); err != nil {
		return nil, err
	}
	if out.Transaction, err = branch(b.header.TxHash, b.body.Transactions, out.Index); err != nil {
		return nil, fmt.Errorf("transactions: %w", err)
	}
	if out.Receipt, err = branch(b.header.ReceiptHash, b.receipts, out.Index); err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	return out, nil
}

// branch builds the trie of a list and returns the nodes from its root to one
// entry.
func branch(root common.Hash, list types.DerivableList, index uint64) ([][]byte, error) {
	t := trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	for i := range list.Len() {
		var value bytes.Buffer
		list.EncodeIndex(i, &value)
		if err := t.Update(rlp.AppendUint64(nil, uint64(i)), value.Bytes()); err != nil { //nolint:gosec // not negative
			return nil, err
		}
	}
	if got := t.Hash(); got != root {
		return nil, fmt.Errorf("%w: the trie has the root %s, the header %s", ErrUnprovable, got, root)
	}
	var out nodes
	return out.list, errors.Join(t.Prove(rlp.AppendUint64(nil, index), &out))
}

// nodes collects a proof in the order in which it is made.
type nodes struct{ list [][]byte }

// Put implements ethdb.KeyValueWriter.
func (n *nodes) Put(_, value []byte) error {
	n.list = append(n.list, common.CopyBytes(value))
	return nil
}

// Delete implements ethdb.KeyValueWriter.
func (n *nodes) Delete([]byte) error { return nil }

// FinalHeader is the newest block that the network will not take back, and the
// RLP of its header. It fails with [ErrUnprovable] when the header that an
// endpoint tells does not hash to the block.
func (c *Client) FinalHeader(ctx context.Context) (h onchain.Head, header []byte, err error) {
	if h, err = c.Finalised(ctx); err != nil {
		return h, nil, err
	}
	var told *types.Header
	err = c.pool.ask(ctx, func(ctx context.Context, e *rpc.Client) error {
		told = nil
		return e.CallContext(ctx, &told, "eth_getBlockByHash", common.Hash(h.Hash), false)
	})
	if err != nil {
		return h, nil, err
	}
	if told == nil || onchain.Hash(told.Hash()) != h.Hash {
		return h, nil, fmt.Errorf("%w: the header does not hash to %s", ErrUnprovable, h.Hash)
	}
	header, err = rlp.EncodeToBytes(told)
	return h, header, err
}
