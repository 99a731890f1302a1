package dossier

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// beaconType is how a block of a public chain is written down: what follows in
// the log was not there before the block was.
const beaconType = "$log.beacon.v2"

// beacons adds, of all blocks that the log names, the last one before each
// step that is cosigned.
func (b *builder) beacons(all []es.Recorded) {
	d := dealOf(factsOf(b.events), b.out.Side, b.out.Agreement)
	for _, group := range groups {
		at, ok := d.lastOf[group.claim]
		if !ok {
			continue
		}
		for _, r := range slices.Backward(all) {
			if r.Position < at {
				if !slices.ContainsFunc(b.events, func(e es.Recorded) bool { return e.Position == r.Position }) {
					b.events = append(b.events, r)
				}
				break
			}
		}
	}
}

// groups are the steps of a deal that are cosigned and dated.
var groups = []struct{ claim, what string }{
	{ClaimCosignedAgreement, "the agreement"}, {ClaimCosignedBills, "the last bill"}, {ClaimCosignedPayments, "the last payment"},
}

// block is a beacon that holds.
type block struct {
	position      es.Position
	chain, number int64
	hash          string
	time          time.Time
}

var errBeacon = errors.New("a block that the log names is not what its header says")

// blockOf reads a beacon: the header must be that of the block, and says when
// it was made.
func blockOf(f fact) (b block, err error) {
	var said ledger.Beacon
	if err := json.Unmarshal(f.data, &said); err != nil {
		return b, errBeacon
	}
	hash := verify.Keccak(said.Header)
	var fields []rlp.RawValue
	if said.Hash != fmt.Sprintf("0x%x", hash) || rlp.DecodeBytes(said.Header, &fields) != nil || len(fields) < headerFields {
		return b, errBeacon
	}
	number, made := new(big.Int), new(big.Int)
	if rlp.DecodeBytes(fields[headerNumber], number) != nil || rlp.DecodeBytes(fields[headerTime], made) != nil ||
		!number.IsInt64() || number.Int64() != said.Block || made.BitLen() > 53 {
		return b, errBeacon
	}
	return block{f.Position, said.ChainID, said.Block, said.Hash, time.Unix(made.Int64(), 0).UTC()}, nil
}

// clockSkew is how far the clocks of parties and chains may be apart.
const clockSkew = 5 * time.Minute

// bracket says between which moments the steps of the deal were written down.
func (c *checker) bracket() answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	all, a := c.sightings()
	if a.verdict != Proved {
		return a
	}
	var blocks []block
	for _, f := range c.facts {
		if f.Stream != ledger.LogStream || f.Type != beaconType || f.data == nil {
			continue
		}
		b, err := blockOf(f)
		if err != nil {
			return disproved("position %d: %v", f.Position, err)
		}
		blocks = append(blocks, b)
	}
	if _, ok := c.deal.lastOf[ClaimCosignedAgreement]; !ok {
		return missing("there is no approval to be dated")
	}
	var said []string
	lacks := ""
	for _, g := range groups {
		at, ok := c.deal.lastOf[g.claim]
		if !ok {
			continue
		}
		since := slices.IndexFunc(slices.Collect(backward(blocks)), func(b block) bool { return b.position < at })
		until := slices.IndexFunc(all, func(s seen) bool { return uint64(at) < s.size })
		switch {
		case since < 0:
			lacks = fmt.Sprintf("no block is named before %s was written down", g.what)
			continue
		case until < 0:
			lacks = fmt.Sprintf("%s has not cosigned %s", c.other(), g.what)
			continue
		}
		b, s := blocks[len(blocks)-1-since], all[until]
		if b.time.After(s.at.Add(clockSkew)) {
			return disproved("%s was cosigned at %s, before the block of %s that the log names before it", g.what, stampOf(s.at), stampOf(b.time))
		}
		said = append(said, fmt.Sprintf("%s not before %s (block %d of chain %d, %s%s) and not after %s (cosigned by %s)",
			g.what, stampOf(b.time), b.number, b.chain, b.hash, c.looked(b.hash), stampOf(s.at), c.other()))
	}
	if lacks != "" {
		return missing("%s", strings.Join(append(said, lacks), "; "))
	}
	return proved("%s", strings.Join(said, "; "))
}

// looked says how far a block is known to be in its chain.
func (c *checker) looked(hash string) string {
	for _, b := range c.trust.Blocks {
		if hash == fmt.Sprintf("0x%x", b) {
			return ", which you named"
		}
	}
	return ", which the owner claims to be in it"
}

func backward(blocks []block) func(func(block) bool) {
	return func(yield func(block) bool) {
		for _, b := range slices.Backward(blocks) {
			if !yield(b) {
				return
			}
		}
	}
}

func stampOf(t time.Time) string { return t.Format(time.RFC3339) }
