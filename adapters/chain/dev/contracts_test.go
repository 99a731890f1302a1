package dev_test

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	"github.com/emet-node/emet/adapters/chain/contracts"
	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// bench is a chain with a rich account and the contracts' interfaces.
type bench struct {
	t    *testing.T
	c    *evm.Client
	rich chaintest.Account
}

func newBench(t *testing.T) bench {
	t.Helper()
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	b := bench{t: t, c: client(t, "hoodi", s.URL("hoodi")), rich: chaintest.NewAccount(t)}
	if err := b.c.Fund(context.Background(), b.rich.Address); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bench) abi(contract string) abi.ABI {
	b.t.Helper()
	parsed, err := abi.JSON(bytes.NewReader(contracts.Get(contract).ABI))
	if err != nil {
		b.t.Fatal(err)
	}
	return parsed
}

func (b bench) call(contract string, at onchain.Address, method string, args ...any) onchain.Call {
	b.t.Helper()
	data, err := b.abi(contract).Pack(method, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return onchain.Call{From: b.rich.Address, To: at, Data: data}
}

func (b bench) read(contract string, at onchain.Address, method string, args ...any) []any {
	b.t.Helper()
	out, err := b.c.Call(context.Background(), b.call(contract, at, method, args...))
	if err != nil {
		b.t.Fatalf("%s.%s: %v", contract, method, err)
	}
	values, err := b.abi(contract).Unpack(method, out)
	if err != nil {
		b.t.Fatal(err)
	}
	return values
}

func (b bench) refuses(what string, call onchain.Call) {
	b.t.Helper()
	var reverted *onchain.RevertError
	if _, err := b.c.Estimate(context.Background(), call); !errors.As(err, &reverted) {
		b.t.Errorf("%s: %v, want a revert", what, err)
	}
}

func TestATokenKnowsWhatItIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	token := b.c.Profile().Token
	for method, want := range map[string]any{"symbol": "tGLM", "name": "Golem Network Token (dev)", "decimals": uint8(18)} {
		if got := b.read("Token", token, method)[0]; got != want {
			t.Errorf("%s: %v, want %v", method, got, want)
		}
	}
	b.refuses("minting without being the faucet", b.call("Token", token, "mint", common.Address(b.rich.Address), big.NewInt(1)))
}

// permit signs that spender may move value of owner's tokens.
func (b bench) permit(owner chaintest.Account, spender onchain.Address, value, nonce, deadline *big.Int) onchain.Call {
	b.t.Helper()
	token := b.c.Profile().Token
	domain := b.read("Token", token, "DOMAIN_SEPARATOR")[0].([32]byte)
	kind := crypto.Keccak256([]byte("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"))
	what := crypto.Keccak256(kind, common.LeftPadBytes(owner.Address[:], 32), common.LeftPadBytes(spender[:], 32),
		common.BigToHash(value).Bytes(), common.BigToHash(nonce).Bytes(), common.BigToHash(deadline).Bytes())
	sig := owner.Sign(b.t, crypto.Keccak256Hash([]byte{0x19, 0x01}, domain[:], what))
	return b.call("Token", token, "permit", common.Address(owner.Address), common.Address(spender), value, deadline,
		sig[64]+27, [32]byte(sig[:32]), [32]byte(sig[32:64]))
}

func TestAPermitAllowsWithoutGas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, spender := chaintest.NewAccount(t), b.c.Profile().MultiTransfer
	far, value := big.NewInt(1<<40), chaintest.GLM(5)
	call := b.permit(owner, spender, value, new(big.Int), far)
	chaintest.Do(t, b.c, b.rich, call)
	n, err := b.c.Allowance(context.Background(), owner.Address, spender)
	if err != nil || n.Cmp(value) != 0 {
		t.Errorf("allowance %v, %v; want %v", n, err, value)
	}
	b.refuses("the same permit again", call)
	b.refuses("a permit that is not next", b.permit(b.rich, spender, value, big.NewInt(1), far))
	b.refuses("an old permit", b.permit(owner, spender, value, big.NewInt(1), big.NewInt(1)))
}

func TestAllWaysToPayMany(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.c.Profile()
	multi := p.MultiTransfer
	approve, err := onchain.ApproveData(multi, chaintest.GLM(1000))
	if err != nil {
		t.Fatal(err)
	}
	chaintest.Do(t, b.c, b.rich, onchain.Call{From: b.rich.Address, To: p.Token, Data: approve})
	a1, a2 := chaintest.NewAccount(t).Address, chaintest.NewAccount(t).Address
	payees := []common.Address{common.Address(a1), common.Address(a2)}
	amounts := []*big.Int{big.NewInt(3), big.NewInt(4)}
	words := [][32]byte{word(a1, 3), word(a2, 4)}
	for i, call := range []onchain.Call{
		b.call("MultiTransfer", multi, "golemTransferDirect", payees, amounts),
		b.call("MultiTransfer", multi, "golemTransferDirectPacked", words),
		b.call("MultiTransfer", multi, "golemTransferIndirect", payees, amounts),
		b.call("MultiTransfer", multi, "golemTransferIndirectPacked", words, big.NewInt(7)),
	} {
		r := chaintest.Do(t, b.c, b.rich, call)
		for n, payee := range []onchain.Address{a1, a2} {
			c := onchain.Claim{Amount: amounts[n], Payer: b.rich.Address, Payee: payee}
			if _, err := onchain.Verify(p, *r, c, nil); err != nil {
				t.Errorf("way %d, payee %d: %v", i, n, err)
			}
		}
	}
	b.refuses("a wrong total", b.call("MultiTransfer", multi, "golemTransferIndirectPacked", words, big.NewInt(8)))
	b.refuses("fewer amounts than payees", b.call("MultiTransfer", multi, "golemTransferDirect", payees, amounts[:1]))
	if got := b.read("MultiTransfer", multi, "GLM")[0]; got != common.Address(p.Token) {
		t.Errorf("GLM() is %v, want %v", got, p.Token)
	}
}

func word(to onchain.Address, amount byte) (w [32]byte) {
	copy(w[:20], to[:])
	w[31] = amount
	return w
}

func TestAWrapperAnswersInOneTrip(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.c.Profile()
	out := b.read("Wrapper", p.Wrapper, "callWithDetails", common.Address(p.Token), onchain.BalanceData(b.rich.Address))
	f, err := b.c.Funds(context.Background(), b.rich.Address)
	if err != nil {
		t.Fatal(err)
	}
	if id := out[0].(*big.Int); id.Uint64() != p.ChainID {
		t.Errorf("chain id %v", id)
	}
	if native := out[3].(*big.Int); native.Cmp(f.Native) != 0 {
		t.Errorf("gas coin %v, want %v", native, f.Native)
	}
	if balance := new(big.Int).SetBytes(out[4].([]byte)); balance.Cmp(f.Token) != 0 {
		t.Errorf("GLM %v, want %v", balance, f.Token)
	}
}
