package transaction

import (
	"encoding/hex"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// transferGas is more than a transfer of tokens takes.
const transferGas = 100_000

// plan is a transaction that is not signed yet.
type plan struct {
	said   tx.Planned
	failed tx.SigningReason // of the last try, "" = none has failed
}

// obstacle is what clients are told: the status properties of the driver.
type obstacle struct {
	Address string `json:"address"`
	Driver  string `json:"driver"`
	Kind    string `json:"kind"`
	Gas     string `json:"neededGasEst,omitempty"`   // of the native coin
	Token   string `json:"neededTokenEst,omitempty"` // GLM
	Network string `json:"network"`
}

var kinds = map[tx.SigningReason]string{
	tx.NoGas: "InsufficientGas", tx.NoToken: "InsufficientToken", tx.Locked: "CantSign", tx.Rejected: "CantSign",
}

// tell orders that the wallet says what stands in its way on a chain, if that
// is something else than it was told last.
func (s State) tell(chain uint64, address string) State {
	text, before := s.obstacles(chain), s.told[chain]
	if text == before || before == "" && text == "[]" {
		return s
	}
	s.told = with(s.told, chain, text)
	s.orders = []es.Order{{Category: wallet.Category, ID: wallet.StreamID(chain, address), Command: wallet.ReportHealth{Properties: text}}}
	return s
}

// obstacles is a JSON list, one entry a kind.
func (s State) obstacles(chain uint64) string {
	byKind := make(map[string]obstacle)
	var gas, token money.Amount
	for _, id := range slices.Sorted(maps.Keys(s.plans)) {
		p := s.plans[id]
		kind := kinds[p.failed]
		if p.said.ChainID != chain || kind == "" {
			continue
		}
		o := obstacle{Address: p.said.Address, Driver: p.said.Platform.Driver(), Kind: kind, Network: p.said.Platform.Network()}
		switch p.failed {
		case tx.NoGas:
			gas = gas.Add(feeOf(o.Network))
			o.Gas = gas.String()
		case tx.NoToken:
			token = token.Add(amountOf(p.said))
			o.Token = token.String()
		}
		byKind[kind] = o
	}
	list := make([]obstacle, 0, len(byKind))
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		list = append(list, byKind[kind])
	}
	text, err := es.CanonicalJSON(list)
	if err != nil { // texts and nothing else
		return "[]"
	}
	return string(text)
}

// feeOf is the most that a transfer costs on a network.
func feeOf(network string) money.Amount {
	p, _ := onchain.Network(network)
	return money.FromWei(new(big.Int).Mul(new(big.Int).SetUint64(p.MaxFee), big.NewInt(transferGas)))
}

// amountOf is how many tokens a transaction moves, 0 for one that moves none.
func amountOf(p tx.Planned) (sum money.Amount) {
	to, err := onchain.ParseAddress(p.To)
	if err != nil {
		return sum
	}
	data, err := hex.DecodeString(strings.TrimPrefix(p.Calldata, "0x"))
	if err != nil {
		return sum
	}
	payments, err := onchain.Payments(onchain.Profile{MultiTransfer: to, Token: to}, to, data)
	if err != nil {
		return sum
	}
	for _, x := range payments {
		sum = sum.Add(money.FromWei(x.Amount))
	}
	return sum
}
