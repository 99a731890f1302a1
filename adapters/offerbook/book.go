// Package offerbook is the index of live offers, of this node and of others.
// Offers of other nodes are no facts: the book learns them from gossip, keeps
// them in memory until they expire, and survives a restart by a snapshot file.
//
// Everything in it may have been written by strangers. Ids are checked against
// content, lives are capped, an identity may hold a few offers only, and
// nobody but its owner takes an offer back.
package offerbook

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/domain/peer"
)

// Why an offer is not taken or not given up.
var (
	ErrKnown     = errors.New("offer is known")
	ErrWithdrawn = errors.New("offer was withdrawn")
	ErrExpired   = errors.New("offer is expired")
	ErrTooLong   = errors.New("offer lives too long or was made in the future")
	ErrQuota     = errors.New("identity has too many offers")
	ErrFull      = errors.New("offer book is full")
	ErrNotOwner  = errors.New("not the owner of the offer")
	ErrForged    = errors.New("offer names an identity of this node")
)

// Options of a book. The zero value works.
type Options struct {
	MaxOffers   int    // 0 = 200 000
	MaxBytes    int    // of the texts of foreign offers, 0 = 256 MiB
	PerIdentity int    // foreign offers of one identity, 0 = 8
	File        string // snapshot, "" = none
	// Rand orders what is handed out, nil = by chance.
	Rand *rand.Rand
}

// Book is safe for concurrent use. Create it with [New].
type Book struct {
	opts Options

	mu         sync.RWMutex
	entries    map[string]*entry
	byOwner    map[identity.NodeID]int // foreign offers
	own        map[identity.NodeID]int
	bytes      int // of foreign offers
	tombstones map[grave]tombstone
	cursors    map[*Cursor]struct{}
	sequence   uint64
	swept      time.Time
}

type entry struct {
	offer     peer.Offer
	side      props.Side
	sequence  uint64
	own       bool
	malformed string // why clients that want linear prices must not see it
}

// grave is an offer and who took it back: what one says about the offer of
// another hides nothing.
type grave struct {
	id    string
	owner identity.NodeID
}

type tombstone struct {
	until time.Time
}

// size is what an offer costs in memory, about.
func (e *entry) size() int {
	return len(e.offer.Properties) + len(e.offer.Constraints) + len(e.offer.Signature) + 512
}

// New makes a book and reads its snapshot, if there is one. A snapshot that
// cannot be read is an empty one: gossip fills it again.
func New(o Options) *Book {
	if o.MaxOffers == 0 {
		o.MaxOffers = 200_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.PerIdentity == 0 {
		o.PerIdentity = 8
	}
	b := &Book{
		opts: o, entries: make(map[string]*entry), byOwner: make(map[identity.NodeID]int),
		own: make(map[identity.NodeID]int), tombstones: make(map[grave]tombstone), cursors: make(map[*Cursor]struct{}),
	}
	b.load(time.Now())
	return b
}

// AddOwn puts an offer of this node into the book. Known is no error.
func (b *Book) AddOwn(o peer.Offer) error {
	err := b.add(o, true, time.Now())
	if errors.Is(err, ErrKnown) {
		return nil
	}
	return err
}

// Add takes a foreign offer. It fails with one of this package's errors, with
// market.ErrInvalidID or market.ErrBadText; only the last two tell something
// about whoever sent it.
func (b *Book) Add(o peer.Offer) error { return b.add(o, false, time.Now()) }

func (b *Book) add(o peer.Offer, own bool, now time.Time) error {
	if !o.Expires.After(now) {
		return ErrExpired
	}
	if !own && (o.Expires.After(now.Add(market.MaxForeignLife)) || o.Created.After(now.Add(market.ClockTolerance))) {
		return ErrTooLong
	}
	e, err := compile(o, own)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	if err := b.admit(e); err != nil {
		return err
	}
	b.put(e)
	return nil
}

// compile checks what an offer says about itself. Constraints that cannot be
// read are no error of an own offer: it never matches.
func compile(o peer.Offer, own bool) (*entry, error) {
	switch id, err := identity.ParseNodeID(string(o.Provider)); {
	case err != nil:
		return nil, market.Errorf(market.ErrBadText, "offer [%s]: %s", o.ID, err)
	case id != o.Provider:
		return nil, market.Errorf(market.ErrBadText, "offer [%s]: node id %q: want it in lower case", o.ID, o.Provider)
	}
	if err := market.CheckTexts(o.Properties, o.Constraints); err != nil {
		return nil, err
	}
	content := market.Content{Properties: o.Properties, Constraints: o.Constraints, Owner: o.Provider, Created: o.Created, Expires: o.Expires}
	if err := market.CheckSubscription(o.ID, content); err != nil {
		return nil, err
	}
	e := &entry{offer: o, own: own}
	var err error
	if e.side.Properties, err = props.Compile(o.Properties); err != nil {
		return nil, market.Errorf(market.ErrBadText, "offer [%s]: %s", o.ID, err)
	}
	if e.side.Constraints, err = props.Parse(o.Constraints); err != nil && !own {
		return nil, market.Errorf(market.ErrBadText, "offer [%s]: constraints: %s", o.ID, err)
	}
	e.malformed = malformed(o.Properties)
	return e, nil
}

// malformed says why an offer's linear price cannot be computed, "" if it can.
// Clients that ask for linear prices break on such offers.
func malformed(properties string) string {
	f, err := props.ParseFlat(properties)
	if err != nil {
		return err.Error()
	}
	usage, ok := f.Strings("golem.com.usage.vector")
	if !ok || len(usage) == 0 {
		return "golem.com.usage.vector is not a list of counters"
	}
	coeffs, ok := f.Numbers("golem.com.pricing.model.linear.coeffs")
	if !ok || len(coeffs) != len(usage)+1 {
		return fmt.Sprintf("golem.com.pricing.model.linear.coeffs: want %d numbers", len(usage)+1)
	}
	return ""
}

// admit applies the quotas. The lock is held.
func (b *Book) admit(e *entry) error {
	o := e.offer
	if _, ok := b.entries[o.ID]; ok {
		return ErrKnown
	}
	if _, ok := b.tombstones[grave{o.ID, o.Provider}]; ok {
		return ErrWithdrawn
	}
	if e.own {
		return nil
	}
	switch {
	case b.own[o.Provider] > 0:
		return ErrForged
	case b.byOwner[o.Provider] >= b.opts.PerIdentity:
		return ErrQuota
	case len(b.entries) >= b.opts.MaxOffers, b.bytes+e.size() > b.opts.MaxBytes:
		return ErrFull
	}
	return nil
}

func (b *Book) put(e *entry) {
	b.sequence++
	e.sequence = b.sequence
	b.entries[e.offer.ID] = e
	if e.own {
		b.own[e.offer.Provider]++
	} else {
		b.byOwner[e.offer.Provider]++
		b.bytes += e.size()
	}
	for c := range b.cursors {
		c.consider(e)
	}
}

func (b *Book) drop(e *entry) {
	delete(b.entries, e.offer.ID)
	counts := b.byOwner
	if e.own {
		counts = b.own
	} else {
		b.bytes -= e.size()
	}
	if counts[e.offer.Provider]--; counts[e.offer.Provider] <= 0 {
		delete(counts, e.offer.Provider)
	}
	for c := range b.cursors {
		c.forget(e)
	}
}

// Remove takes an offer back on the word of its owner. An offer that is not
// known leaves a mark for an hour, so that late gossip of it is not taken.
func (b *Book) Remove(id string, by identity.NodeID) error {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	e, ok := b.entries[id]
	if !ok {
		if _, err := market.ParseSubscriptionID(id); err != nil {
			return err
		}
		if len(b.tombstones) < b.opts.MaxOffers {
			b.tombstones[grave{id, by}] = tombstone{until: now.Add(time.Hour)}
		}
		return nil
	}
	if e.offer.Provider != by {
		return ErrNotOwner
	}
	b.drop(e)
	b.tombstones[grave{id, by}] = tombstone{until: e.offer.Expires}
	return nil
}

// sweep forgets what is over, at most once a second: whoever offers more to a
// book that is full does not have it looked through.
func (b *Book) sweep(now time.Time) {
	if now.Sub(b.swept) < time.Second {
		return
	}
	b.swept = now
	for _, e := range b.entries {
		if !e.offer.Expires.After(now) {
			b.drop(e)
		}
	}
	for id, t := range b.tombstones {
		if !t.until.After(now) {
			delete(b.tombstones, id)
		}
	}
}

// Get returns those of the named offers that live, own and foreign. At most
// 200 ids are looked at.
func (b *Book) Get(ids []string) []peer.Offer {
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []peer.Offer
	for _, id := range ids[:min(len(ids), 200)] {
		if e, ok := b.entries[id]; ok && e.offer.Expires.After(now) {
			out = append(out, e.offer)
		}
	}
	return out
}

// Missing returns those of the ids that the book neither holds nor knows to be
// withdrawn: what to ask an announcer for.
func (b *Book) Missing(digests []peer.OfferDigest) []string {
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []string
	for _, d := range digests {
		_, known := b.entries[d.ID]
		_, gone := b.tombstones[grave{d.ID, d.Provider}]
		if !known && !gone && d.Expires.After(now) && !slices.Contains(out, d.ID) {
			out = append(out, d.ID)
		}
	}
	return out
}

// Own lists this node's live offers in the order they came.
func (b *Book) Own() []peer.Offer { return b.list(func(e *entry) bool { return e.own }) }

// All lists all live offers in the order they came.
func (b *Book) All() []peer.Offer { return b.list(func(*entry) bool { return true }) }

func (b *Book) list(want func(*entry) bool) []peer.Offer {
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	var found []*entry
	for _, e := range b.entries {
		if want(e) && e.offer.Expires.After(now) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(x, y *entry) int { return cmp.Compare(x.sequence, y.sequence) })
	out := make([]peer.Offer, len(found))
	for i, e := range found {
		out[i] = e.offer
	}
	return out
}

// Quarantined is an offer that clients who ask for linear prices never see.
type Quarantined struct {
	ID       string
	Provider identity.NodeID
	Why      string
}

// Quarantine lists the offers whose price cannot be computed.
func (b *Book) Quarantine() []Quarantined {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []Quarantined
	for id, e := range b.entries {
		if e.malformed != "" {
			out = append(out, Quarantined{ID: id, Provider: e.offer.Provider, Why: e.malformed})
		}
	}
	slices.SortFunc(out, func(x, y Quarantined) int { return strings.Compare(x.ID, y.ID) })
	return out
}
