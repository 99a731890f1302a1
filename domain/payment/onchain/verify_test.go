package onchain_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/payment/onchain"
)

var (
	payer    = onchain.MustAddress("0x00000000000000000000000000000000000000aa")
	payee    = onchain.MustAddress("0x00000000000000000000000000000000000000bb")
	stranger = onchain.MustAddress("0x00000000000000000000000000000000000000cc")
	txHash   = onchain.Hash{1}
)

func glm(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e18)) }

// moved is what a token says when it moves.
func moved(token, from, to onchain.Address, amount *big.Int) onchain.Log {
	return onchain.Log{
		Address: token, Data: amount.FillBytes(make([]byte, 32)),
		Topics: []onchain.Hash{onchain.TransferTopic(), onchain.AddressTopic(from), onchain.AddressTopic(to)},
	}
}

// paidOut is what the lock contract says when a deposit is spent.
func paidOut(lock, spender, recipient onchain.Address, amount *big.Int) onchain.Log {
	a, b := onchain.AddressTopic(spender), onchain.AddressTopic(recipient)
	return onchain.Log{
		Address: lock, Data: append(append(append([]byte(nil), a[:]...), b[:]...), amount.FillBytes(make([]byte, 32))...),
		Topics: []onchain.Hash{onchain.Keccak256([]byte("DepositTransfer(uint256,address,address,uint128)")), {31: 7}},
	}
}

func receiptOf(logs ...onchain.Log) onchain.Receipt {
	return onchain.Receipt{BlockNumber: 5, From: payer, Logs: logs, Succeeded: true, TxHash: txHash}
}

func claim(n int64) onchain.Claim { return onchain.Claim{Amount: glm(n), Payer: payer, Payee: payee} }

func TestATransferProvesAClaim(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	shares, err := onchain.Verify(p, receiptOf(moved(p.Token, payer, payee, glm(3))), claim(2), nil)
	if err != nil || len(shares) != 1 || shares[0].Amount.Cmp(glm(2)) != 0 {
		t.Fatalf("%v, %v; want one share of 2 GLM", shares, err)
	}
	if want := (onchain.LogRef{ChainID: p.ChainID, Tx: txHash}); shares[0].Ref != want {
		t.Errorf("share of %+v, want %+v", shares[0].Ref, want)
	}
}

// Who owes something to itself pays it, once.
func TestATransferToOneselfCountsOnce(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	r := receiptOf(moved(p.Token, payer, payer, glm(3)))
	self := onchain.Claim{Amount: glm(3), Payer: payer, Payee: payer}
	if shares, err := onchain.Verify(p, r, self, nil); err != nil || len(shares) != 1 || shares[0].Amount.Cmp(glm(3)) != 0 {
		t.Errorf("%v, %v", shares, err)
	}
	var short *onchain.ShortError
	if _, err := onchain.Verify(p, r, self, func(onchain.LogRef) *big.Int { return glm(1) }); !errors.As(err, &short) {
		t.Errorf("it counts twice: %v", err)
	}
}

func TestSeveralTransfersToOnePayeeAddUp(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	r := receiptOf(moved(p.Token, payer, payee, glm(1)), moved(p.Token, payer, stranger, glm(9)), moved(p.Token, payer, payee, glm(2)))
	shares, err := onchain.Verify(p, r, claim(3), nil)
	if err != nil || len(shares) != 2 || shares[1].Ref.Index != 2 {
		t.Errorf("%v, %v; want shares of logs 0 and 2", shares, err)
	}
}

func TestWhatDoesNotProveAPayment(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	short, indexed := moved(p.Token, payer, payee, glm(1)), moved(p.Token, payer, payee, glm(1))
	short.Data = short.Data[:31]
	indexed.Topics = append(indexed.Topics, onchain.Hash{31: 1})
	dirty := moved(p.Token, payer, payee, glm(1))
	dirty.Topics[2][0] = 1
	for what, r := range map[string]onchain.Receipt{
		"native coin, no logs": receiptOf(),
		"another token":        receiptOf(moved(stranger, payer, payee, glm(1))),
		"another payee":        receiptOf(moved(p.Token, payer, stranger, glm(1))),
		"somebody else's transfer in the payer's tx":  receiptOf(moved(p.Token, stranger, payee, glm(1))),
		"the multi contract gave, but not the payer":  receiptOf(moved(p.Token, stranger, p.MultiTransfer, glm(1)), moved(p.Token, p.MultiTransfer, payee, glm(1))),
		"the multi contract gave more than the payer": receiptOf(moved(p.Token, payer, p.MultiTransfer, glm(1)), moved(p.Token, p.MultiTransfer, payee, glm(1)), moved(p.Token, p.MultiTransfer, stranger, glm(1))),
		"the lock paid for another spender":           receiptOf(moved(p.Token, p.Lock, payee, glm(1)), paidOut(p.Lock, stranger, payee, glm(1))),
		"a deposit event of another contract":         receiptOf(moved(p.Token, p.Lock, payee, glm(1)), paidOut(stranger, payer, payee, glm(1))),
		"a deposit event without the transfer":        receiptOf(paidOut(p.Lock, payer, payee, glm(1))),
		"short data":                                  receiptOf(short),
		"a fourth topic":                              receiptOf(indexed),
		"a topic that is no address":                  receiptOf(dirty),
	} {
		if _, err := onchain.Verify(p, r, claim(1), nil); !errors.Is(err, onchain.ErrNotPaid) {
			t.Errorf("%s: %v, want ErrNotPaid", what, err)
		}
	}
}

func TestARevertedTransactionNeverPays(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	r := receiptOf(moved(p.Token, payer, payee, glm(1)))
	r.Succeeded = false
	if _, err := onchain.Verify(p, r, claim(1), nil); !errors.Is(err, onchain.ErrReverted) {
		t.Errorf("%v, want ErrReverted", err)
	}
	if all := onchain.Transfers(p, r); len(all) > 0 {
		t.Errorf("transfers %v of a reverted transaction", all)
	}
}

func TestIndirectAndDepositPaymentsCount(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	for what, r := range map[string]onchain.Receipt{
		"indirect": receiptOf(moved(p.Token, payer, p.MultiTransfer, glm(3)), moved(p.Token, p.MultiTransfer, payee, glm(1)), moved(p.Token, p.MultiTransfer, stranger, glm(2))),
		"deposit":  receiptOf(moved(p.Token, p.Lock, payee, glm(1)), paidOut(p.Lock, payer, payee, glm(1))),
		"relayed":  {From: stranger, Logs: []onchain.Log{moved(p.Token, payer, payee, glm(1))}, Succeeded: true, TxHash: txHash},
	} {
		if _, err := onchain.Verify(p, r, claim(1), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTheSameClaimTwiceIsTheSameAnswer(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	r := receiptOf(moved(p.Token, payer, payee, glm(1)))
	for range 2 { // its own use is left out of what is used
		if _, err := onchain.Verify(p, r, claim(1), func(onchain.LogRef) *big.Int { return nil }); err != nil {
			t.Error(err)
		}
	}
}

func TestATransferPaysOnce(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	r := receiptOf(moved(p.Token, payer, payee, glm(3)))
	used := func(onchain.LogRef) *big.Int { return glm(2) }
	if _, err := onchain.Verify(p, r, claim(1), used); err != nil {
		t.Errorf("the rest: %v", err)
	}
	var short *onchain.ShortError
	_, err := onchain.Verify(p, r, claim(2), used)
	if !errors.As(err, &short) || !strings.Contains(err.Error(), "used for multiple payments amounting to 4000000000000000000 wei") {
		t.Errorf("more than the rest: %v", err)
	}
	if _, err := onchain.Verify(p, r, claim(4), nil); !errors.As(err, &short) || short.Sent.Cmp(glm(3)) != 0 {
		t.Errorf("more than was sent: %v", err)
	}
	for _, bad := range []*big.Int{nil, new(big.Int), big.NewInt(-1)} {
		if _, err := onchain.Verify(p, r, onchain.Claim{Amount: bad, Payer: payer, Payee: payee}, nil); !errors.Is(err, onchain.ErrAmount) {
			t.Errorf("a claim of %v: %v", bad, err)
		}
	}
}

// However payments claim the transfers of a transaction: no transfer is used
// for more than it moved, and a claim is refused only when it does not fit.
func TestClaimsNeverExceedTransfers(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	rapid.Check(t, func(t *rapid.T) {
		var logs []onchain.Log
		sent := new(big.Int)
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 9), 1, 6).Draw(t, "transfers") {
			logs = append(logs, moved(p.Token, payer, payee, big.NewInt(n)))
			sent.Add(sent, big.NewInt(n))
		}
		r := receiptOf(logs...)
		used, total := map[onchain.LogRef]*big.Int{}, new(big.Int)
		for _, n := range rapid.SliceOfN(rapid.Int64Range(1, 12), 0, 8).Draw(t, "claims") {
			c := onchain.Claim{Amount: big.NewInt(n), Payer: payer, Payee: payee}
			shares, err := onchain.Verify(p, r, c, func(ref onchain.LogRef) *big.Int { return used[ref] })
			after := new(big.Int).Add(total, c.Amount)
			if fits := after.Cmp(sent) <= 0; fits != (err == nil) {
				t.Fatalf("claim of %d after %v of %v: %v", n, total, sent, err)
			}
			if err != nil {
				continue
			}
			total = after
			for _, s := range shares {
				was := used[s.Ref]
				if was == nil {
					was = new(big.Int)
				}
				used[s.Ref] = new(big.Int).Add(was, s.Amount)
			}
		}
		for _, tr := range onchain.Transfers(p, r) {
			if n := used[tr.Ref]; n != nil && n.Cmp(tr.Amount) > 0 {
				t.Fatalf("transfer %+v is used for %v", tr, n)
			}
		}
	})
}

func FuzzVerifyForeignLogs(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 3, true)
	f.Fuzz(func(t *testing.T, data []byte, topics int, fromToken bool) {
		p := network(t, "hoodi")
		l := onchain.Log{Address: p.Lock, Data: data}
		if fromToken {
			l.Address = p.Token
		}
		for i := range max(0, min(topics, 5)) {
			l.Topics = append(l.Topics, []onchain.Hash{onchain.TransferTopic(), onchain.AddressTopic(payer), onchain.AddressTopic(payee)}[i%3])
		}
		shares, err := onchain.Verify(p, receiptOf(l), claim(1), nil)
		if err == nil && (!fromToken || len(shares) != 1 || len(data) != 32) {
			t.Errorf("%x with %d topics proves %v", data, topics, shares)
		}
	})
}
