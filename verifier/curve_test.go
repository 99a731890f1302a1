package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

func TestFieldAgreesWithWholeNumbers(t *testing.T) {
	t.Parallel()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(fold))
	r := rand.New(rand.NewPCG(1, 2))
	number := func() (field, *big.Int) {
		var b [32]byte
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				b[i] = 0xff
			}
		}
		z, ok := fieldOf(b[:])
		if !ok {
			z = field{}
			b = [32]byte{}
		}
		return z, new(big.Int).SetBytes(b[:])
	}
	is := func(what string, z field, want *big.Int) {
		t.Helper()
		got := z.bytes()
		if new(big.Int).SetBytes(got[:]).Cmp(want.Mod(want, p)) != 0 {
			t.Fatalf("%s: %x, want %x", what, got, want)
		}
	}
	for range 5000 {
		a, x := number()
		b, y := number()
		is("product", a.mul(b), new(big.Int).Mul(x, y))
		is("sum", a.add(b), new(big.Int).Add(x, y))
		is("difference", a.sub(b), new(big.Int).Sub(x, y))
		if !a.zero() {
			is("inverse", a.mul(a.inverse()), big.NewInt(1))
		}
		if root, ok := a.square().root(); !ok || root != a && root != a.negated() {
			t.Fatalf("the root of %x squared is %x", a.bytes(), root.bytes())
		}
	}
}

func TestSignersAreThoseOfAnotherLibrary(t *testing.T) {
	t.Parallel()
	for i := range 200 {
		seed := sha256.Sum256([]byte{byte(i), 1})
		key, err := crypto.ToECDSA(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte{byte(i)})
		sig, err := crypto.Sign(digest[:], key)
		if err != nil {
			t.Fatal(err)
		}
		who, err := signer(digest, sig)
		want := crypto.PubkeyToAddress(key.PublicKey)
		if err != nil || who != "0x"+hex.EncodeToString(want[:]) {
			t.Fatalf("%s %v, want %s", who, err, want)
		}
		sig[64] ^= 1
		if other, err := signer(digest, sig); err == nil && other == who {
			t.Error("both halves give one signer")
		}
		sig[64] ^= 1
		high := new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:64]))
		high.FillBytes(sig[32:64])
		if _, err := signer(digest, sig); err == nil {
			t.Error("a high s is taken")
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 65), make([]byte, 64)} {
		if _, err := signer([32]byte{}, bad); err == nil {
			t.Errorf("%x is taken", bad)
		}
	}
}

// The example of docs/formats.md.
func TestTheDelegationOfTheDocuments(t *testing.T) {
	t.Parallel()
	sig, err := hex.DecodeString("a374c8bd20bb94c8c8a3e126b3721d6551d6667483af16e6cfa3eb12ce30f2e1117d325a0de4b88365a16b37199c21d73f43eb24ed1f0dfaf83334548b07c11b01")
	if err != nil {
		t.Fatal(err)
	}
	a := attestation{
		Document:  `{"chain":137,"identity":"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf","notAfter":1767312000,"notBefore":1767225600,"publicKey":"08011220abababababababababababababababababababababababababababababababab","role":"host","subject":"12D3KooWExample"}`,
		Signature: sig,
	}
	d, ok := a.vouch()
	digest := d.digest()
	if !ok || hex.EncodeToString(digest[:]) != "559b6d481776c7d082f6689ac752de3e724f69bd0b5f07ab55cb54f9f729242c" {
		t.Fatalf("%v %x", ok, digest)
	}
	a.Document = a.Document[:len(a.Document)-1] + " }"
	if _, ok := a.vouch(); ok {
		t.Error("another spelling is taken")
	}
}

func TestRLPHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "8100", "b800", "b90001", "c1", "f800", "817f", "c0c0", "bfffffffffffffffff"} {
		b, _ := hex.DecodeString(bad)
		if _, err := decode(b); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	got, err := decode([]byte{0xc3, 0x01, 0xc1, 0x80})
	if err != nil || len(got.list) != 2 || !got.list[1].is || len(got.list[1].list) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	for n, want := range map[uint64]string{0: "80", 1: "01", 127: "7f", 128: "8180", 256: "820100"} {
		if got := hex.EncodeToString(encodeNumber(n)); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
