// Package evidence lets the parties of deals cosign each other's checkpoints,
// so that neither can rewrite afterwards what the other has seen. It works
// beside the trade: nothing waits for it, and nothing fails with it.
package evidence

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/saga/cosign"
)

// Keeper signs this node's log and checks those of others.
type Keeper interface {
	// Sign returns a checkpoint of all that the log holds, durable when it returns.
	Sign(ctx context.Context) (ledger.Checkpoint, error)
	ConsistencyProof(ctx context.Context, from, to uint64) ([]es.Hash, error)
	RootAt(ctx context.Context, size uint64) (es.Hash, error)
	Attestation(ctx context.Context, at time.Time) (peer.Delegation, bool, error)
	Cosign(note []byte, at time.Time) (line string, err error)
	Foreign(who identity.NodeID, note []byte, a peer.Delegation, at time.Time) (ledger.Checkpoint, error)
	Continues(from, to ledger.Checkpoint, consistency [][]byte) error
	Cosigned(who identity.NodeID, note []byte, a peer.Delegation) (time.Time, error)
	Own(note []byte) (ledger.Checkpoint, error)
	// Extends says whether our log continues a checkpoint that we signed.
	Extends(ctx context.Context, c ledger.Checkpoint) (bool, error)
	Origin() string
	Owner() identity.NodeID
}

// Desk asks others to cosign and cosigns for them.
type Desk struct {
	Contacts *es.Aggregate[contact.Command, contact.Event, contact.State]
	Keeper   Keeper
	Peers    effects.Peers
	// Local says whether an identity is of this node, whose log is the same one.
	Local func(identity.NodeID) bool
	// Features are what a node's Hello said, nil if it was never met.
	Features func(identity.NodeID) []string
	Logger   *slog.Logger
	// Freeze keeps the node from acting on a log that is not the newest copy.
	Freeze func(context.Context, ledger.Frozen) error
	// Held is an error while it is kept from that.
	Held func(context.Context) error
	// Grace is how long a node that has just begun leaves this for later: the
	// trade that it takes up again comes first.
	Grace time.Duration
	// Settle is how long steps that follow each other are gathered; 0 = 100 ms.
	Settle time.Duration

	mu     sync.Mutex
	queue  map[identity.NodeID]wish // by who is asked
	wake   chan struct{}
	hellos map[identity.NodeID]peer.Hello
	dealt  map[identity.NodeID]bool
	asked  map[identity.NodeID]bool // what it saw of our log, since the start
	once   sync.Once
	pace   effects.Pace
	late   time.Time // when the grace is over; zero before Run
}

// wish is what is wanted of a node: its cosignature under the newest
// checkpoint, or only to hear what it cosigned last.
type wish struct {
	cosign.Exchange
	only bool
}

// How the other party is asked.
const (
	settleTime = 100 * time.Millisecond
	askTime    = 5 * time.Second
	askAgain   = 10 * time.Second // at first, then twice as long each time
	askLast    = 5 * time.Minute  // the longest pause
	tries      = 12               // the next step asks anyway
	triesOnly  = 3                // when there was a deal once; strangers are asked once
	atOnce     = 4                // nodes that are asked at the same time
	maxHellos  = 4096
)

func (d *Desk) begin() {
	d.once.Do(func() {
		d.queue, d.wake = make(map[identity.NodeID]wish), make(chan struct{}, 1)
		d.hellos, d.dealt = make(map[identity.NodeID]peer.Hello), make(map[identity.NodeID]bool)
		d.asked = make(map[identity.NodeID]bool)
		d.pace.Rate, d.pace.Burst = 1, 30
	})
}

// Handle implements effects.Handler: it notes the wish and returns at once.
// Wishes about one node that come while it is asked are one.
func (d *Desk) Handle(_ context.Context, _ string, cmd any, _ es.Meta) error {
	x, ok := cmd.(cosign.Exchange)
	if !ok {
		return es.ErrWrongCommand
	}
	if d.Local(x.Other) {
		return nil
	}
	d.begin()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue[x.Other], d.dealt[x.Other] = wish{Exchange: x}, true
	d.rouse()
	return nil
}

func (d *Desk) rouse() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake
	}
}

// Met remembers what a node said of itself.
func (d *Desk) Met(node identity.NodeID, h peer.Hello) {
	d.begin()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.hellos[node]; known || len(d.hellos) < maxHellos || d.dealt[node] {
		d.hellos[node] = h
	}
	// A node that we have no deal with may be one that this copy of the log
	// knows nothing of.
	if _, waits := d.queue[node]; waits || d.asked[node] || len(d.asked) >= maxHellos || !slices.Contains(h.Features, peer.FeatureAsked) || d.Local(node) {
		return
	}
	d.queue[node] = wish{Exchange: cosign.Exchange{Own: d.Keeper.Owner(), Other: node}, only: true}
	d.rouse()
}

// Run asks until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	d.begin()
	d.mu.Lock()
	d.late = time.Now().Add(d.Grace)
	d.mu.Unlock()
	select {
	case <-ctx.Done(): // what waits is asked once, below
	case <-time.After(d.Grace):
	}
	busy := make(map[identity.NodeID]bool)
	done := make(chan identity.NodeID)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, x := range d.take(busy) {
			busy[x.Other] = true // at the end of ctx it is asked once more and no longer
			wg.Go(func() {
				d.serve(ctx, x)
				select {
				case done <- x.Other:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			for _, x := range d.take(busy) {
				wg.Go(func() { d.last(ctx, x) })
			}
			return nil
		case <-d.wake:
		case node := <-done:
			delete(busy, node)
		}
	}
}

// take removes wishes about nodes that are not being asked.
func (d *Desk) take(busy map[identity.NodeID]bool) (out []wish) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, only := range []bool{false, true} { // deals come before strangers, who never take all
		for other, x := range d.queue {
			if x.only == only && !busy[other] && len(busy)+len(out) < atOnce && (!only || len(busy)+len(out) < atOnce/2) {
				out = append(out, x)
				delete(d.queue, other)
			}
		}
	}
	return out
}

// serve asks one node until it has answered.
func (d *Desk) serve(ctx context.Context, x wish) {
	wait := d.Settle
	if wait == 0 {
		wait = settleTime
	}
	pause, most := askAgain, tries
	if x.only {
		most = d.patience(ctx, x.Other)
	}
	for try := range most {
		select {
		case <-ctx.Done():
			if try == 0 {
				d.last(ctx, x)
			}
			return
		case <-time.After(wait):
		}
		err := d.hear(ctx, x.Exchange)
		if err == nil && !x.only {
			err = d.exchange(ctx, x.Exchange)
		}
		no, refused := effects.RefusalOf(err)
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, ledger.ErrHeld):
			return
		case refused && no.Code != peer.Busy && no.Code != peer.Internal:
			d.Logger.Warn("a checkpoint was not cosigned", "by", x.Other, "error", err)
			return
		}
		d.Logger.Debug("a checkpoint is offered again", "to", x.Other, "in", pause, "error", err)
		wait, pause = pause, min(2*pause, askLast)
		if refused && no.RetryAfter > 0 {
			wait = min(wait, no.RetryAfter)
		}
	}
}

// patience is how often a node is asked what it saw: when it was never dealt
// with, as far as this log knows, once each time that it is met.
func (d *Desk) patience(ctx context.Context, node identity.NodeID) int {
	if _, rev, err := d.Contacts.Load(ctx, string(node)); err == nil && rev == es.NoStream {
		return 1
	}
	return triesOnly
}

// lastTime is how long a node that stops waits for cosignatures.
const lastTime = time.Second

// last asks once more before the node stops.
func (d *Desk) last(ctx context.Context, x wish) {
	if x.only {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	if err := d.exchange(ctx, x.Exchange); err != nil {
		d.Logger.Debug("the last checkpoint was not cosigned", "by", x.Other, "error", err)
	}
}

var errUnattested = errors.New("nobody vouches for the key of this log yet")

// exchange offers the newest checkpoint to one node and keeps its cosignature.
func (d *Desk) exchange(ctx context.Context, x cosign.Exchange) error {
	switch features := d.Features(x.Other); {
	case features == nil:
		return fmt.Errorf("%s was not met: %w", x.Other, peer.ErrUnreachable)
	case !slices.Contains(features, peer.FeatureCosign):
		return nil // it does not, and that is its right
	}
	if err := d.meet(ctx, x.Own, x.Other); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	word, ok, err := d.Keeper.Attestation(ctx, time.Now())
	if err != nil || !ok {
		return errors.Join(err, errUnattested)
	}
	c, err := d.Keeper.Sign(ctx)
	if err != nil {
		return err
	}
	s, _, err := d.Contacts.Load(ctx, string(x.Other))
	if err != nil {
		return err
	}
	last, _ := s.Last(c.Origin)
	from := last.Size
	for range 2 {
		known, err := d.offer(ctx, x, c, word, from)
		if known == nil || err != nil {
			return err
		}
		if from, err = d.behind(ctx, x, c, known); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not say which checkpoint it cosigned last: %w", x.Other, peer.ErrNoAnswer)
}

// offer sends a checkpoint that continues one of from events. known is set
// when the other one cosigned another.
func (d *Desk) offer(ctx context.Context, x cosign.Exchange, c ledger.Checkpoint, word peer.Delegation, from uint64) (known *peer.CheckpointKnown, err error) {
	m := peer.CosignCheckpoint{Attestation: word, From: int64(from), Note: string(c.Note)} //nolint:gosec // below 2^53
	if from > 0 {
		hashes, err := d.Keeper.ConsistencyProof(ctx, from, c.Size)
		if err != nil {
			return nil, err
		}
		for i := range hashes {
			m.Consistency = append(m.Consistency, hashes[i][:])
		}
	}
	reply, err := d.Peers.Call(ctx, x.Own, x.Other, m)
	if err != nil {
		return nil, err
	}
	switch reply := reply.(type) {
	case peer.CheckpointCosigned:
		return nil, d.keep(ctx, x, c, reply)
	case peer.CheckpointKnown:
		return &reply, nil
	}
	return nil, fmt.Errorf("%s was answered with %s: %w", m.Kind(), reply.Kind(), peer.ErrNoAnswer)
}

// keep writes down a cosignature that holds.
func (d *Desk) keep(ctx context.Context, x cosign.Exchange, c ledger.Checkpoint, r peer.CheckpointCosigned) error {
	note := string(c.Note) + r.Line
	at, err := d.Keeper.Cosigned(x.Other, []byte(note), r.Attestation)
	if err != nil {
		return err
	}
	_, err = d.Contacts.Do(ctx, string(x.Other), contact.Cosign{Fact: contact.CheckpointCosigned{
		Attestation: r.Attestation, At: at, By: x.Other, Node: x.Other, Note: note, Origin: c.Origin, Root: c.Root.String(), Size: c.Size,
	}}, es.Meta{
		Key: fmt.Sprintf("cosigned/%s/%d", c.Origin, c.Size), Actor: es.ActorPeer, Identity: string(x.Own), Peer: string(x.Other), Grade: es.GradeSigned,
	})
	return err
}

// behind is the size that the other one cosigned last. When that is not of this
// log, this is an old or another copy of the one that was signed, and the node
// stops acting.
func (d *Desk) behind(ctx context.Context, x cosign.Exchange, c ledger.Checkpoint, known *peer.CheckpointKnown) (uint64, error) {
	k, err := d.held(ctx, x.Other, known.Note)
	if err != nil {
		return 0, err
	}
	return min(k.Size, c.Size), nil
}

// hear asks a node once what it saw of our log.
func (d *Desk) hear(ctx context.Context, x cosign.Exchange) error {
	d.mu.Lock()
	done := d.asked[x.Other]
	d.mu.Unlock()
	if done || !slices.Contains(d.Features(x.Other), peer.FeatureAsked) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	reply, err := d.Peers.Call(ctx, x.Own, x.Other, peer.AskCheckpoint{Origin: d.Keeper.Origin()})
	if err != nil {
		return err
	}
	if known, ok := reply.(peer.CheckpointKnown); ok && known.Note != "" {
		_, err := d.held(ctx, x.Other, known.Note)
		if _, foreign := effects.RefusalOf(err); foreign {
			d.Logger.Warn("a node shows a checkpoint that is not ours, it counts for nothing", "node", x.Other, "error", err)
		} else if err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[x.Other] = true
	return nil
}

// held reads a checkpoint of ours that another node shows, and holds the log
// against it. What we did not sign shows nothing: nobody else can keep this
// node from acting.
func (d *Desk) held(ctx context.Context, node identity.NodeID, note string) (ledger.Checkpoint, error) {
	k, err := d.Keeper.Own([]byte(note))
	if err != nil {
		return k, &peer.Refusal{Code: peer.BadRequest, Text: fmt.Sprintf("%s shows a checkpoint that this node did not sign: %v", node, err)}
	}
	ok, err := d.Keeper.Extends(ctx, k)
	if err != nil || ok {
		return k, err
	}
	f := ledger.Frozen{Kind: ledger.Cosigned, Node: node, Note: note, Signed: int64(k.Size)} //nolint:gosec // below 2^53
	return k, errors.Join(&ledger.Held{Findings: []ledger.Frozen{f}}, d.Freeze(context.WithoutCancel(ctx), f))
}

// meet writes down which hosts speak for a node, for its messages to be proved.
func (d *Desk) meet(ctx context.Context, own, node identity.NodeID) error {
	d.mu.Lock()
	h, ok := d.hellos[node]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	var mine []peer.Delegation
	for _, word := range h.Delegations {
		if doc, err := delegation.Parse([]byte(word.Document)); err == nil && doc.Identity == node && doc.Role == delegation.Host {
			mine = append(mine, word)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	sum := sha256.Sum256([]byte(mine[len(mine)-1].Document))
	_, err := d.Contacts.Do(ctx, string(node), contact.Meet{Delegations: mine, Features: h.Features, Node: node, Version: h.Version}, es.Meta{
		Key: fmt.Sprintf("met/%x", sum[:8]), Actor: es.ActorPeer, Identity: string(own), Peer: string(node), Grade: es.GradeSigned,
	})
	return err
}
