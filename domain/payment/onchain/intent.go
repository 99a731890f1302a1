package onchain

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"slices"
)

// Range is a part of what one agreement owes: the wei from From (included) to
// To (excluded), counted from its first wei. ActivityID is empty for what an
// invoice adds to the activities' notes.
type Range struct {
	ActivityID  string
	AgreementID string
	From, To    *big.Int
}

// IntentID names the wish to pay exactly these parts of a debt on this chain.
// The same debt gives the same id, however often it is asked, and in which
// order the ranges come: so it cannot be scheduled twice.
//
// It is Keccak-256 over "emet/intent/1", chain id (8 bytes), token, payer,
// payee (20 bytes each), then per range, sorted: agreement and activity ("-"
// for none), each after its length in 4 bytes, From and To in 32 bytes. All
// numbers are big-endian.
func IntentID(chainID uint64, token, payer, payee Address, ranges []Range) Hash {
	var parts [][]byte
	for _, r := range ranges {
		parts = append(parts, r.bytes())
	}
	slices.SortFunc(parts, bytes.Compare)

	b := binary.BigEndian.AppendUint64([]byte("emet/intent/1"), chainID)
	b = append(append(append(b, token[:]...), payer[:]...), payee[:]...)
	return Keccak256(append(b, bytes.Join(parts, nil)...))
}

func (r Range) bytes() (b []byte) {
	activity := r.ActivityID
	if activity == "" {
		activity = "-"
	}
	for _, s := range []string{r.AgreementID, activity} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	from, to := amountWord(r.From), amountWord(r.To)
	return append(append(b, from[:]...), to[:]...)
}
