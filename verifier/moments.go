package verifier

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// moment is a block that the log names.
type moment struct {
	position uint64
	made     time.Time
}

// readMoment checks that a block's header is the one that is named.
func readMoment(f fact) (m moment, ok bool) {
	var said struct {
		Block   int64  `json:"block"`
		ChainID int64  `json:"chainId"`
		Hash    string `json:"hash"`
		Header  []byte `json:"header"`
		LogID   string `json:"logId"`
	}
	if json.Unmarshal(f.data, &said) != nil || said.Hash != "0x"+hex.EncodeToString(keccak(said.Header)) {
		return m, false
	}
	h, err := decode(said.Header)
	if err != nil || len(h.list) < 15 {
		return m, false
	}
	number, ok1 := h.list[8].number()
	made, ok2 := h.list[11].number()
	if !ok1 || !ok2 || number >= 1<<63 || int64(number) != said.Block || made >= 1<<53 { //nolint:gosec // checked before
		return m, false
	}
	return moment{f.position, time.Unix(int64(made), 0)}, true //nolint:gosec // below 2^53
}

// blocks are all that the log names and whose headers are shown.
func (x *examiner) blocks() ([]moment, verdict) {
	var out []moment
	for _, f := range x.facts {
		if f.stream == "$log" && f.kind == "$log.beacon.v2" && f.data != nil {
			m, ok := readMoment(f)
			if !ok {
				return nil, no("position %d names a block that is another", f.position)
			}
			out = append(out, m)
		}
	}
	return out, yes
}

// tolerance is how far the clocks of parties and chains may be apart.
const tolerance = 5 * time.Minute

// bracket says whether every step of the deal lies between a block and a
// cosignature.
func (x *examiner) bracket() verdict {
	if x.agreements != 1 {
		return notShown
	}
	if _, v := x.cover(); v.is != Proved {
		return v
	}
	blocks, v := x.blocks()
	if v.is != Proved {
		return v
	}
	if _, ok := x.newest["agreement"]; !ok {
		return lacks("there is no approval")
	}
	worst := yes
	for _, group := range []string{"agreement", "bills", "payments"} {
		at, ok := x.newest[group]
		if !ok {
			continue
		}
		after := slices.DeleteFunc(slices.Clone(blocks), func(m moment) bool { return m.position >= at })
		before := slices.IndexFunc(x.sights, func(s sight) bool { return at < s.size })
		switch {
		case len(after) == 0 || before < 0:
			worst = lacks("the %s lie between no two moments", group)
		case after[len(after)-1].made.After(x.sights[before].at.Add(tolerance)):
			return no("the %s were cosigned before a block that the log names before them", group)
		}
	}
	return worst
}
