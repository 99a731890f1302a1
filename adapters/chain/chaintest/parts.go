package chaintest

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// rich is a funded account.
func rich(t *testing.T, l Lab) Account {
	t.Helper()
	a := NewAccount(t)
	l.Fund(a.Address)
	return a
}

func pay(t *testing.T, l Lab, by Account, to ...onchain.Payment) onchain.Call {
	t.Helper()
	call, err := onchain.Pay(l.Chain.Profile(), by.Address, to)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func wantGLM(t *testing.T, l Lab, of onchain.Address, want *big.Int) {
	t.Helper()
	got, err := l.Chain.TokenBalance(context.Background(), of)
	if err != nil || got.Cmp(want) != 0 {
		t.Errorf("GLM of %s: %v, %v; want %v", of, got, err, want)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func transfers(t *testing.T, l Lab) {
	payer, payee := rich(t, l), NewAccount(t)
	before, err := l.Chain.Funds(context.Background(), payer.Address)
	if err != nil {
		t.Fatal(err)
	}
	r := Do(t, l.Chain, payer, pay(t, l, payer, onchain.Payment{To: payee.Address, Amount: GLM(3)}))
	if !r.Succeeded || r.From != payer.Address {
		t.Fatalf("receipt %+v: want a success of the payer", r)
	}
	wantGLM(t, l, payee.Address, GLM(3))
	wantGLM(t, l, payer.Address, new(big.Int).Sub(before.Token, GLM(3)))
	native, err := l.Chain.NativeBalance(context.Background(), payer.Address)
	if want := new(big.Int).Sub(before.Native, r.Fee()); err != nil || native.Cmp(want) != 0 {
		t.Errorf("gas coin left: %v, %v; want %v, the fee being %v", native, err, want, r.Fee())
	}
	claim := onchain.Claim{Payer: payer.Address, Payee: payee.Address, Amount: GLM(3)}
	if shares, err := onchain.Verify(l.Chain.Profile(), *r, claim, nil); err != nil || len(shares) != 1 {
		t.Errorf("verify: %v, %v", shares, err)
	}
}

func packed(t *testing.T, l Lab) {
	payer, p := rich(t, l), l.Chain.Profile()
	data, err := onchain.ApproveData(p.MultiTransfer, GLM(6))
	if err != nil {
		t.Fatal(err)
	}
	Do(t, l.Chain, payer, onchain.Call{From: payer.Address, To: p.Token, Data: data})
	var to []onchain.Payment
	for n := range int64(3) {
		to = append(to, onchain.Payment{To: NewAccount(t).Address, Amount: GLM(n + 1)})
	}
	r := Do(t, l.Chain, payer, pay(t, l, payer, to...))
	if n := len(onchain.Transfers(p, *r)); n != len(to) {
		t.Errorf("%d transfers, want %d", n, len(to))
	}
	for _, one := range to {
		claim := onchain.Claim{Payer: payer.Address, Payee: one.To, Amount: one.Amount}
		if _, err := onchain.Verify(p, *r, claim, nil); err != nil {
			t.Error(err)
		}
		wantGLM(t, l, one.To, one.Amount)
	}
	left, err := l.Chain.Allowance(context.Background(), payer.Address, p.MultiTransfer)
	if err != nil || left.Sign() != 0 {
		t.Errorf("allowance left: %v, %v; want none", left, err)
	}
}

func poor(t *testing.T, l Lab) {
	payer := rich(t, l)
	_, err := l.Chain.Estimate(context.Background(), pay(t, l, payer, onchain.Payment{To: NewAccount(t).Address, Amount: GLM(1 << 40)}))
	wantErr(t, err, onchain.ErrInsufficientToken)
	var reverted *onchain.RevertError
	_, err = l.Chain.Estimate(context.Background(), pay(t, l, payer,
		onchain.Payment{To: NewAccount(t).Address, Amount: GLM(1)}, onchain.Payment{To: NewAccount(t).Address, Amount: GLM(1)}))
	if !errors.As(err, &reverted) {
		t.Errorf("packed without allowance: %v, want a revert", err)
	}
}

func gasless(t *testing.T, l Lab) {
	payer, nobody := rich(t, l), NewAccount(t)
	Do(t, l.Chain, payer, pay(t, l, payer, onchain.Payment{To: nobody.Address, Amount: GLM(1)}))
	call := pay(t, l, nobody, onchain.Payment{To: payer.Address, Amount: GLM(1)})
	e, err := l.Chain.Estimate(context.Background(), call)
	wantErr(t, err, onchain.ErrInsufficientFunds)
	if e.Gas == 0 || e.Fees.MaxFee == 0 {
		t.Errorf("estimate %+v: want to know what is missing", e)
	}
	raw, _ := Sign(t, l.Chain, nobody, call, 0, e)
	_, err = l.Chain.Send(context.Background(), raw)
	wantErr(t, err, onchain.ErrInsufficientFunds)
}

// prepared is a signed transfer of 1 GLM that was not sent.
func prepared(t *testing.T, l Lab, by Account, nonce uint64) (to Account, raw []byte, hash onchain.Hash) {
	t.Helper()
	to = NewAccount(t)
	call := pay(t, l, by, onchain.Payment{To: to.Address, Amount: GLM(1)})
	e, err := l.Chain.Estimate(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	raw, hash = Sign(t, l.Chain, by, call, nonce, e)
	return to, raw, hash
}

func twice(t *testing.T, l Lab) {
	ctx, payer := context.Background(), rich(t, l)
	to, ahead, hash := prepared(t, l, payer, 1) // waits for nonce 0
	if _, err := l.Chain.Send(ctx, ahead); err != nil {
		t.Fatal(err)
	}
	got, err := l.Chain.Send(ctx, ahead)
	wantErr(t, err, onchain.ErrAlreadyKnown)
	if got != hash {
		t.Errorf("hash %s, want %s", got, hash)
	}
	if r, err := l.Chain.Receipt(ctx, hash); r != nil || err != nil {
		t.Errorf("receipt %v, %v: want none yet", r, err)
	}
	_, first, _ := prepared(t, l, payer, 0)
	if _, err := l.Chain.Send(ctx, first); err != nil {
		t.Fatal(err)
	}
	Await(t, l.Chain, hash)
	if _, err = l.Chain.Send(ctx, ahead); !errors.Is(err, onchain.ErrNonceTooLow) && !errors.Is(err, onchain.ErrAlreadyKnown) {
		t.Errorf("sent again when mined: %v", err)
	}
	wantGLM(t, l, to.Address, GLM(1))
}

func replacement(t *testing.T, l Lab) {
	ctx, payer, payee := context.Background(), rich(t, l), NewAccount(t)
	call := pay(t, l, payer, onchain.Payment{To: payee.Address, Amount: GLM(1)})
	e, err := l.Chain.Estimate(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	waiting, _ := Sign(t, l.Chain, payer, call, 1, e)
	if _, err := l.Chain.Send(ctx, waiting); err != nil {
		t.Fatal(err)
	}
	cheap := e
	cheap.Gas++
	raw, _ := Sign(t, l.Chain, payer, call, 1, cheap)
	_, err = l.Chain.Send(ctx, raw)
	wantErr(t, err, onchain.ErrUnderpriced)
	more, ok := e.Fees.Bump(l.Chain.Profile().MaxFee)
	if !ok {
		t.Fatalf("no room above %+v", e.Fees)
	}
	e.Fees = more
	raw, hash := Sign(t, l.Chain, payer, call, 1, e)
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatalf("replacement: %v", err)
	}
	_, first, _ := prepared(t, l, payer, 0)
	if _, err := l.Chain.Send(ctx, first); err != nil {
		t.Fatal(err)
	}
	Await(t, l.Chain, hash)
	wantGLM(t, l, payee.Address, GLM(1))
}

func usedNonce(t *testing.T, l Lab) {
	ctx, payer := context.Background(), rich(t, l)
	_, raw, hash := prepared(t, l, payer, 0)
	_, other, otherHash := prepared(t, l, payer, 0)
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatal(err)
	}
	Await(t, l.Chain, hash)
	_, err := l.Chain.Send(ctx, other)
	wantErr(t, err, onchain.ErrNonceTooLow)
	if r, err := l.Chain.Receipt(ctx, otherHash); r != nil || err != nil {
		t.Errorf("receipt of the refused one: %v, %v", r, err)
	}
	for _, pending := range []bool{false, true} {
		if n, err := l.Chain.Nonce(ctx, payer.Address, pending); n != 1 || err != nil {
			t.Errorf("nonce (pending %v): %d, %v; want 1", pending, n, err)
		}
	}
}

type elsewhere struct{ onchain.Chain }

func (e elsewhere) Profile() onchain.Profile {
	p := e.Chain.Profile()
	p.ChainID++
	return p
}

func otherChain(t *testing.T, l Lab) {
	payer := rich(t, l)
	_, raw, hash := prepared(t, Lab{Chain: elsewhere{l.Chain}}, payer, 0)
	if _, err := l.Chain.Send(context.Background(), raw); err == nil {
		t.Error("a transaction of another chain was taken")
	}
	if r, err := l.Chain.Receipt(context.Background(), hash); r != nil || err != nil {
		t.Errorf("receipt %v, %v: want none", r, err)
	}
}

func reverts(t *testing.T, l Lab) {
	ctx, payer, payee := context.Background(), rich(t, l), NewAccount(t)
	e, err := l.Chain.Estimate(ctx, pay(t, l, payer, onchain.Payment{To: payee.Address, Amount: GLM(1)}))
	if err != nil {
		t.Fatal(err)
	}
	raw, hash := Sign(t, l.Chain, payer, pay(t, l, payer, onchain.Payment{To: payee.Address, Amount: GLM(1 << 40)}), 0, e)
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatal(err)
	}
	r := Await(t, l.Chain, hash)
	if r.Succeeded || len(r.Logs) > 0 || r.Fee().Sign() == 0 {
		t.Errorf("receipt %+v: want a failure that costs", r)
	}
	_, err = onchain.Verify(l.Chain.Profile(), *r, onchain.Claim{Payer: payer.Address, Payee: payee.Address, Amount: GLM(1)}, nil)
	wantErr(t, err, onchain.ErrReverted)
	wantGLM(t, l, payee.Address, new(big.Int))
}

func faucet(t *testing.T, l Lab) {
	payer, p := rich(t, l), l.Chain.Profile()
	had, err := l.Chain.TokenBalance(context.Background(), payer.Address)
	if err != nil {
		t.Fatal(err)
	}
	Do(t, l.Chain, payer, pay(t, l, payer, onchain.Payment{To: NewAccount(t).Address, Amount: had}))
	mint := onchain.Call{From: payer.Address, To: p.Faucet, Data: onchain.MintData()}
	Do(t, l.Chain, payer, mint)
	wantGLM(t, l, payer.Address, GLM(1000))
	var reverted *onchain.RevertError
	if _, err := l.Chain.Estimate(context.Background(), mint); !errors.As(err, &reverted) || reverted.Reason != "Cannot acquire more funds" {
		t.Errorf("minting again: %v", err)
	}
}

func reorganised(t *testing.T, l Lab) {
	ctx, payer := context.Background(), rich(t, l)
	to, raw, hash := prepared(t, l, payer, 0)
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatal(err)
	}
	before := Await(t, l.Chain, hash)
	l.Reorganise(1, false)
	after := Await(t, l.Chain, hash)
	if before.BlockHash == after.BlockHash {
		t.Error("the receipt still names the old block")
	}
	b, err := l.Chain.Block(ctx, after.BlockNumber)
	if err != nil || b == nil || b.Hash != after.BlockHash {
		t.Errorf("block %d: %v, %v; want the receipt's %s", after.BlockNumber, b, err, after.BlockHash)
	}
	wantGLM(t, l, to.Address, GLM(1))
}

func dropped(t *testing.T, l Lab) {
	ctx, payer := context.Background(), rich(t, l)
	to, raw, hash := prepared(t, l, payer, 0)
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatal(err)
	}
	Await(t, l.Chain, hash)
	l.Reorganise(1, true)
	if r, err := l.Chain.Receipt(ctx, hash); r != nil || err != nil {
		t.Fatalf("receipt %v, %v: want none", r, err)
	}
	if n, err := l.Chain.Nonce(ctx, payer.Address, false); n != 0 || err != nil {
		t.Errorf("nonce %d, %v: want 0 again", n, err)
	}
	if _, err := l.Chain.Send(ctx, raw); err != nil {
		t.Fatalf("sent again: %v", err)
	}
	Await(t, l.Chain, hash)
	wantGLM(t, l, to.Address, GLM(1))
}

func logs(t *testing.T, l Lab) {
	payer, payee := rich(t, l), NewAccount(t)
	r := Do(t, l.Chain, payer, pay(t, l, payer, onchain.Payment{To: payee.Address, Amount: GLM(2)}))
	found, err := l.Chain.Logs(context.Background(), onchain.LogQuery{
		Address: l.Chain.Profile().Token, From: 0, To: r.BlockNumber,
		Topics: []onchain.Hash{onchain.TransferTopic(), {}, onchain.AddressTopic(payee.Address)},
	})
	if err != nil || len(found) != 1 || found[0].Tx != r.TxHash || found[0].Block != r.BlockHash {
		t.Errorf("logs %+v, %v: want the one of %s", found, err, r.TxHash)
	}
}

func blocks(t *testing.T, l Lab) {
	ctx := context.Background()
	rich(t, l)
	head, err := l.Chain.Head(ctx)
	if err != nil || head.Number == 0 {
		t.Fatalf("head %+v, %v: want one above 0", head, err)
	}
	parent, err := l.Chain.Block(ctx, head.Number-1)
	if err != nil || parent == nil || parent.Hash != head.ParentHash || !parent.Time.Before(head.Time) {
		t.Errorf("block below the head: %+v, %v; want %s", parent, err, head.ParentHash)
	}
	if b, err := l.Chain.Block(ctx, head.Number+1000); b != nil || err != nil {
		t.Errorf("block beyond the head: %+v, %v; want none", b, err)
	}
	final, err := l.Chain.Finalised(ctx)
	if err != nil || final.Number > head.Number {
		t.Errorf("finalised %+v, %v: want at most the head", final, err)
	}
}
