package evidence

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/emet-node/emet/domain/payment/onchain"
)

var token = common.HexToAddress("0x55555555555556AcFf9C332Ed151758858bd7a26")

// mine puts a transfer into a block among others.
func (w *world) mine(to common.Address, amount *big.Int) (hash string) {
	n := 1 + w.r.IntN(4)
	at := w.r.IntN(n)
	var txs types.Transactions
	var receipts types.Receipts
	for i := range n {
		txs = append(txs, types.NewTx(&types.DynamicFeeTx{ChainID: big.NewInt(560048), Nonce: w.r.Uint64(), GasFeeCap: big.NewInt(9), GasTipCap: big.NewInt(1), To: &token, Value: new(big.Int)}))
		r := &types.Receipt{Type: types.DynamicFeeTxType, Status: types.ReceiptStatusSuccessful, CumulativeGasUsed: uint64(i + 1)} //nolint:gosec // small
		if i == at {
			topic := func(a common.Address) common.Hash { return common.BytesToHash(a[:]) }
			r.Logs = []*types.Log{{Address: token, Topics: []common.Hash{
				crypto.Keccak256Hash([]byte("Transfer(address,address,uint256)")), topic(common.HexToAddress(string(w.buyer.id))), topic(to),
			}, Data: common.LeftPadBytes(amount.Bytes(), 32)}}
			if w.lies.reverted {
				r.Status = types.ReceiptStatusFailed
			}
		}
		receipts = append(receipts, r)
	}
	h := &types.Header{Difficulty: new(big.Int), Number: big.NewInt(5), GasLimit: 1, Time: 1, BaseFee: big.NewInt(1)}
	var transaction, receipt [][]byte
	h.TxHash, transaction = branch(txs, at)
	h.ReceiptHash, receipt = branch(receipts, at)
	head, err := rlp.EncodeToBytes(h)
	if err != nil {
		panic(err)
	}
	w.transfer = &onchain.Inclusion{ChainID: 560048, Header: head, Index: uint64(at), Receipt: receipt, Transaction: transaction} //nolint:gosec // small
	return txs[at].Hash().Hex()
}

func branch(list types.DerivableList, index int) (common.Hash, [][]byte) {
	t := trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	types.DeriveSha(list, derive{t})
	var way nodes
	if err := t.Prove(rlp.AppendUint64(nil, uint64(index)), &way); err != nil { //nolint:gosec // small
		panic(err)
	}
	return t.Hash(), way
}

// derive collects into a trie what types.DeriveSha hashes.
type derive struct{ *trie.Trie }

func (d derive) Reset() {}

func (d derive) Update(k, v []byte) error { return d.Trie.Update(k, common.CopyBytes(v)) }

type nodes [][]byte

func (n *nodes) Put(_, v []byte) error { *n = append(*n, common.CopyBytes(v)); return nil }

func (n *nodes) Delete([]byte) error { return nil }
