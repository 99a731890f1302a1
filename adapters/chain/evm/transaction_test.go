package evm_test

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

const gwei = 1_000_000_000

var (
	one      = onchain.MustAddress("0x7e5f4552091a69125d5dfcb7b8c2659029395bdf") // of key 1
	receiver = onchain.MustAddress("0x2b5ad5c4795c026514f8317c7a215e218dccd6cf")
	glm      = big.NewInt(1_000_000_000_000_000_000)
)

func network(t testing.TB, name string) onchain.Profile {
	t.Helper()
	p, ok := onchain.Network(name)
	if !ok {
		t.Fatalf("no network %s", name)
	}
	return p
}

// sign signs with the key 1.
func sign(t testing.TB, digest [32]byte) []byte {
	t.Helper()
	key, err := crypto.ToECDSA(append(make([]byte, 31), 1))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func transfer(t testing.TB) evm.Unsigned {
	t.Helper()
	u, err := buildTransfer(network(t, "polygon"), one, []onchain.Payment{{To: receiver, Amount: glm}}, 7, 80_000,
		onchain.Fees{MaxFee: 500 * gwei, Tip: 25.011 * gwei})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAKnownTransactionHasTheKnownHash(t *testing.T) {
	t.Parallel()
	u := transfer(t)
	raw, hash, err := u.Assemble(sign(t, u.Digest))
	if want := "0x9b34e4fb0346e8763d9fff7734a136b2d2635d579e16822845b435b9d728a396"; err != nil || hash.String() != want {
		t.Fatalf("hash %s, %v; want %s", hash, err, want)
	}
	back, err := evm.Decode(raw)
	if err != nil || back.Hash != hash || back.Call.From != one || back.Nonce != 7 || back.Gas != 80_000 || back.ChainID != 137 ||
		back.Fees != (onchain.Fees{MaxFee: 500 * gwei, Tip: 25.011 * gwei}) {
		t.Errorf("read back %+v, %v", back, err)
	}
	payments, err := onchain.Payments(network(t, "polygon"), back.Call.To, back.Call.Data)
	if err != nil || len(payments) != 1 || payments[0].To != receiver || payments[0].Amount.Cmp(glm) != 0 {
		t.Errorf("it pays %v, %v", payments, err)
	}
}

func TestBothSpellingsOfVAreOne(t *testing.T) {
	t.Parallel()
	u := transfer(t)
	sig := sign(t, u.Digest)
	low, _, err := u.Assemble(sig)
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += 27
	high, _, err := u.Assemble(sig)
	if err != nil || !bytes.Equal(low, high) {
		t.Errorf("%x, %v; want %x", high, err, low)
	}
}

func TestBadSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	u := transfer(t)
	good := sign(t, u.Digest)
	change := func(f func(sig []byte)) []byte {
		sig := bytes.Clone(good)
		f(sig)
		return sig
	}
	order := crypto.S256().Params().N
	for what, sig := range map[string][]byte{
		"short":          good[:64],
		"long":           append(bytes.Clone(good), 0),
		"v is 2":         change(func(s []byte) { s[64] = 2 }),
		"the other v":    change(func(s []byte) { s[64] ^= 1 }),
		"r is zero":      change(func(s []byte) { clear(s[:32]) }),
		"another digest": sign(t, [32]byte{1}),
		"v‖r‖s":          append([]byte{good[64]}, good[:64]...),
		"the higher s": change(func(s []byte) {
			new(big.Int).Sub(order, new(big.Int).SetBytes(s[32:64])).FillBytes(s[32:64])
			s[64] ^= 1
		}),
	} {
		if _, _, err := u.Assemble(sig); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

func TestATransactionMustMakeSense(t *testing.T) {
	t.Parallel()
	p := network(t, "polygon")
	if _, err := evm.Build(p, onchain.Call{From: one}, 0, 1, onchain.Fees{}); err == nil {
		t.Error("no receiver: taken")
	}
	if _, err := evm.Build(p, onchain.Call{From: one, To: receiver}, 0, 1, onchain.Fees{MaxFee: 1, Tip: 2}); err == nil {
		t.Error("tip above the whole fee: taken")
	}
}

func TestKeccakOfTheDomainIsThatOfTheChain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "data")
		if got, want := onchain.Keccak256(b), crypto.Keccak256Hash(b); got != onchain.Hash(want) {
			t.Fatalf("keccak of %d bytes: %s, want %s", len(b), got, want)
		}
	})
}

func FuzzDecode(f *testing.F) {
	u := transfer(f)
	raw, _, err := u.Assemble(sign(f, u.Digest))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := evm.Decode(b); err == nil && s.Hash != onchain.Keccak256(b) {
			t.Errorf("%x has the hash %s", b, s.Hash)
		}
	})
}

func buildTransfer(p onchain.Profile, payer onchain.Address, payments []onchain.Payment, nonce, gas uint64, fees onchain.Fees) (evm.Unsigned, error) {
	call, err := onchain.Pay(p, payer, payments)
	if err != nil {
		return evm.Unsigned{}, err
	}
	return evm.Build(p, call, nonce, gas, fees)
}
