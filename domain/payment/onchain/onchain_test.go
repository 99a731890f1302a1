package onchain_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/payment/onchain"
)

func wei(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic("not a number: " + s)
	}
	return n
}

func network(t testing.TB, name string) onchain.Profile {
	t.Helper()
	p, ok := onchain.Network(name)
	if !ok {
		t.Fatalf("no network %s", name)
	}
	return p
}

func TestKeccakIsNotSHA3(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                  "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
		"transfer(address,uint256)":         "0xa9059cbb2ab09eb219583f4a59a5d0623ade346d962bcd4e46b11da047c9049b",
		"Transfer(address,address,uint256)": "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
	} {
		if got := onchain.Keccak256([]byte(in)); got.String() != want {
			t.Errorf("keccak(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestPlatformNames(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]uint64{
		"erc20-mainnet-glm": 1, "erc20-polygon-glm": 137, "erc20-holesky-tglm": 17000,
		"erc20-hoodi-tglm": 560048, "erc20-sepolia-tglm": 11155111, "erc20-amoy-tglm": 80002,
	} {
		p, err := onchain.ParsePlatform(name)
		if err != nil || p.ChainID != id || p.Platform() != name {
			t.Errorf("%s: %s (%d), %v", name, p.Platform(), p.ChainID, err)
		}
		if q, ok := onchain.NetworkOf(id); !ok || q != p {
			t.Errorf("chain %d: %s, want %s", id, q.Network, p.Network)
		}
	}
	for _, name := range []string{
		"", "erc20", "erc20-hoodi", "dummy-glm", "zksync-mainnet-glm", "erc20-rinkeby-tglm", "erc20-hoodi-glm",
		"erc20-hoodi-tGLM", "ERC20-hoodi-tglm", "erc20-polygon-tglm", "erc20-hoodi-tglm-x",
	} {
		var bad *onchain.PlatformError
		if _, err := onchain.ParsePlatform(name); !errors.As(err, &bad) {
			t.Errorf("%q was taken: %v", name, err)
		}
	}
}

func TestProfilesCannotBeChangedByReaders(t *testing.T) {
	t.Parallel()
	onchain.Networks()[0].ChainID = 0
	if onchain.Networks()[0].ChainID == 0 {
		t.Error("a reader changed a profile")
	}
}

func TestAddressesAreBytes(t *testing.T) {
	t.Parallel()
	mixed, err := onchain.ParseAddress("0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF")
	if err != nil {
		t.Fatal(err)
	}
	if mixed != onchain.MustAddress("0X2B5AD5C4795C026514F8317C7A215E218DCCD6CF") {
		t.Error("case made a difference")
	}
	b, err := json.Marshal(mixed)
	if err != nil || string(b) != `"0x2b5ad5c4795c026514f8317c7a215e218dccd6cf"` {
		t.Errorf("JSON %s, %v", b, err)
	}
	var back onchain.Address
	if err := json.Unmarshal(b, &back); err != nil || back != mixed {
		t.Errorf("back %s, %v", back, err)
	}
	for _, bad := range []string{"", "0x", "2b5ad5c4795c026514f8317c7a215e218dccd6cf00", "0x2b5ad5c4795c026514f8317c7a215e218dccd6", "0x2b5ad5c4795c026514f8317c7a215e218dccd6cg"} {
		if _, err := onchain.ParseAddress(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestOnePackedWord(t *testing.T) {
	t.Parallel()
	data, err := onchain.PackedData([]onchain.Payment{{
		To: onchain.MustAddress("0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"), Amount: wei("1234567890123456789"),
	}})
	want := "2b5ad5c4795c026514f8317c7a215e218dccd6cf00000000112210f47de98115"
	if err != nil || hex.EncodeToString(data[68:]) != want {
		t.Errorf("%x, %v; want %s", data, err, want)
	}
}

func TestPackedCall(t *testing.T) {
	t.Parallel()
	data, err := onchain.PackedData([]onchain.Payment{
		{To: onchain.MustAddress("0x0000000000000000000000000000000000001000"), Amount: big.NewInt(1000)},
		{To: onchain.MustAddress("0x0000000000000000000000000000000000001001"), Amount: big.NewInt(1001)},
	})
	want := "7c26640c" +
		"0000000000000000000000000000000000000000000000000000000000000020" +
		"0000000000000000000000000000000000000000000000000000000000000002" +
		"0000000000000000000000000000000000001000" + "0000000000000000000003e8" +
		"0000000000000000000000000000000000001001" + "0000000000000000000003e9"
	if err != nil || hex.EncodeToString(data) != want {
		t.Errorf("%x, %v\nwant %s", data, err, want)
	}
}

func TestAmountsThatWouldWrapAreRefused(t *testing.T) {
	t.Parallel()
	to := onchain.MustAddress("0x0000000000000000000000000000000000001000")
	limit := new(big.Int).Lsh(big.NewInt(1), 96)
	for _, bad := range []*big.Int{nil, new(big.Int), big.NewInt(-1), limit, new(big.Int).Add(limit, big.NewInt(1))} {
		if _, err := onchain.PackedData([]onchain.Payment{{To: to, Amount: bad}}); !errors.Is(err, onchain.ErrAmount) {
			t.Errorf("packed %v: %v", bad, err)
		}
	}
	if _, err := onchain.PackedData([]onchain.Payment{{To: to, Amount: new(big.Int).Sub(limit, big.NewInt(1))}}); err != nil {
		t.Errorf("the greatest amount: %v", err)
	}
	if _, err := onchain.TransferData(onchain.Payment{To: to, Amount: limit}); err != nil {
		t.Errorf("a plain transfer holds more: %v", err)
	}
}

func TestHowManyPayeesFit(t *testing.T) {
	t.Parallel()
	payer := onchain.MustAddress("0x0000000000000000000000000000000000000001")
	payees := make([]onchain.Payment, onchain.MaxPayees+1)
	for i := range payees {
		payees[i] = onchain.Payment{To: onchain.Address{19: byte(i + 1)}, Amount: big.NewInt(1)}
	}
	hoodi := network(t, "hoodi")
	for n, to := range map[int]onchain.Address{1: hoodi.Token, 2: hoodi.MultiTransfer, onchain.MaxPayees: hoodi.MultiTransfer} {
		if call, err := onchain.Pay(hoodi, payer, payees[:n]); err != nil || call.To != to || call.From != payer {
			t.Errorf("%d payees: call to %s, %v; want %s", n, call.To, err, to)
		}
	}
	for _, n := range []int{0, onchain.MaxPayees + 1} {
		if _, err := onchain.Pay(hoodi, payer, payees[:n]); err == nil {
			t.Errorf("%d payees were taken", n)
		}
	}
	if _, err := onchain.Pay(network(t, "sepolia"), payer, payees[:2]); err == nil {
		t.Error("two payees on a network without the contract were taken")
	}
}

var anyPayment = rapid.Custom(func(t *rapid.T) onchain.Payment {
	amount := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 12).Draw(t, "amount"))
	return onchain.Payment{
		To:     onchain.Address(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "to")),
		Amount: amount.Add(amount, big.NewInt(1)).Rsh(amount, 1).Add(amount, big.NewInt(1)), // 1 to below 2^96
	}
})

func TestCallDataReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	rapid.Check(t, func(t *rapid.T) {
		payments := rapid.SliceOfN(anyPayment, 1, onchain.MaxPayees).Draw(t, "payments")
		call, err := onchain.Pay(p, onchain.Address{1}, payments)
		if err != nil {
			t.Fatal(err)
		}
		back, err := onchain.Payments(p, call.To, call.Data)
		if err != nil || len(back) != len(payments) || sum(back).Cmp(sum(payments)) != 0 {
			t.Fatalf("%v, %v; want %v", back, err, payments)
		}
		for i := range back {
			if back[i].To != payments[i].To || back[i].Amount.Cmp(payments[i].Amount) != 0 {
				t.Fatalf("payment %d: %v, want %v", i, back[i], payments[i])
			}
		}
	})
}

func FuzzPaymentsOfForeignCallData(f *testing.F) {
	p := network(f, "hoodi")
	call, err := onchain.Pay(p, onchain.Address{1}, []onchain.Payment{{To: onchain.Address{2}, Amount: big.NewInt(5)}, {To: onchain.Address{3}, Amount: big.NewInt(6)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(call.Data, true)
	f.Add([]byte{0xa9, 0x05, 0x9c, 0xbb}, false)
	f.Fuzz(func(t *testing.T, data []byte, multi bool) {
		to := p.Token
		if multi {
			to = p.MultiTransfer
		}
		payments, err := onchain.Payments(p, to, data)
		if err != nil || len(payments) == 0 || len(payments) > onchain.MaxPayees {
			return
		}
		again, err := onchain.PackedData(payments)
		if !multi {
			again, err = onchain.TransferData(payments[0])
		}
		if err == nil && hex.EncodeToString(again) != hex.EncodeToString(data) {
			t.Errorf("%x reads as %v, which is %x", data, payments, again)
		}
	})
}

func TestIntentsAreNamedByWhatTheyPay(t *testing.T) {
	t.Parallel()
	a, b := onchain.Address{1}, onchain.Address{2}
	ranges := []onchain.Range{
		{AgreementID: "agr-1", ActivityID: "act-1", From: wei("0"), To: wei("3000000000000000000")},
		{AgreementID: "agr-1", From: wei("0"), To: wei("1000000000000000000")},
	}
	id := onchain.IntentID(137, a, a, b, ranges)
	// Never changes: what was paid before an update must not be paid again.
	if want := "0x5bcd3208086d463cd53c1d75cd69dfce20682132c1dabf54bfa0b8af97b23aad"; id.String() != want {
		t.Errorf("intent %s, want %s", id, want)
	}
	if other := onchain.IntentID(137, a, a, b, []onchain.Range{ranges[1], ranges[0]}); other != id {
		t.Error("the order of ranges made a difference")
	}
	for what, other := range map[string]onchain.Hash{
		"chain":  onchain.IntentID(1, a, a, b, ranges),
		"payee":  onchain.IntentID(137, a, a, a, ranges),
		"ranges": onchain.IntentID(137, a, a, b, ranges[:1]),
		"wei":    onchain.IntentID(137, a, a, b, []onchain.Range{ranges[0], {AgreementID: "agr-1", From: wei("1"), To: wei("1000000000000000000")}}),
		"ids":    onchain.IntentID(137, a, a, b, []onchain.Range{ranges[0], {AgreementID: "agr-", ActivityID: "1", From: wei("0"), To: wei("1000000000000000000")}}),
	} {
		if other == id {
			t.Errorf("another %s, the same intent", what)
		}
	}
}

func TestFeesRiseUntilTheCeiling(t *testing.T) {
	t.Parallel()
	f := onchain.Fees{MaxFee: 100, Tip: 10}
	up, ok := f.Bump(1000)
	if want := (onchain.Fees{MaxFee: 113, Tip: 12}); up != want || !ok {
		t.Errorf("%+v, %v; want %+v", up, ok, want)
	}
	if up, ok = f.Bump(105); ok {
		t.Errorf("%+v beyond a tenth under a ceiling of 105", up)
	}
	for range 100 {
		if f, ok = f.Bump(500); !ok {
			break
		}
	}
	if ok || f.MaxFee > 500 {
		t.Errorf("%+v, %v: want to stop at 500", f, ok)
	}
}

func TestConfirmationsCountTheBlockItself(t *testing.T) {
	t.Parallel()
	r := onchain.Receipt{BlockNumber: 10}
	for head, want := range map[uint64]uint64{9: 0, 10: 1, 11: 2, 20: 11} {
		if got := r.Confirmations(head); got != want {
			t.Errorf("head %d: %d, want %d", head, got, want)
		}
	}
}

func sum(payments []onchain.Payment) *big.Int {
	total := new(big.Int)
	for _, p := range payments {
		total.Add(total, p.Amount)
	}
	return total
}
