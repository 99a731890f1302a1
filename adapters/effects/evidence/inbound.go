package evidence

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

// Answers is the table of what is answered.
func (d *Desk) Answers() effects.Inbound {
	return effects.Inbound{Calls: map[string]effects.Call{
		peer.CosignCheckpoint{}.Kind(): effects.Typed(d.cosigns), peer.AskCheckpoint{}.Kind(): effects.Typed(d.tells),
	}}
}

// tells a node which checkpoint of a log of its own was cosigned last.
func (d *Desk) tells(ctx context.Context, from peer.Caller, m peer.AskCheckpoint) (peer.Message, error) {
	d.begin()
	if wait := d.pace.Take(string(from.Node), 1); wait > 0 {
		return nil, effects.Busy(wait, "too many checkpoints")
	}
	s, _, err := d.Contacts.Load(ctx, string(from.Node))
	last, ok := s.Last(m.Origin)
	if err != nil || !ok || last.By == from.Node {
		return peer.CheckpointKnown{}, err
	}
	return peer.CheckpointKnown{Note: own(last.Note)}, nil
}

// cosigns answers a node that wants its checkpoint cosigned. Size and root are
// written down before the cosignature is made, so that no crash lets us stand
// by two histories.
func (d *Desk) cosigns(ctx context.Context, from peer.Caller, m peer.CosignCheckpoint) (peer.Message, error) {
	s, err := d.welcome(ctx, from)
	if err != nil {
		return nil, err
	}
	// Who has lost some of his log does not know what he cosigned.
	if err := d.Held(ctx); err != nil {
		return nil, effects.Busy(time.Hour, "this node signs nothing now")
	}
	now := time.Now().UTC()
	c, err := d.Keeper.Foreign(from.Node, []byte(m.Note), m.Attestation, now)
	if err != nil || c.Size == 0 {
		return nil, peer.Refuse(peer.BadRequest, "it is no checkpoint of %s: %v", from.Node, err)
	}
	word, ok, err := d.Keeper.Attestation(ctx, now)
	if err != nil || !ok {
		return nil, errors.Join(err, &peer.Refusal{Code: peer.Busy, RetryAfter: time.Minute, Text: errUnattested.Error()})
	}
	if err := d.meet(ctx, from.To, from.Node); err != nil {
		return nil, err
	}
	last, seen := s.Last(c.Origin)
	if !seen {
		if err := d.replaced(ctx, from, s, c); err != nil {
			return nil, err
		}
	} else if known, err := d.against(ctx, from, m, last, c); known != nil || err != nil {
		return known, err
	}
	return d.cosign(ctx, from, m, c, word, now)
}

// welcome refuses those with whom there is no deal, and those who ask too much.
func (d *Desk) welcome(ctx context.Context, from peer.Caller) (contact.State, error) {
	d.begin()
	s, rev, err := d.Contacts.Load(ctx, string(from.Node))
	if err != nil {
		return s, err
	}
	d.mu.Lock()
	dealt, wait := d.dealt[from.Node], time.Until(d.late)
	d.mu.Unlock()
	if wait > 0 {
		return s, effects.Busy(wait, "the node has just begun")
	}
	if !dealt && rev == es.NoStream {
		return s, effects.Busy(time.Second, "there is no deal with this node yet")
	}
	if wait := d.pace.Take(string(from.Node), 1); wait > 0 {
		return s, effects.Busy(wait, "too many checkpoints")
	}
	return s, nil
}

// against holds a checkpoint against the one that was cosigned last. It
// returns what the asking node must continue, when it does not.
func (d *Desk) against(ctx context.Context, from peer.Caller, m peer.CosignCheckpoint, last contact.CheckpointCosigned, c ledger.Checkpoint) (peer.Message, error) {
	known := peer.CheckpointKnown{Note: own(last.Note)}
	before, err := d.Keeper.Foreign(from.Node, []byte(last.Note), m.Attestation, time.Now())
	if err != nil {
		// The key was changed meanwhile; size and root are ours to know.
		before = ledger.Checkpoint{Origin: last.Origin, Size: last.Size}
		if before.Root, err = rootOf(last.Root); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Size < last.Size:
		if from.SentAt.After(last.SentAt) {
			err = d.conflict(ctx, from, contact.RolledBack, last, m)
		}
		return known, err
	case c.Size == last.Size && c.Root.String() != last.Root:
		return nil, errors.Join(d.conflict(ctx, from, contact.Forked, last, m), peer.Refuse(peer.InvalidState, "another log of that size was cosigned"))
	case c.Size == last.Size:
		return nil, nil
	case uint64(m.From) != last.Size: //nolint:gosec // a negative one is another
		return known, nil
	}
	if err := d.Keeper.Continues(before, c, m.Consistency); err != nil {
		return nil, errors.Join(d.conflict(ctx, from, contact.Forked, last, m), peer.Refuse(peer.InvalidState, "it does not continue what was cosigned: %v", err))
	}
	return nil, nil
}

// own is a note as its owner signed it, without our line.
func own(note string) string {
	lines := strings.SplitAfter(note, "\n")
	if len(lines) < 2 {
		return note
	}
	return strings.Join(lines[:len(lines)-2], "")
}

func rootOf(text string) (h es.Hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("root %q of a cosigned checkpoint cannot be read", text)
	}
	return es.Hash(b), nil
}

// replaced notes that a node comes with another log than the one it stood by.
func (d *Desk) replaced(ctx context.Context, from peer.Caller, s contact.State, c ledger.Checkpoint) error {
	for origin, last := range s.Cosigned {
		if last.By == from.Node || origin == c.Origin {
			continue
		}
		d.Logger.Warn("a node keeps another log than before", "node", from.Node, "before", origin, "now", c.Origin)
		return d.report(ctx, from, contact.Replaced, last, c.Origin, string(c.Note))
	}
	return nil
}

func (d *Desk) conflict(ctx context.Context, from peer.Caller, kind contact.Conflict, last contact.CheckpointCosigned, m peer.CosignCheckpoint) error {
	d.Logger.Error("a node contradicts its own log", "node", from.Node, "how", kind, "log", last.Origin, "cosigned", last.Size)
	return d.report(ctx, from, kind, last, last.Origin, m.Note)
}

// report keeps both statements with the message that the second one came in.
func (d *Desk) report(ctx context.Context, from peer.Caller, kind contact.Conflict, last contact.CheckpointCosigned, origin, second string) error {
	_, err := d.Contacts.Do(ctx, string(from.Node), contact.Report{Fact: contact.ConflictFound{
		First: last.Note, Kind: kind, Node: from.Node, Origin: origin, Raw: market.KeepRaw(from.Raw), Second: second,
	}}, effects.PeerMeta(from, "", "conflict/"+from.MessageID))
	return err
}

// cosign writes down what is signed, then signs it.
func (d *Desk) cosign(ctx context.Context, from peer.Caller, m peer.CosignCheckpoint, c ledger.Checkpoint, word peer.Delegation, at time.Time) (peer.Message, error) {
	at = at.Truncate(time.Second)
	line, err := d.Keeper.Cosign(c.Note, at)
	if err != nil {
		return nil, err
	}
	_, err = d.Contacts.Do(ctx, string(from.Node), contact.Cosign{Fact: contact.CheckpointCosigned{
		Attestation: m.Attestation, At: at, By: from.To, Node: from.Node, Note: string(c.Note) + line, Origin: c.Origin,
		Root: c.Root.String(), SentAt: from.SentAt, Size: c.Size,
	}}, effects.PeerMeta(from, "", "cosign/"+c.Origin+"/"+from.MessageID))
	if errors.Is(err, contact.ErrStale) {
		return nil, effects.Busy(time.Second, "another checkpoint of this log is being cosigned")
	}
	if err != nil {
		return nil, err
	}
	return peer.CheckpointCosigned{Attestation: word, Line: line}, nil
}
