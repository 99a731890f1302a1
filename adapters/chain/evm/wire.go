package evm

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// The answers of JSON-RPC, as far as they matter here.
type (
	wireHead struct {
		BaseFee    *hexutil.Big   `json:"baseFeePerGas"`
		Hash       common.Hash    `json:"hash"`
		Number     hexutil.Uint64 `json:"number"`
		ParentHash common.Hash    `json:"parentHash"`
		Timestamp  hexutil.Uint64 `json:"timestamp"`
	}
	wireLog struct {
		Address   common.Address `json:"address"`
		BlockHash common.Hash    `json:"blockHash"`
		Data      hexutil.Bytes  `json:"data"`
		Index     hexutil.Uint64 `json:"logIndex"`
		Removed   bool           `json:"removed"`
		Topics    []common.Hash  `json:"topics"`
		TxHash    common.Hash    `json:"transactionHash"`
	}
	wireReceipt struct {
		BlockHash   common.Hash     `json:"blockHash"`
		BlockNumber hexutil.Uint64  `json:"blockNumber"`
		From        common.Address  `json:"from"`
		GasPrice    hexutil.Uint64  `json:"effectiveGasPrice"`
		GasUsed     hexutil.Uint64  `json:"gasUsed"`
		Logs        []wireLog       `json:"logs"`
		Status      *hexutil.Uint64 `json:"status"`
		TxHash      common.Hash     `json:"transactionHash"`
	}
	wireFees struct {
		BaseFee []hexutil.Uint64   `json:"baseFeePerGas"`
		Reward  [][]hexutil.Uint64 `json:"reward"`
	}
	wireCall struct {
		Data  hexutil.Bytes  `json:"data"`
		From  common.Address `json:"from"`
		To    common.Address `json:"to"`
		Value *hexutil.Big   `json:"value,omitempty"`
	}
	wireQuery struct {
		Address   common.Address `json:"address"`
		FromBlock hexutil.Uint64 `json:"fromBlock"`
		ToBlock   hexutil.Uint64 `json:"toBlock"`
		Topics    []*common.Hash `json:"topics"`
	}
)

func (w wireHead) head() onchain.Head {
	return onchain.Head{
		Hash: onchain.Hash(w.Hash), Number: uint64(w.Number), ParentHash: onchain.Hash(w.ParentHash),
		Time: time.Unix(int64(w.Timestamp), 0).UTC(),
	}
}

func (w wireLog) log() onchain.Log {
	l := onchain.Log{Address: onchain.Address(w.Address), Data: w.Data, Index: uint64(w.Index)}
	for _, t := range w.Topics {
		l.Topics = append(l.Topics, onchain.Hash(t))
	}
	return l
}

// receipt checks that an endpoint answered what was asked: a receipt of
// another transaction, or a removed log in it, is a fault of the endpoint.
func (w wireReceipt) receipt(tx onchain.Hash) (*onchain.Receipt, error) {
	if onchain.Hash(w.TxHash) != tx || w.Status == nil || w.BlockHash == (common.Hash{}) {
		return nil, fmt.Errorf("receipt of %s: the endpoint answered with one of %s", tx, w.TxHash)
	}
	r := &onchain.Receipt{
		BlockHash: onchain.Hash(w.BlockHash), BlockNumber: uint64(w.BlockNumber), EffectiveGasPrice: uint64(w.GasPrice),
		From: onchain.Address(w.From), GasUsed: uint64(w.GasUsed), Succeeded: *w.Status == 1, TxHash: tx,
	}
	for _, l := range w.Logs {
		if l.Removed || l.TxHash != w.TxHash {
			return nil, fmt.Errorf("receipt of %s: the endpoint put in an event of %s", tx, l.TxHash)
		}
		r.Logs = append(r.Logs, l.log())
	}
	return r, nil
}

func wireOf(c onchain.Call) wireCall {
	w := wireCall{Data: c.Data, From: common.Address(c.From), To: common.Address(c.To)}
	if c.Value != nil {
		w.Value = (*hexutil.Big)(c.Value)
	}
	return w
}

func wireOfQuery(q onchain.LogQuery) wireQuery {
	w := wireQuery{Address: common.Address(q.Address), FromBlock: hexutil.Uint64(q.From), ToBlock: hexutil.Uint64(q.To)}
	for _, t := range q.Topics {
		h := common.Hash(t)
		if t.IsZero() {
			w.Topics = append(w.Topics, nil)
			continue
		}
		w.Topics = append(w.Topics, &h)
	}
	return w
}
