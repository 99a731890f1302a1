package transaction_test

import (
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/saga/transaction"
)

const payer = "0x00000000000000000000000000000000000000bb"

// told is what the wallet is told after each fact of a transaction, "" where it
// is told nothing.
type told struct {
	t        *testing.T
	process  es.Process
	position es.Position
}

func (x *told) after(id string, fact any, want string) {
	x.t.Helper()
	x.position++
	got := ""
	for _, c := range x.process.Hear(es.Recorded{Event: es.Event{Stream: es.Stream("tx-" + id), Position: x.position, Recorded: time.Unix(1, 0)}, Data: fact}) {
		if h, ok := c.Command.(wallet.ReportHealth); ok {
			if c.ID != wallet.StreamID(560048, payer) || c.Category != wallet.Category {
				x.t.Errorf("told to %s-%s", c.Category, c.ID)
			}
			got = h.Properties
		}
	}
	if got != want {
		x.t.Errorf("after %T of %s the wallet is told\n  %s\nwant\n  %s", fact, id, got, want)
	}
}

// planned is a transfer of so many wei of GLM.
func planned(t *testing.T, amount int64) tx.Planned {
	t.Helper()
	hoodi, _ := onchain.Network("hoodi")
	from, err := onchain.ParseAddress(payer)
	if err != nil {
		t.Fatal(err)
	}
	call, err := onchain.Pay(hoodi, from, []onchain.Payment{{To: onchain.Address{1}, Amount: big.NewInt(amount)}})
	if err != nil {
		t.Fatal(err)
	}
	return tx.Planned{Address: payer, Calldata: "0x" + hex.EncodeToString(call.Data), ChainID: hoodi.ChainID, Platform: "erc20-hoodi-tglm", To: call.To.String()}
}

func failed(why tx.SigningReason) tx.SigningFailed {
	return tx.SigningFailed{Address: payer, ChainID: 560048, Code: why}
}

var signed, gone = tx.Signed{Address: payer, ChainID: 560048}, tx.Superseded{Address: payer, ChainID: 560048}

// What stands in the way of paying is told once, in the words that clients know,
// and taken back when all that waited is signed.
func TestTheWalletSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	const (
		gas  = `[{"address":"` + payer + `","driver":"erc20","kind":"InsufficientGas","neededGasEst":"0.002","network":"hoodi"}]`
		sign = `{"address":"` + payer + `","driver":"erc20","kind":"CantSign","network":"hoodi"}`
	)
	token := func(need string) string {
		return `{"address":"` + payer + `","driver":"erc20","kind":"InsufficientToken","neededTokenEst":"0.00000000000000000` + need + `","network":"hoodi"}`
	}
	x := &told{t: t, process: transaction.Saga.Start()}
	x.after("a", planned(t, 1), "")
	x.after("a", failed(tx.NoGas), gas)
	x.after("a", tx.SigningRequested{Address: payer, ChainID: 560048}, "")
	x.after("a", failed(tx.NoGas), "")
	x.after("a", failed(tx.NoToken), `[`+token("1")+`]`)
	x.after("b", planned(t, 2), "")
	x.after("b", failed(tx.NoToken), `[`+token("3")+`]`)
	x.after("c", planned(t, 4), "")
	x.after("c", failed(tx.Locked), `[`+sign+`,`+token("3")+`]`)
	x.after("a", signed, `[`+sign+`,`+token("2")+`]`)
	x.after("b", gone, `[`+sign+`]`)
	x.after("c", signed, `[]`)
	x.after("d", planned(t, 1), "")
	x.after("d", signed, "")
}

// A transaction that cannot be offered a higher fee is on its way all the same.
func TestAHigherFeeThatIsNotToBeHadIsNoObstacle(t *testing.T) {
	t.Parallel()
	x := &told{t: t, process: transaction.Saga.Start()}
	x.after("a", planned(t, 1), "")
	x.after("a", signed, "")
	x.after("a", failed(tx.Rejected), "")
}
