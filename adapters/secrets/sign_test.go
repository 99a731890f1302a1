package secrets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
)

// The example of docs/formats.md.
const (
	delegationDigest    = "559b6d481776c7d082f6689ac752de3e724f69bd0b5f07ab55cb54f9f729242c"
	delegationSignature = "a374c8bd20bb94c8c8a3e126b3721d6551d6667483af16e6cfa3eb12ce30f2e1117d325a0de4b88365a16b37199c21d73f43eb24ed1f0dfaf83334548b07c11b01"
)

// unlocked is a keystore in memory with the identity of one secret.
func unlocked(t *testing.T, secret string) (*Keys, identity.NodeID) {
	t.Helper()
	secretKey, err := crypto.HexToECDSA(secret)
	if err != nil {
		t.Fatal(err)
	}
	id := nodeID(&secretKey.PublicKey)
	return &Keys{byID: map[identity.NodeID]*key{id: {secret: secretKey, tried: true}}}, id
}

const canonicalPayment = `{"activityPayments":[{"activityId":"act-1","amount":"0.25"}],"agreementPayments":[{"agreementId":"agr-1","amount":"0.75"}],"amount":"1","details":"EjQ=","payeeAddr":"0x2b5ad5c4795c026514f8317c7a215e218dccd6cf","payeeId":"0x2b5ad5c4795c026514f8317c7a215e218dccd6cf","payerAddr":"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf","payerId":"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf","paymentId":"00000000000000000000000000000001","paymentPlatform":"erc20-polygon-glm","timestamp":"2026-01-01T00:00:00Z"}`

// The hash functions and layouts differ by purpose; each has its vector.
func TestVectors(t *testing.T) {
	t.Parallel()
	k, one := unlocked(t, secretOne)
	ctx := context.Background()

	pay, err := k.SignPayment(ctx, one, []byte(canonicalPayment))
	if want := "0136ebfa325906cbd8bc635bf331b88e18b70dae7d570dd746ba281e786ce1501b20291253b0ea34b1e3ccbb28783614f2bd7d14b514e7ffbbb3942655251f8e33"; err != nil || hex.EncodeToString(pay) != want {
		t.Errorf("payment: SHA3, v first: %x %v", pay, err)
	}
	if d := PaymentDigest([]byte(canonicalPayment)); hex.EncodeToString(d[:]) != "fe166806559ccf4afdaae8b1f20ed30f27cc7b6f82db63a43e072b95d20fe59d" {
		t.Errorf("payment digest %x", d)
	}
	if got, err := RecoverVRS(PaymentDigest([]byte(canonicalPayment)), pay); err != nil || got != one {
		t.Errorf("payment: %s %v", got, err)
	}

	relay, id := unlocked(t, strings.Repeat("01", 32))
	solution, err := hex.DecodeString("0000000000003d39000080b6def5a54f8b6c4eadc5ba24af4acd855de047b67a8539cc47c37cab8b190d37310722f9492bb0957afc0d672b8e067f2514e9270228135fd9fb6bc26a")
	if err != nil {
		t.Fatal(err)
	}
	file, err := relay.SignFile(ctx, id, solution)
	if want := "00e25647f139c54f7eeaf441392ed702ff92e1a5d700e7766371f3d04c085d1cb146d6d2411b105634e18cfb3da35a88ca064625ddf9fb02c5b4adddecd1f4cc3d"; err != nil || hex.EncodeToString(file) != want {
		t.Errorf("file: SHA-256, v first: %x %v", file, err)
	}
	if got, err := RecoverVRS(sha256.Sum256(solution), file); err != nil || got != id {
		t.Errorf("file: %s %v", got, err)
	}

	gwei := big.NewInt(1_000_000_000)
	to := common.HexToAddress("0x2b5ad5c4795c026514f8317c7a215e218dccd6cf")
	tx := types.NewTx(&types.DynamicFeeTx{
		ChainID: big.NewInt(137), Nonce: 7, GasTipCap: big.NewInt(25_011_000_000), GasFeeCap: new(big.Int).Mul(big.NewInt(500), gwei),
		Gas: 80_000, To: &to, Value: new(big.Int).Mul(gwei, gwei),
	})
	signer := types.NewLondonSigner(tx.ChainId())
	sig, err := k.SignTransaction(ctx, one, signer.Hash(tx))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := tx.WithSignature(signer, sig)
	if err != nil {
		t.Fatal(err)
	}
	if from, err := types.Sender(signer, signed); err != nil || from != common.HexToAddress(string(one)) {
		t.Errorf("transaction: Keccak, v last: sender %s %v", from, err)
	}
}

func TestStatementsAreBoundToTheirTag(t *testing.T) {
	t.Parallel()
	k, one := unlocked(t, secretOne)
	ctx, terms := context.Background(), []byte(`{"a":1}`)
	text, err := k.SignAgreement(ctx, one, terms)
	if err != nil || len(text) != len("emet1:")+130 || !strings.HasPrefix(text, "emet1:") {
		t.Fatalf("%q %v", text, err)
	}
	if err := VerifyAgreement(one, terms, text); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"other terms":  VerifyAgreement(one, []byte(`{"a":2}`), text),
		"other tag":    VerifyStatement(one, "emet/offer/1", terms, text),
		"other signer": VerifyAgreement("0x2b5ad5c4795c026514f8317c7a215e218dccd6cf", terms, text),
		"upper case":   VerifyAgreement(one, terms, "emet1:"+strings.ToUpper(text[6:])),
		"no prefix":    VerifyAgreement(one, terms, text[6:]),
		"short":        VerifyAgreement(one, terms, text[:len(text)-2]),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, none := range []string{"", "NoSignature"} {
		if err := VerifyAgreement(one, terms, none); !errors.Is(err, ErrNotSigned) {
			t.Errorf("%q: %v", none, err)
		}
	}
	if _, err := k.SignStatement(ctx, one, "agreement", terms); err == nil {
		t.Error("signed under a foreign tag")
	}
}

func TestADelegationIsSignedByItsIdentity(t *testing.T) {
	t.Parallel()
	k, one := unlocked(t, secretOne)
	doc := delegation.Document{
		Chain: 137, Identity: one, NotBefore: 1767225600, NotAfter: 1767312000, PublicKey: "08011220" + strings.Repeat("ab", 32),
		Role: delegation.Host, Subject: "12D3KooWExample",
	}
	d, err := k.SignDelegation(context.Background(), doc)
	if err != nil {
		t.Fatal(err)
	}
	digest := doc.Digest(crypto.Keccak256)
	if got, err := Recover(digest, d.Signature); err != nil || got != one {
		t.Fatalf("%s %v", got, err)
	}
	if got, want := hex.EncodeToString(digest[:]), delegationDigest; got != want {
		t.Errorf("digest %s, docs/formats.md says %s", got, want)
	}
	if got, want := hex.EncodeToString(d.Signature), delegationSignature; got != want {
		t.Errorf("signature %s, docs/formats.md says %s", got, want)
	}
	forged := doc
	forged.Chain = 138
	if got, err := Recover(forged.Digest(crypto.Keccak256), d.Signature); err == nil && got == one {
		t.Error("a changed document")
	}
	doc.Identity = "0x2b5ad5c4795c026514f8317c7a215e218dccd6cf"
	if _, err := k.SignDelegation(context.Background(), doc); !errors.Is(err, ErrNoKey) {
		t.Errorf("signed for another: %v", err)
	}
}

// Nobody can turn a signature into another valid one.
func TestSignaturesCannotBeVaried(t *testing.T) {
	t.Parallel()
	k, one := unlocked(t, secretOne)
	n := crypto.S256().Params().N
	rapid.Check(t, func(t *rapid.T) {
		d := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		sig, err := k.sign(one, d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Recover(d, sig); err != nil || got != one {
			t.Fatalf("%s %v", got, err)
		}
		high := slices.Clone(sig)
		new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:64])).FillBytes(high[32:64])
		high[64] ^= 1
		wallet := slices.Clone(sig)
		wallet[64] += 27
		for name, bad := range map[string][]byte{"high s": high, "v 27": wallet, "long": append(slices.Clone(sig), 0), "short": sig[:64], "zero": make([]byte, 65)} {
			if got, err := Recover(d, bad); !errors.Is(err, ErrSignature) {
				t.Fatalf("%s: %s %v", name, got, err)
			}
		}
		if got, err := RecoverVRS(d, sig); err == nil && got == one {
			t.Fatal("r‖s‖v was read as v‖r‖s")
		}
	})
}
