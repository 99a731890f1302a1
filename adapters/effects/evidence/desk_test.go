package evidence_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/evidence"
	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/identity/delegation"
	dledger "github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/saga/cosign"
	"github.com/emet-node/emet/eventschemas"
)

// node is a log with a desk; calls go straight to the other node's desk.
type node struct {
	t       *testing.T
	id      identity.NodeID
	secret  *ecdsa.PrivateKey
	log     *es.Log
	keeper  *ledger.Keeper
	desk    *evidence.Desk
	key     ed25519.PrivateKey
	other   *node
	watch   *ledger.Watch
	dir     string
	store   *segment.Store
	run     func()                                            // ends what runs
	sent    func(peer.CosignCheckpoint) peer.CosignCheckpoint // changes what goes out
	answers *peer.CheckpointKnown                             // instead of what the other node would say
	silent  atomic.Pointer[chan struct{}]                     // until it is closed nobody answers
}

func newNode(t *testing.T, seed string) *node {
	t.Helper()
	return nodeIn(t, seed, t.TempDir())
}

// nodeIn is a node on a directory that may hold a log.
func nodeIn(t *testing.T, seed, dir string) *node {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	secret, err := crypto.ToECDSA(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, secret: secret, id: identity.NodeIDFrom(crypto.PubkeyToAddress(secret.PublicKey)), key: ed25519.NewKeyFromSeed(sum[:])}
	n.dir = dir
	store, err := segment.Open(filepath.Join(dir, "store"), segment.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // a test's own
	n.store = store
	n.log = &es.Log{Store: store, Codec: eventschemas.New()}
	n.watch = ledger.NewWatch(n.log, nil)
	n.keeper, err = ledger.Open(t.Context(), n.log, ledger.Options{
		Dir: filepath.Join(dir, "store"), Disk: vfs.Files{FS: vfs.OS{}}, LogID: store.LogID(), Identity: n.id, Key: n.key, Attest: n.attest, Hold: n.watch.Held,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.desk = &evidence.Desk{
		Contacts: es.NewAggregate(n.log, contact.Category, contact.Rules), Keeper: n.keeper, Peers: n, Settle: time.Millisecond,
		Features: func(identity.NodeID) []string { return []string{peer.FeatureCosign, peer.FeatureAsked} },
		Local:    func(id identity.NodeID) bool { return id == n.id }, Logger: slog.New(slog.DiscardHandler),
		Freeze: n.watch.Freeze, Held: n.watch.Held,
	}
	return n
}

func (n *node) attest(_ context.Context, d delegation.Document) (peer.Delegation, error) {
	text, err := d.Canonical()
	if err != nil {
		return peer.Delegation{}, err
	}
	digest := d.Digest(crypto.Keccak256)
	sig, err := crypto.Sign(digest[:], n.secret)
	return peer.Delegation{Document: string(text), Signature: sig}, err
}

// Call implements effects.Peers.
func (n *node) Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error) {
	if c := n.silent.Load(); c != nil {
		select {
		case <-*c:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if n.answers != nil {
		return *n.answers, nil
	}
	if c, ok := m.(peer.CosignCheckpoint); ok && n.sent != nil {
		m = n.sent(c)
	}
	return n.other.desk.Answers().HandleCall(ctx, peer.Caller{
		Node: from, To: to, Via: "memory", SentAt: time.Now().UTC(), Raw: []byte(`{"note":"as it was signed"}`), MessageID: time.Now().String(),
	}, m)
}

// Stream implements effects.Peers.
func (n *node) Stream(context.Context, identity.NodeID, identity.NodeID, peer.Message) iter.Seq2[peer.Message, error] {
	return nil
}

func (n *node) grow(count int) {
	n.t.Helper()
	for range count {
		_, err := n.log.Append(n.t.Context(), es.Meta{Key: time.Now().String()}, nil, es.Facts{
			Stream: "x-" + es.Stream(time.Now().Format("150405.000000000")), Expected: es.NoStream, Facts: []any{dledger.Repaired{Detail: "x"}},
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *node) head() es.Position {
	p, err := n.log.Store.Head(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func (n *node) knows(other *node) contact.State {
	s, _, err := n.desk.Contacts.Load(n.t.Context(), string(other.id))
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) step() {
	n.t.Helper()
	if err := n.desk.Handle(n.t.Context(), string(n.other.id), cosign.Exchange{Own: n.id, Other: n.other.id}, es.Meta{}); err != nil {
		n.t.Fatal(err)
	}
}

// cosigned waits until the other node has cosigned all that this one has.
func (n *node) cosigned() contact.CheckpointCosigned {
	n.t.Helper()
	c, err := n.keeper.Sign(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	var got contact.CheckpointCosigned
	wait(n.t, func() bool {
		got, _ = n.knows(n.other).Last(c.Origin)
		return got.Size >= c.Size-2
	})
	return got
}

// patience is what anything here may take that a busy machine does late.
const patience = 2 * time.Minute

func wait(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
	}
}

func (n *node) begin() {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.desk.Run(ctx) }() //nolint:errcheck // it ends with the test
	n.run = func() { cancel(); <-done }
	n.t.Cleanup(n.run)
}

func pair(t *testing.T) (a, b *node) {
	t.Helper()
	a, b = newNode(t, "a"+t.Name()), newNode(t, "b"+t.Name())
	a.other, b.other = b, a
	a.begin()
	b.begin()
	a.grow(3)
	b.grow(3)
	a.step()
	b.step()
	a.cosigned()
	b.cosigned()
	return a, b
}

func TestBothStandByEachOthersLogs(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	a.grow(20)
	a.step()
	got := a.cosigned()
	if _, err := a.keeper.Cosigned(b.id, []byte(got.Note), got.Attestation); err != nil {
		t.Errorf("what is kept does not hold: %v", err)
	}
	given, ok := b.knows(a).Last(got.Origin)
	if !ok || given.By != b.id || given.Size != got.Size || given.Root != got.Root {
		t.Errorf("b wrote down %+v", given)
	}
	if n := len(a.knows(b).Conflicts) + len(b.knows(a).Conflicts); n != 0 {
		t.Errorf("%d conflicts between honest nodes", n)
	}
}

// Cosigning does not feed itself: what it writes down asks for nothing.
func TestAnIdleLogDoesNotGrow(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	time.Sleep(20 * time.Millisecond)
	before, other := a.head(), b.head()
	for range 50 {
		time.Sleep(time.Millisecond)
		if a.head() != before || b.head() != other {
			t.Fatal("the logs grow by themselves")
		}
	}
}

// The trade does not wait: a wish is noted at once, while nobody answers, and is
// carried out when the other node is back.
func TestAStepNeverWaits(t *testing.T) {
	t.Parallel()
	a, _ := pair(t)
	silent := make(chan struct{})
	a.silent.Store(&silent)
	a.grow(5)
	stepped := make(chan struct{})
	go func() {
		defer close(stepped)
		for range 1000 {
			a.step()
		}
	}()
	select {
	case <-stepped:
	case <-time.After(patience):
		t.Error("a step waits for an answer")
	}
	close(silent)
	<-stepped
	a.step()
	a.cosigned()
}

func TestLiesAboutALogAreKept(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]struct {
		kind contact.Conflict
		tell func(t *testing.T, a *node) func(peer.CosignCheckpoint) peer.CosignCheckpoint
	}{
		"a fork of the same size": {contact.Forked, func(t *testing.T, a *node) func(peer.CosignCheckpoint) peer.CosignCheckpoint {
			last, _ := a.knows(a.other).Last(checkpoint(t, a).Origin)
			return other(t, a, last.Size, 0)
		}},
		"a longer fork": {contact.Forked, func(t *testing.T, a *node) func(peer.CosignCheckpoint) peer.CosignCheckpoint {
			last, _ := a.knows(a.other).Last(checkpoint(t, a).Origin)
			return other(t, a, last.Size+100, last.Size)
		}},
		"a shorter log": {contact.RolledBack, func(t *testing.T, a *node) func(peer.CosignCheckpoint) peer.CosignCheckpoint {
			return other(t, a, 2, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			a.sent = lie.tell(t, a)
			a.grow(2)
			a.step()
			wait(t, func() bool { return len(b.knows(a).Conflicts) > 0 })
			c := b.knows(a).Conflicts[0]
			if c.Kind != lie.kind || c.Node != a.id || len(c.Raw) == 0 {
				t.Errorf("%+v", c)
			}
			for _, note := range []string{c.First, c.Second} {
				if _, err := a.keeper.Own([]byte(note)); err != nil {
					t.Errorf("a statement that the liar did not sign: %v", err)
				}
			}
			last, _ := b.knows(a).Last(c.Origin)
			if last.Note == c.Second {
				t.Error("the lie was cosigned")
			}
		})
	}
}

func checkpoint(t *testing.T, n *node) dledger.Checkpoint {
	t.Helper()
	c, err := n.keeper.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// other signs, with the key of the log, a checkpoint that is not of it.
func other(t *testing.T, n *node, size, from uint64) func(peer.CosignCheckpoint) peer.CosignCheckpoint {
	t.Helper()
	twin := newNode(t, "twin")
	twin.grow(int(size)) //nolint:gosec // small
	root, err := twin.keeper.RootAt(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	origin := checkpoint(t, n).Origin
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
	sum := sha256.Sum256([]byte(origin + "\n\x01" + string(n.keeper.Key().Public)))
	line := "— " + origin + " " + base64.StdEncoding.EncodeToString(append(sum[:4:4], ed25519.Sign(n.key, []byte(text))...)) + "\n"
	return func(m peer.CosignCheckpoint) peer.CosignCheckpoint {
		m.Note, m.From = text+"\n"+line, int64(from) //nolint:gosec // small
		return m
	}
}

// A message that was on its way for long is no lie.
func TestAnOldMessageIsNoLie(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	early := checkpoint(t, a)
	sent := time.Now().UTC()
	a.grow(5)
	a.step()
	a.cosigned()
	word, _, err := a.keeper.Attestation(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: a.id, To: b.id, SentAt: sent, MessageID: "late"},
		peer.CosignCheckpoint{Attestation: word, Note: string(early.Note)})
	if _, ok := got.(peer.CheckpointKnown); !ok || err != nil {
		t.Errorf("%#v %v", got, err)
	}
	if n := len(b.knows(a).Conflicts); n != 0 {
		t.Errorf("%d conflicts", n)
	}
}

func TestStrangersAreNotServed(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, "a"), newNode(t, "b")
	a.grow(3)
	c := checkpoint(t, a)
	word, _, err := a.keeper.Attestation(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	before := b.head()
	_, err = b.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: a.id, To: b.id, SentAt: time.Now(), MessageID: "x"},
		peer.CosignCheckpoint{Attestation: word, Note: string(c.Note)})
	var no *peer.Refusal
	if !errors.As(err, &no) || no.Code != peer.Busy || b.head() != before {
		t.Errorf("%v, and the log grew by %d", err, b.head()-before)
	}
	if _, ok := effects.RefusalOf(err); !ok {
		t.Error("it is no refusal")
	}
}

// Only what the caller's own identity vouches for is taken.
func TestTheLogOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	eve := newNode(t, "eve")
	eve.grow(3)
	c := checkpoint(t, eve)
	word, _, err := eve.keeper.Attestation(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: a.id, To: b.id, SentAt: time.Now(), MessageID: "y"},
		peer.CosignCheckpoint{Attestation: word, Note: string(c.Note)})
	if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.BadRequest {
		t.Errorf("%v", err)
	}
}
