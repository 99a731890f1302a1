package libp2p

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/peer"
)

// self is what this host says of itself.
type self struct {
	hello  peer.Hello
	byNode map[identity.NodeID]peer.Delegation
	nodes  []identity.NodeID // in the order of the delegations
}

func (n *Net) loadSelf() {
	me := &self{byNode: make(map[identity.NodeID]peer.Delegation)}
	for _, d := range n.cfg.Delegations() {
		doc, err := prove(n.host.ID(), d)
		if err != nil {
			n.cfg.Log.Warn("an identity is not announced: its delegation does not count", "error", err)
			continue
		}
		if _, twice := me.byNode[doc.Identity]; !twice {
			me.nodes = append(me.nodes, doc.Identity)
		}
		me.byNode[doc.Identity] = d
	}
	me.hello = peer.Hello{Delegations: []peer.Delegation{}, Features: net.AllFeatures(), Version: n.cfg.Version}
	for _, id := range me.nodes {
		me.hello.Delegations = append(me.hello.Delegations, me.byNode[id])
	}
	n.mine.Store(me)
}

// hello is what this host says to another.
func (n *Net) hello() peer.Hello {
	h := n.mine.Load().hello
	h.Addrs = addrsOf(lpeer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}).Addrs
	return h
}

// Refresh asks for the delegations again and tells them to all connected
// hosts. Call it when an identity was unlocked, dropped, or its delegation renewed.
func (n *Net) Refresh(ctx context.Context) {
	n.loadSelf()
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.sessions))
	n.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			s.forget()
			n.meet(ctx, s) //nolint:errcheck // it will be met when it is needed
		})
	}
	wg.Wait()
}

// ours says whether this host can prove an identity.
func (n *Net) ours(id identity.NodeID) bool {
	_, ok := n.mine.Load().byNode[id]
	return ok
}

// proofs remembers which delegations were checked: a signature takes a while.
type proofs struct {
	mu   sync.Mutex
	seen map[[32]byte]delegation.Document
}

// prove checks that a delegation binds an identity to a host, now.
func (p *proofs) prove(host lpeer.ID, d peer.Delegation) (delegation.Document, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%x\x00%s", host, d.Signature, d.Document)
	key := [32]byte(h.Sum(nil))
	p.mu.Lock()
	doc, ok := p.seen[key]
	p.mu.Unlock()
	if ok {
		return doc, doc.ValidAt(time.Now())
	}
	doc, err := prove(host, d)
	if err != nil {
		return doc, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) >= 4096 {
		p.seen = make(map[[32]byte]delegation.Document)
	}
	p.seen[key] = doc
	return doc, nil
}

var errProof = errors.New("delegation does not prove the identity")

func prove(host lpeer.ID, d peer.Delegation) (delegation.Document, error) {
	doc, err := delegation.Parse([]byte(d.Document))
	if err != nil {
		return doc, err
	}
	key, err := host.ExtractPublicKey()
	if err != nil {
		return doc, err
	}
	public, err := crypto.MarshalPublicKey(key)
	if err != nil {
		return doc, err
	}
	switch {
	case doc.Role != delegation.Host:
		return doc, fmt.Errorf("%w: its role is %s", errProof, doc.Role)
	case doc.Subject != host.String() || doc.PublicKey != hex.EncodeToString(public):
		return doc, fmt.Errorf("%w: it is for the host %s", errProof, doc.Subject)
	}
	if err := doc.ValidAt(time.Now()); err != nil {
		return doc, err
	}
	return doc, signedBy(doc, d.Signature)
}

// signedBy checks r‖s‖v, v 0 or 1, s in the lower half.
func signedBy(doc delegation.Document, sig []byte) error {
	if len(sig) != 65 || !ethcrypto.ValidateSignatureValues(sig[64], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64]), true) {
		return fmt.Errorf("%w: its signature is malformed", errProof)
	}
	digest := doc.Digest(ethcrypto.Keccak256)
	key, err := ethcrypto.SigToPub(digest[:], sig)
	if err != nil {
		return fmt.Errorf("%w: %w", errProof, err)
	}
	if got := identity.NodeIDFrom(ethcrypto.PubkeyToAddress(*key)); got != doc.Identity {
		return fmt.Errorf("%w: %s signed for %s", errProof, got, doc.Identity)
	}
	return nil
}

// session is what is known of a connected host.
type session struct {
	id       lpeer.ID
	meeting  chan struct{} // holds one token: who has it may say Hello
	messages *bucket
	bytes    *bucket

	mu       sync.Mutex
	met      bool
	nodes    map[identity.NodeID]time.Time // proved until
	listed   map[identity.NodeID]bool      // whose offers were asked for
	features []string
	version  string
	pairs    map[[2]identity.NodeID]*pair // by own and other node
}

// pair counts the envelopes between two nodes.
type pair struct {
	sent, had uint64
	head      es.Hash
}

// session returns that of a connected host, nil for one that is gone.
func (n *Net) session(id lpeer.ID) *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.sessions[id]; ok {
		return s
	}
	if n.host.Network().Connectedness(id) != network.Connected {
		return nil
	}
	l := n.cfg.Limits
	s := &session{
		id: id, meeting: make(chan struct{}, 1), messages: newBucket(l.MessagesRate, float64(l.MessageBurst)),
		bytes: newBucket(l.BytesRate, 2*l.BytesRate), pairs: make(map[[2]identity.NodeID]*pair),
	}
	s.meeting <- struct{}{}
	n.sessions[id] = s
	return s
}

func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met = false
}

func (s *session) isMet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met
}

// proved says whether the host speaks for a node now.
func (s *session) proved(id identity.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.nodes[id]
	return ok && !time.Now().After(until)
}

func (s *session) status() net.PeerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return net.PeerStatus{Nodes: slices.Sorted(maps.Keys(s.nodes)), Features: slices.Clone(s.features), Version: s.version}
}

// unlisted returns at most 8 nodes whose offers were not asked for; all when
// again is set.
func (s *session) unlisted(again bool) []identity.NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listed == nil || again {
		s.listed = make(map[identity.NodeID]bool)
	}
	var out []identity.NodeID
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		if !s.listed[id] && len(out) < 8 {
			s.listed[id] = true
			out = append(out, id)
		}
	}
	return out
}

// acquainted says whether the envelopes between two nodes are counted: one is
// here, and the host has proved the other. Those between hosts are, too.
func (n *Net) acquainted(s *session, own, other identity.NodeID) bool {
	return own == "" && other == "" || n.ours(own) && s.proved(other)
}

// number fills in the counters of an envelope that is about to be sent.
func (s *session) number(e *net.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pair(e.From, e.To)
	p.sent++
	e.Seq, e.AckSeq, e.Head = p.sent, p.had, p.head
}

// received notes an envelope of the other.
func (s *session) received(e net.Envelope, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pair(e.To, e.From)
	p.had, p.head = e.Seq, sha256.Sum256(frame)
}

func (s *session) pair(own, other identity.NodeID) *pair {
	k := [2]identity.NodeID{own, other}
	if s.pairs[k] == nil {
		s.pairs[k] = new(pair)
	}
	return s.pairs[k]
}

// meet makes sure that both hosts said Hello.
func (n *Net) meet(ctx context.Context, s *session) error {
	select {
	case <-s.meeting:
		defer func() { s.meeting <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.isMet() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	body, err := net.Encode(n.hello())
	if err != nil {
		return err
	}
	m, err := n.ask(ctx, s, n.envelope(ctx, "", "", peer.Hello{}.Kind(), body))
	if err != nil {
		return fmt.Errorf("hello to %s: %w", s.id, err)
	}
	h, ok := m.(peer.Hello)
	if !ok {
		return fmt.Errorf("hello to %s: answered with %s", s.id, m.Kind())
	}
	n.greeted(s, h)
	return nil
}

// greeted notes who a host speaks for from now on, and returns those for whom
// it did before and does no more: nothing is kept of them.
func (s *session) greeted(nodes map[identity.NodeID]time.Time, features []string, version string) (before []identity.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.nodes {
		if _, still := nodes[id]; !still {
			before = append(before, id)
			delete(s.listed, id)
		}
	}
	maps.DeleteFunc(s.pairs, func(k [2]identity.NodeID, _ *pair) bool { return slices.Contains(before, k[1]) })
	s.met, s.nodes, s.features, s.version = true, nodes, features, version
	return before
}

// words are the first features of a Hello, without those that are too long to
// be one.
func words(features []string) []string {
	features = slices.Clone(features[:min(len(features), maxNodes)])
	return slices.DeleteFunc(features, func(f string) bool { return len(f) > maxWord })
}

// greeted takes over what a host says of itself. Delegations that prove
// nothing are passed over: the host then cannot speak for that identity.
func (n *Net) greeted(s *session, h peer.Hello) {
	nodes := make(map[identity.NodeID]time.Time)
	for _, d := range h.Delegations[:min(len(h.Delegations), maxNodes)] {
		doc, err := n.proofs.prove(s.id, d)
		if err != nil {
			n.cfg.Log.Debug("a delegation does not count", "host", s.id, "error", err)
			continue
		}
		nodes[doc.Identity] = time.Unix(doc.NotAfter, 0)
	}
	features := words(h.Features)
	n.mu.Lock()
	n.known.addresses(s.id, parseAddrs(h.Addrs))
	for id := range nodes {
		n.known.proved(id, s.id, features)
	}
	n.mu.Unlock()
	n.save() // before anything is agreed: this host may be gone in a moment
	if before := s.greeted(nodes, features, h.Version[:min(len(h.Version), maxWord)]); len(before) > 0 {
		n.mu.Lock()
		for _, id := range before {
			n.known.left(id, s.id)
		}
		n.mu.Unlock()
		n.changed()
	}
	for id := range nodes {
		n.cfg.Met(id, h)
	}
	n.spawn(func() { n.list(s, false) })
}
