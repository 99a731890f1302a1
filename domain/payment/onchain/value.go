package onchain

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Address is an account or a contract. It prints in lower case, and is
// compared as 20 bytes, never as text.
type Address [20]byte

// ParseAddress reads "0x" and 40 hexadecimal digits in any case.
func ParseAddress(s string) (a Address, err error) {
	if err := parseHex(a[:], s); err != nil {
		return Address{}, fmt.Errorf("address %q: %w", s, err)
	}
	return a, nil
}

// MustAddress is ParseAddress for constants of the program. It panics.
func MustAddress(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// IsZero reports whether a is the zero address, which stands for "none".
func (a Address) IsZero() bool { return a == Address{} }

func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// MarshalText prints a in lower case.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what [ParseAddress] reads.
func (a *Address) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAddress(string(b))
	return err
}

// Hash is a Keccak-256 digest: of a transaction, of a block, of an event's name.
type Hash [32]byte

// ParseHash reads "0x" and 64 hexadecimal digits in any case.
func ParseHash(s string) (h Hash, err error) {
	if err := parseHex(h[:], s); err != nil {
		return Hash{}, fmt.Errorf("hash %q: %w", s, err)
	}
	return h, nil
}

// IsZero reports whether h is all zeroes, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// MarshalText prints h in lower case.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what [ParseHash] reads.
func (h *Hash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHash(string(b))
	return err
}

// Address takes the last 20 bytes, the way a topic carries an address. It is
// false when the first 12 bytes are not zero.
func (h Hash) Address() (Address, bool) {
	return Address(h[12:]), [12]byte(h[:12]) == [12]byte{}
}

func parseHex(to []byte, s string) error {
	digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if !ok || len(digits) != 2*len(to) {
		return fmt.Errorf("want 0x and %d hexadecimal digits", 2*len(to))
	}
	_, err := hex.Decode(to, []byte(digits))
	return err
}

// Head names one block.
type Head struct {
	Hash       Hash      `json:"hash"`
	Number     uint64    `json:"number"`
	ParentHash Hash      `json:"parentHash"`
	Time       time.Time `json:"time"` // as the block claims, whole seconds, UTC
}

// Log is one event of a contract, as a receipt holds it.
type Log struct {
	Address Address `json:"address"` // the contract that spoke
	Data    []byte  `json:"data"`
	Index   uint64  `json:"index"` // in its block; changes when the chain reorganises
	Topics  []Hash  `json:"topics"`
}

// Receipt says what became of a transaction in one block. The same
// transaction may have another receipt after a reorganisation, so a reader
// compares BlockHash before trusting an old one.
type Receipt struct {
	BlockHash         Hash    `json:"blockHash"`
	BlockNumber       uint64  `json:"blockNumber"`
	EffectiveGasPrice uint64  `json:"effectiveGasPrice"` // wei per gas
	From              Address `json:"from"`              // who signed; with a relayer not who paid
	GasUsed           uint64  `json:"gasUsed"`
	Logs              []Log   `json:"logs"`
	Succeeded         bool    `json:"succeeded"` // false: reverted, nothing moved but the fee
	TxHash            Hash    `json:"txHash"`
}

// Fee is what the transaction cost its signer, in wei of the gas coin.
func (r Receipt) Fee() *big.Int {
	return new(big.Int).Mul(new(big.Int).SetUint64(r.GasUsed), new(big.Int).SetUint64(r.EffectiveGasPrice))
}

// Confirmations counts the blocks from the one that holds the transaction to
// head, both included: 1 means "in the newest block". It is 0 when head is older.
func (r Receipt) Confirmations(head uint64) uint64 {
	if head < r.BlockNumber {
		return 0
	}
	return head - r.BlockNumber + 1
}

// Fees bound the price of a transaction, in wei per unit of gas.
type Fees struct {
	MaxFee uint64 `json:"maxFee"` // never pay more than this in all
	Tip    uint64 `json:"tip"`    // of it, at most this to the block's builder
}

// Bump raises both by an eighth, the least that makes nodes accept a
// replacement being a tenth, and never beyond ceiling. It is false when the
// ceiling leaves no room for a tenth more: then only waiting helps.
func (f Fees) Bump(ceiling uint64) (Fees, bool) {
	up := Fees{MaxFee: min(f.MaxFee+f.MaxFee/8+1, ceiling), Tip: f.Tip + f.Tip/8 + 1}
	up.Tip = min(up.Tip, up.MaxFee)
	enough := func(was, is uint64) bool { return is >= was+was/10+1 }
	return up, enough(f.MaxFee, up.MaxFee) && enough(f.Tip, up.Tip)
}

// Payment is one payee's part of a transaction.
type Payment struct {
	Amount *big.Int // wei of the token, more than zero
	To     Address
}

// Call is what a transaction does: the same bytes are estimated, signed, sent.
type Call struct {
	Data  []byte
	From  Address
	To    Address
	Value *big.Int // gas coin, in wei; nil is none
}

// Estimate is what a call would need now.
type Estimate struct {
	BaseFee uint64 // wei per gas, of the newest block
	Fees    Fees   // clamped by the profile
	Gas     uint64 // limit to sign, a margin included
}

// Cost is the most that e can take from the gas coin, in wei.
func (e Estimate) Cost() *big.Int {
	return new(big.Int).Mul(new(big.Int).SetUint64(e.Gas), new(big.Int).SetUint64(e.Fees.MaxFee))
}

// Funds are what an account owns, seen at one block.
type Funds struct {
	At     Head
	Native *big.Int // gas coin, in wei
	Token  *big.Int // GLM, in wei
}
