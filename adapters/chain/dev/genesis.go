package dev

import (
	"crypto/ecdsa"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/emet-node/emet/adapters/chain/contracts"
	"github.com/emet-node/emet/domain/payment/onchain"
)

const (
	genesisTime = 1_700_000_000
	gasLimit    = 30_000_000
	baseFee     = params.GWei
)

// bankKey owns all that is given away. It is known to everybody. It is made
// when it is needed: most processes of this program never need it, and it would
// be half of the time they take to start.
var bankKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("emet development chain: the bank")))
	if err != nil {
		panic(err) // the digest is a constant
	}
	return key
})

// bank is the bank's address.
var bank = sync.OnceValue(func() common.Address { return crypto.PubkeyToAddress(bankKey().PublicKey) })

var (
	ether = big.NewInt(params.Ether)
	// supply is what the bank has at first, of GLM and of gas coin alike.
	supply = new(big.Int).Mul(big.NewInt(1_000_000_000), ether)
)

// genesis is the same for the same profile, always: a kept chain hangs on it.
func genesis(p onchain.Profile) *core.Genesis {
	cfg := *params.AllDevChainProtocolChanges
	cfg.ChainID = new(big.Int).SetUint64(p.ChainID)
	cfg.BogotaTime = nil // prices gas as no network does yet

	alloc := core.SystemContractAllocs()
	alloc[bank()] = types.Account{Balance: supply}
	deploy(alloc, p)
	return &core.Genesis{
		Config: &cfg, Alloc: alloc, GasLimit: gasLimit, BaseFee: big.NewInt(baseFee),
		Difficulty: new(big.Int), Timestamp: genesisTime,
	}
}

// deploy puts the contracts where the profile has them. The storage slots are
// named in the sources.
func deploy(alloc types.GenesisAlloc, p onchain.Profile) {
	put := func(at onchain.Address, name string, storage map[common.Hash]common.Hash) {
		if !at.IsZero() {
			alloc[common.Address(at)] = types.Account{
				Balance: new(big.Int), Nonce: 1, Code: contracts.Get(name).Runtime, Storage: storage,
			}
		}
	}
	token := map[common.Hash]common.Hash{slot(0): addressWord(p.Token)}
	put(p.Token, "Token", map[common.Hash]common.Hash{
		slot(0):           common.BigToHash(supply),
		mapped(bank(), 1): common.BigToHash(supply),
		slot(4):           shortString("Golem Network Token (dev)"),
		slot(5):           shortString(p.TokenSymbol),
		slot(6):           addressWord(p.Faucet),
	})
	put(p.MultiTransfer, "MultiTransfer", token)
	put(p.Faucet, "Faucet", token)
	put(p.Wrapper, "Wrapper", nil)
}

func slot(n int64) common.Hash { return common.BigToHash(big.NewInt(n)) }

// mapped is the slot of a mapping's entry.
func mapped(key common.Address, n int64) common.Hash {
	at := slot(n)
	return crypto.Keccak256Hash(common.LeftPadBytes(key[:], 32), at[:])
}

func addressWord(a onchain.Address) common.Hash { return common.BytesToHash(a[:]) }

// shortString is how storage keeps a text of less than 32 bytes.
func shortString(s string) (w common.Hash) {
	copy(w[:31], s)
	w[31] = byte(2 * len(s))
	return w
}
