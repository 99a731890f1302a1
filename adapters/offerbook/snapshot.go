package offerbook

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// line is one line of the snapshot: an offer, or the mark of one that is gone.
type line struct {
	Offer *peer.Offer     `json:"offer,omitzero"`
	Gone  string          `json:"gone,omitzero"`
	Owner identity.NodeID `json:"owner,omitzero"`
	Until time.Time       `json:"until,omitzero"`
}

// Save writes the foreign offers to the snapshot file, atomically. Own offers
// are not in it: they are facts. Without a file it does nothing.
func (b *Book) Save() error {
	if b.opts.File == "" {
		return nil
	}
	lines := b.lines()
	if err := os.MkdirAll(filepath.Dir(b.opts.File), 0o700); err != nil {
		return fmt.Errorf("save offer book: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(b.opts.File), "offers-*.tmp")
	if err != nil {
		return fmt.Errorf("save offer book: %w", err)
	}
	err = errors.Join(write(f, lines), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), b.opts.File)
	}
	if err != nil {
		return fmt.Errorf("save offer book: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func (b *Book) lines() []line {
	foreign := b.list(func(e *entry) bool { return !e.own })
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := make([]line, 0, len(foreign)+len(b.tombstones))
	for i := range foreign {
		out = append(out, line{Offer: &foreign[i]})
	}
	for id, t := range b.tombstones {
		out = append(out, line{Gone: id.id, Owner: id.owner, Until: t.until})
	}
	return out
}

func write(w io.Writer, lines []line) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return buf.Flush()
}

// load reads the snapshot as if its offers came from gossip: all checks apply.
func (b *Book) load(now time.Time) {
	f, err := os.Open(b.opts.File)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // nothing is written
	b.read(f, now)
}

func (b *Book) read(from io.Reader, now time.Time) {
	dec := json.NewDecoder(bufio.NewReader(from))
	for {
		var l line
		if dec.Decode(&l) != nil {
			return
		}
		if l.Gone != "" && l.Until.After(now) {
			b.tombstones[grave{l.Gone, l.Owner}] = tombstone{until: l.Until}
		}
		if l.Offer != nil {
			_ = b.add(*l.Offer, false, now) // what is not good any more is forgotten
		}
	}
}
