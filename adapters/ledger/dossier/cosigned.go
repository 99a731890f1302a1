package dossier

import (
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/identity/delegation"
)

// seen is how much of the log the other party stands by having seen, and when.
type seen struct {
	size uint64
	at   time.Time
}

// cosigned answers until when the other party saw what a claim is about.
func (c *checker) cosigned(claim string) answer {
	if c.deal.proposals != 1 {
		return missing("the agreement itself is not shown once")
	}
	all, a := c.sightings()
	if a.verdict != Proved {
		return a
	}
	at, ok := c.deal.lastOf[claim]
	if !ok {
		return missing("there is nothing of it to be seen")
	}
	for _, s := range all {
		if uint64(at) < s.size {
			return proved("%s stands by having seen it in the log by %s", c.other(), s.at.Format(time.RFC3339))
		}
	}
	return missing("%s has not cosigned a checkpoint that covers it", c.other())
}

// readSightings checks all cosigned checkpoints, by size.
func (c *checker) readSightings() ([]seen, answer) {
	var out []seen
	for i, s := range c.Cosigned {
		p, err := verify.Checkpoint([]byte(s.Checkpoint), c.key)
		if err != nil {
			return nil, disproved("cosigned checkpoint %d: %v", i, err)
		}
		if i > 0 && p.Size <= out[i-1].size || p.Size == 0 || p.Size > c.checkpoint.Size {
			return nil, disproved("cosigned checkpoint %d is out of order", i)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, p.Size, c.checkpoint.Size, c.proof(s.Consistency), p.Root[:], c.checkpoint.Root[:]); err != nil {
			return nil, disproved("cosigned checkpoint %d contradicts the log: %v", i, err)
		}
		at, ok := c.cosigner(s.Checkpoint)
		if !ok {
			return nil, disproved("cosigned checkpoint %d is not cosigned by %s", i, c.other())
		}
		out = append(out, seen{p.Size, at})
	}
	return out, proved("")
}

// cosigner finds a key of the other party that cosigned a note.
func (c *checker) cosigner(note string) (time.Time, bool) {
	for _, v := range c.vouched {
		if v.Role != delegation.Log || v.Identity != c.other() {
			continue
		}
		key, err := verify.LogKey(v.Document)
		if err != nil {
			continue
		}
		if at, err := verify.Cosigned([]byte(note), key); err == nil && v.at(at) {
			return at, true
		}
	}
	return time.Time{}, false
}
