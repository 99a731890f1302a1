package onchain

import (
	"math/big"
)

// Names of the events that matter, as topic 0.
var (
	topicTransfer        = Keccak256([]byte("Transfer(address,address,uint256)"))
	topicDepositTransfer = Keccak256([]byte("DepositTransfer(uint256,address,address,uint128)"))
)

// TransferTopic is topic 0 of the event by which a token says that it moved.
func TransferTopic() Hash { return topicTransfer }

// AddressTopic is an address as an indexed argument of an event.
func AddressTopic(a Address) Hash { return addressWord(a) }

// LogRef names one event of one transaction for ever. Index counts the logs
// of the receipt from 0; unlike the index in the block it stays the same when
// a reorganisation moves the transaction.
type LogRef struct {
	ChainID uint64 `json:"chainId"`
	Index   uint64 `json:"index"`
	Tx      Hash   `json:"tx"`
}

// Transfer is one movement of the network's token.
type Transfer struct {
	Amount   *big.Int // wei
	From, To Address
	Ref      LogRef
}

// Transfers are all movements of p's token that the receipt proves, in order.
// Events of other contracts, of other names, and malformed ones prove
// nothing; a reverted transaction moves nothing.
func Transfers(p Profile, r Receipt) (out []Transfer) {
	if !r.Succeeded {
		return nil
	}
	for i, l := range r.Logs {
		if t, ok := transferOf(p, l); ok {
			t.Ref = LogRef{ChainID: p.ChainID, Index: uint64(i), Tx: r.TxHash}
			out = append(out, t)
		}
	}
	return out
}

func transferOf(p Profile, l Log) (t Transfer, ok bool) {
	if l.Address != p.Token || len(l.Topics) != 3 || l.Topics[0] != topicTransfer || len(l.Data) != 32 {
		return t, false
	}
	from, ok1 := l.Topics[1].Address()
	to, ok2 := l.Topics[2].Address()
	return Transfer{Amount: new(big.Int).SetBytes(l.Data), From: from, To: to}, ok1 && ok2
}

// Incoming are the transfers by which payer paid payee. A transfer counts
// when the token says that it came from payer; or from the multi-transfer
// contract, if payer put in at least all that the contract gave out in this
// transaction; or from the lock contract, if that says the payer spent a
// deposit for it. Who signed the transaction proves nothing: a relayer may
// sign for a payer, and a payer may carry somebody else's transfer along.
func Incoming(p Profile, r Receipt, payer, payee Address) (out []Transfer) {
	all := Transfers(p, r)
	viaMulti := !p.MultiTransfer.IsZero() && passedOn(all, payer, p.MultiTransfer)
	deposits := depositPayouts(p, r, payer, payee)
	for _, t := range all {
		if t.To != payee || t.Amount.Sign() == 0 {
			continue
		}
		switch {
		case t.From == payer, viaMulti && t.From == p.MultiTransfer:
			out = append(out, t)
		case !p.Lock.IsZero() && t.From == p.Lock && takeEqual(&deposits, t.Amount):
			out = append(out, t)
		}
	}
	return out
}

// passedOn reports whether payer gave the contract at least what the contract
// gave to anybody.
func passedOn(all []Transfer, payer, contract Address) bool {
	rest := new(big.Int)
	for _, t := range all {
		if t.From == payer && t.To == contract {
			rest.Add(rest, t.Amount)
		}
		if t.From == contract {
			rest.Sub(rest, t.Amount)
		}
	}
	return rest.Sign() >= 0
}

// depositPayouts are the amounts that the lock contract says it paid to payee
// out of deposits that payer may spend.
func depositPayouts(p Profile, r Receipt, payer, payee Address) (out []*big.Int) {
	for _, l := range r.Logs {
		if l.Address != p.Lock || len(l.Topics) != 2 || l.Topics[0] != topicDepositTransfer || len(l.Data) != 96 {
			continue
		}
		spender, _ := Hash(l.Data[:32]).Address()
		recipient, _ := Hash(l.Data[32:64]).Address()
		if spender == payer && recipient == payee {
			out = append(out, new(big.Int).SetBytes(l.Data[64:]))
		}
	}
	return out
}

// takeEqual removes one amount that is equal to want, if there is one.
func takeEqual(from *[]*big.Int, want *big.Int) bool {
	for i, a := range *from {
		if a.Cmp(want) == 0 {
			*from = append((*from)[:i:i], (*from)[i+1:]...)
			return true
		}
	}
	return false
}
