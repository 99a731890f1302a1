package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/miner"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Chain is one network. It makes a block as soon as a transaction waits, and
// what is in a block is final. Its state is in memory; its blocks may be kept
// in a file, from which the state is computed again.
type Chain struct {
	profile onchain.Profile
	node    *node.Node
	eth     *eth.Ethereum
	rpc     *rpc.Server
	journal *journal

	mu   sync.Mutex // held while a block is made
	stop context.CancelFunc
	done chan struct{}
}

// open starts the chain of p. Its blocks are kept below dir, unless that is
// empty.
func open(p onchain.Profile, dir string) (*Chain, error) {
	c := &Chain{profile: p, done: make(chan struct{})}
	if err := c.boot(dir); err != nil {
		return nil, fmt.Errorf("development chain %s: %w", p.Network, err)
	}
	if err := c.recall(dir); err != nil {
		_ = c.node.Close() // the first error tells more
		return nil, fmt.Errorf("development chain %s: %w", p.Network, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	waiting := make(chan core.NewTxsEvent, 64)
	sub := c.eth.TxPool().SubscribeTransactions(waiting, true)
	wake := make(chan struct{}, 1)
	go func() {
		defer sub.Unsubscribe()
		listen(ctx, waiting, wake)
	}()
	go func() {
		defer close(c.done)
		c.mine(ctx, wake)
	}()
	return c, nil
}

// boot starts the parts. They want a directory for keys, though there are none;
// without one of ours they make one that stays when the process is killed.
func (c *Chain) boot(dir string) (err error) {
	keys := ""
	if dir != "" {
		keys = filepath.Join(dir, "keys")
	}
	c.node, err = node.New(&node.Config{KeyStoreDir: keys, P2P: p2p.Config{NoDiscovery: true, NoDial: true}})
	if err != nil {
		return err
	}
	cfg := ethconfig.Defaults
	cfg.Genesis, cfg.NetworkId = genesis(c.profile), c.profile.ChainID
	cfg.SyncMode, cfg.NoPruning, cfg.StateScheme = ethconfig.FullSync, true, rawdb.HashScheme
	cfg.TrieCleanCache, cfg.TrieDirtyCache, cfg.SnapshotCache = 16, 0, 0
	cfg.LogNoHistory = true
	cfg.TxPool.NoLocals, cfg.TxPool.Journal = true, ""
	cfg.Miner = miner.Config{GasCeil: gasLimit, GasPrice: big.NewInt(1), Recommit: time.Second}
	if c.eth, err = eth.New(c.node, &cfg); err != nil {
		return errors.Join(err, c.node.Close())
	}
	if err = c.node.Start(); err != nil {
		return errors.Join(err, c.node.Close())
	}
	c.rpc = rpc.NewServer()
	return c.offer()
}

// offer registers what can be asked. The namespaces that read and write files
// of the machine are left out.
func (c *Chain) offer() error {
	apis := append(c.eth.APIs(),
		rpc.API{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(c.eth.APIBackend, filters.Config{}))},
		rpc.API{Namespace: "emet", Service: &gift{c}})
	for _, a := range apis {
		switch a.Namespace {
		case "eth", "net", "txpool", "emet":
			if err := c.rpc.RegisterName(a.Namespace, a.Service); err != nil {
				return err
			}
		}
	}
	return nil
}

// recall puts the kept blocks in again.
func (c *Chain) recall(dir string) error {
	if dir == "" {
		return nil
	}
	j, blocks, err := openJournal(filepath.Join(dir, c.profile.Network+".blocks"))
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := c.show(b); err != nil {
			return errors.Join(fmt.Errorf("kept block %d does not fit: %w; it may be of another version, then delete %s",
				b.NumberU64(), err, j.f.Name()), j.close())
		}
	}
	c.journal = j
	return nil
}

// listen never lets the pool wait, since a block in the making waits for it.
func listen(ctx context.Context, waiting <-chan core.NewTxsEvent, wake chan<- struct{}) {
	for {
		select {
		case <-waiting:
			select {
			case wake <- struct{}{}:
			default: // it is awake already
			}
		case <-ctx.Done():
			return
		}
	}
}

// mine makes blocks as long as transactions wait.
func (c *Chain) mine(ctx context.Context, wake <-chan struct{}) {
	for {
		select {
		case <-wake:
			// What cannot be mined now is tried again with the next transaction.
			_ = c.settle()
		case <-ctx.Done():
			return
		}
	}
}

// settle makes blocks until none of the waiting transactions fits.
func (c *Chain) settle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sealAll()
}

// sealAll is settle for a caller that holds mu.
func (c *Chain) sealAll() error {
	for {
		if n, err := c.seal(false); n == 0 || err != nil {
			return err
		}
	}
}

// seal makes one block and returns how many transactions it holds. A block
// without any is made only when it may be empty. The caller holds mu.
func (c *Chain) seal(empty bool) (int, error) {
	if err := c.eth.TxPool().Sync(); err != nil {
		return 0, err
	}
	parent := c.eth.BlockChain().CurrentBlock()
	args := &miner.BuildPayloadArgs{
		Parent: parent.Hash(), Timestamp: max(parent.Time+1, uint64(time.Now().Unix())),
		Withdrawals: types.Withdrawals{}, BeaconRoot: &common.Hash{},
	}
	_, _ = rand.Read(args.Random[:]) // never fails
	b, _, err := c.eth.Miner().BuildTestingPayload(args, nil, false, nil)
	if err != nil {
		return 0, err
	}
	n := len(b.Transactions())
	if n == 0 && !empty {
		return 0, nil
	}
	if err := c.journal.add(b); err != nil {
		return 0, err
	}
	return n, c.show(b)
}

// show makes b the head for everybody.
func (c *Chain) show(b *types.Block) error {
	bc := c.eth.BlockChain()
	if _, err := bc.InsertChain(types.Blocks{b}); err != nil {
		return err
	}
	if _, err := c.head(b); err != nil {
		return err
	}
	bc.SetSafe(b.Header())
	bc.SetFinalized(b.Header())
	return c.eth.TxPool().Sync() // who sees the block may use what it gave
}

// head makes sure that b is the canonical head, also when it is lower than
// the one before.
func (c *Chain) head(b *types.Block) (common.Hash, error) {
	bc := c.eth.BlockChain()
	if bc.CurrentBlock().Hash() == b.Hash() {
		return b.Hash(), nil
	}
	return bc.SetCanonical(b)
}

// Reorganise takes the newest depth blocks back and makes a new one, so that
// the chain has forked. The transactions of the blocks wait again and are
// mined anew, or, with drop, are forgotten.
func (c *Chain) Reorganise(depth uint64, drop bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fork(depth, drop); err != nil {
		return fmt.Errorf("development chain %s: reorganise %d blocks: %w", c.profile.Network, depth, err)
	}
	return nil
}

func (c *Chain) fork(depth uint64, drop bool) error {
	bc := c.eth.BlockChain()
	top := bc.CurrentBlock().Number.Uint64()
	if _, err := bc.SetCanonical(bc.GetBlockByNumber(top - min(top, depth))); err != nil {
		return err
	}
	if err := c.eth.TxPool().Sync(); err != nil {
		return err
	}
	if drop {
		c.eth.TxPool().Clear()
	}
	if _, err := c.seal(true); err != nil {
		return err
	}
	return c.sealAll()
}

// Profile is the network that the chain plays.
func (c *Chain) Profile() onchain.Profile { return c.profile }

// Close ends the chain. What it has shown is on disk already.
func (c *Chain) Close() error {
	c.stop()
	<-c.done
	c.rpc.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.node.Close(), c.journal.close())
}
