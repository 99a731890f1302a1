package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/eventschemas"
)

const alice identity.NodeID = "0x00000000000000000000000000000000000000a1"

var logKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// home is a store in a directory with what keeps its ledger.
type home struct {
	t     testing.TB
	dir   string
	store logStore
	log   *es.Log
	n     int
}

// logStore is a store with a tree.
type logStore interface {
	es.Store
	LogID() [16]byte
	Root() (uint64, es.Hash)
	Close() error
}

// fleeting is a home whose store is in memory, for fake time: what the segment
// engine pools must not wander between bubbles.
func fleeting(t testing.TB, dir string) *home {
	s := newMemoryLog()
	return &home{t: t, dir: dir, store: s, log: &es.Log{Store: s, Codec: eventschemas.New()}}
}

func openHome(t testing.TB, dir string) *home {
	t.Helper()
	s, err := segment.Open(dir, segment.Options{SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &home{t: t, dir: dir, store: s, log: &es.Log{Store: s, Codec: eventschemas.New()}}
}

func (h *home) options() Options {
	return Options{Dir: h.dir, LogID: h.store.LogID(), Identity: alice, Key: logKey, Disk: realDisk}
}

func (h *home) keeper() *Keeper {
	h.t.Helper()
	k, err := Open(context.Background(), h.log, h.options())
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

// say appends n events of one type, to a stream of its own, in one go.
func (h *home) say(typ string, n int) {
	h.t.Helper()
	stream := es.StreamOf("test", strings.ReplaceAll(typ, ".", ""))
	for n > 0 {
		events := make([]es.NewEvent, min(n, 1000))
		for i := range events {
			h.n++
			head, _ := h.store.Head(context.Background())
			events[i] = es.NewEvent{ID: es.EventID(stream, "k", int(head)*100_000+h.n), Type: typ, Data: []byte(`{"a":1}`), Meta: []byte(`{}`)}
		}
		if _, err := h.store.Append(context.Background(), nil, es.Write{Stream: stream, Expected: es.Any, Events: events}); err != nil {
			h.t.Fatal(err)
		}
		n -= len(events)
	}
}

func (h *home) onDisk() ledger.Checkpoint {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, checkpointName))
	if err != nil {
		return ledger.Checkpoint{}
	}
	c, err := parseCheckpoint(b)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func TestACheckpointIsANoteThatOthersCanRead(t *testing.T) {
	t.Parallel()
	h := openHome(t, t.TempDir())
	k := h.keeper()
	if _, err := k.Sign(t.Context()); !errors.Is(err, ledger.ErrUnsigned) {
		t.Errorf("an empty log: %v", err)
	}
	h.say("a.v1", 300)
	c, err := k.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size, root := h.store.Root()
	if c.Size != size || c.Root != root || c.Origin != ledger.Origin(alice, h.store.LogID()) {
		t.Errorf("%+v", c)
	}
	v, err := note.NewVerifier(k.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(c.Note, note.VerifierList(v)); err != nil || !strings.HasPrefix(n.Text, "emet/0x") {
		t.Errorf("%v %v", n, err)
	}
	mine, err := verify.Checkpoint(c.Note, k.Key())
	if err != nil || mine.Size != c.Size || mine.Root != c.Root || mine.Origin != c.Origin {
		t.Errorf("%+v %v", mine, err)
	}
	if got := h.onDisk(); !bytes.Equal(got.Note, c.Note) {
		t.Error("another is on disk")
	}
	if again, err := k.Sign(t.Context()); err != nil || !bytes.Equal(again.Note, c.Note) {
		t.Error("what was signed is signed again")
	}
	for _, path := range []string{"0/000", "0/001.p/44", "1/000.p/1"} {
		if _, err := os.Stat(filepath.Join(h.dir, "tile", filepath.FromSlash(path))); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLogKeepsItsNameAndBindsItsNextKey(t *testing.T) {
	t.Parallel()
	h := openHome(t, t.TempDir())
	h.say("a.v1", 3)
	first, err := h.keeper().Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Identity = "0x00000000000000000000000000000000000000b2"
	o.Key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	k, err := Open(t.Context(), h.log, o)
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.Sign(t.Context())
	if err != nil || second.Origin != first.Origin || second.Size != first.Size {
		t.Fatalf("%+v %v", second, err)
	}
	if _, err := verify.Checkpoint(second.Note, k.Key()); err != nil {
		t.Error(err)
	}
}

// A log that lost its end, or has another beginning, is not signed any more,
// neither at the start nor while it runs.
func TestNothingIsSignedThatContradictsWhatWasSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHome(t, dir)
	h.say("a.v1", 40)
	k := h.keeper()
	signed, err := k.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		size uint64
		seed byte
	}{"shorter": {39, 1}, "another": {40, 1}, "another, longer": {50, 1}, "nothing": {0, 1}} {
		s := (&leafStore{seed: c.seed}).grow(c.size)
		log := *h.log
		log.Store = forged{s, h.store}
		if _, err := Open(t.Context(), &log, h.options()); !isRewritten(err) || !errors.Is(err, es.ErrCorrupt) {
			t.Errorf("%s: opened, %v", name, err)
		}
		if _, err := OpenReader(t.Context(), log.Store, realDisk, dir, h.store.LogID(), signed); !isRewritten(err) {
			t.Errorf("%s: read, %v", name, err)
		}
		running := *k.Reader
		running.Tree = treeOf(t, log.Store, files{dir: dir, disk: realDisk})
		keeper := &Keeper{Reader: &running, o: k.o, log: &log, signer: k.signer, logger: k.logger, newest: signed}
		if _, err := keeper.Sign(t.Context()); !isRewritten(err) {
			t.Errorf("%s: signed, %v", name, err)
		}
		if err := keeper.Run(t.Context()); !isRewritten(err) {
			t.Errorf("%s: ran, %v", name, err)
		}
		if now := h.onDisk(); !bytes.Equal(now.Note, signed.Note) {
			t.Fatalf("%s: the checkpoint was replaced", name)
		}
	}
}

type forged struct {
	*leafStore
	real es.Store
}

func (f forged) ReadStream(ctx context.Context, s es.Stream, from es.Revision, d es.Direction, n int) iter.Seq2[es.Event, error] {
	return f.real.ReadStream(ctx, s, from, d, n)
}

func (f forged) Subscribe(ctx context.Context, after *es.Position, x es.Filter) es.Subscription {
	return f.real.Subscribe(ctx, nil, x)
}

// Every damage to the file of the last checkpoint is seen before anything is
// signed over it.
func TestADamagedCheckpointIsNotSignedOver(t *testing.T) {
	t.Parallel()
	h := openHome(t, t.TempDir())
	h.say("a.v1", 9)
	k := h.keeper()
	c, err := k.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(h.dir, checkpointName)
	text := bytes.Index(c.Note, []byte("\n\n"))
	for i := range text {
		b := bytes.Clone(c.Note)
		b[i] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), h.log, h.options())
		if !errors.Is(err, es.ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if other := (*ledger.Rewritten)(nil); errors.As(err, &other) { // the log is what it was
			t.Fatalf("byte %d is taken for another history: %v", i, err)
		}
	}
	for _, b := range [][]byte{nil, c.Note[:text], []byte("\n\n"), c.Note[text:]} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), h.log, h.options()); !errors.Is(err, es.ErrCorrupt) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// What cannot be made durable is not shown.
func TestACheckpointIsShownWhenItIsDurable(t *testing.T) {
	t.Parallel()
	h := openHome(t, t.TempDir())
	k := h.keeper()
	h.say("a.v1", 2)
	blocked := filepath.Join(h.dir, checkpointName+".tmp")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Sign(t.Context()); err == nil {
		t.Fatal("it was signed")
	}
	if _, err := k.Checkpoint(t.Context()); !errors.Is(err, ledger.ErrUnsigned) {
		t.Errorf("it is shown: %v", err)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if c, err := k.Sign(t.Context()); err != nil || c.Size != 2 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestTheMomentsAreFactsThatThereAre(t *testing.T) {
	t.Parallel()
	known := eventschemas.New().Names()
	for _, m := range append([]string{unlocked, "$log.key_attested.v1"}, moments...) {
		if !slices.Contains(known, m) {
			t.Errorf("there is no fact %s", m)
		}
	}
}

// The policy, in fake time. Reading the file tells what is durable.
func TestWhenCheckpointsAreSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := fleeting(t, dir)
		h.say("a.v1", 1)
		k := h.keeper()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(10 * time.Millisecond) // off the ticks from here on
		expect := func(what string, size uint64) {
			t.Helper()
			if c := h.onDisk(); c.Size != size {
				t.Errorf("%s: %d events are signed, want %d", what, c.Size, size)
			}
		}
		expect("at the start", 1)
		h.say("a.v1", 5)
		time.Sleep(500 * time.Millisecond)
		expect("after half a second", 1)
		time.Sleep(500 * time.Millisecond)
		expect("after a second", 6)
		h.say(moments[0], 1)
		time.Sleep(5 * time.Millisecond)
		expect("at once", 7)
		h.say("a.v1", 4000)
		time.Sleep(5 * time.Millisecond)
		expect("after 4000", 7)
		h.say("a.v1", 96)
		time.Sleep(5 * time.Millisecond)
		expect("after 4096", 4103)
		h.say("a.v1", 1)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		expect("at the end", 4104)
		h.store.Close()
	})
}

// An idle log stays as it is: what is written about it is not written to it.
func TestAnIdleLogDoesNotGrow(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), aliceKeys(t)
	synctest.Test(t, func(t *testing.T) {
		h := fleeting(t, dir)
		h.say("a.v1", 1)
		o := h.options()
		o.Identity, o.Attest = keys.id, keys.SignDelegation
		k, err := Open(t.Context(), h.log, o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(2 * time.Second)
		head, _ := h.store.Head(ctx)
		before := h.onDisk()
		time.Sleep(time.Hour)
		if after, _ := h.store.Head(ctx); after != head || head != 2 {
			t.Errorf("from %d to %d events in an hour", head, after)
		}
		if c := h.onDisk(); c.Size != uint64(head) || !bytes.Equal(c.Note, before.Note) {
			t.Errorf("%d are signed, then %d", before.Size, c.Size)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		h.store.Close()
	})
}

type ownKeys struct {
	*secrets.Keys
	id identity.NodeID
}

func aliceKeys(t testing.TB) ownKeys {
	t.Helper()
	keys, err := secrets.OpenKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := keys.Import(strings.Repeat("0", 63)+"1", "")
	if err != nil {
		t.Fatal(err)
	}
	return ownKeys{keys, info.ID}
}

// The identity vouches once for each key. While it is locked the log works
// unattested, and it is asked again when it is unlocked.
func TestTheIdentityVouchesForTheKeyOnce(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), aliceKeys(t)
	synctest.Test(t, func(t *testing.T) {
		h := fleeting(t, dir)
		h.say("a.v1", 1)
		locked := true
		o := h.options()
		o.Identity = keys.id
		o.Attest = func(ctx context.Context, d delegation.Document) (peer.Delegation, error) {
			if locked {
				return peer.Delegation{}, secrets.ErrLocked
			}
			return keys.SignDelegation(ctx, d)
		}
		k, err := Open(t.Context(), h.log, o)
		if err != nil {
			t.Fatal(err)
		}
		attested := func() (bool, error) {
			a, err := Attestations(t.Context(), h.log)
			_, ok := a.Of(k.Key().Name, k.Key().Public, time.Now())
			return ok, err
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		if ok, err := attested(); ok || err != nil || h.onDisk().Size != 1 {
			t.Fatalf("locked: attested %v, %v", ok, err)
		}
		locked = false
		h.say(unlocked, 1)
		time.Sleep(50 * time.Millisecond)
		if ok, err := attested(); !ok || err != nil {
			t.Fatalf("unlocked: attested %v, %v", ok, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for range 2 {
			if _, err := Open(t.Context(), h.log, o); err != nil {
				t.Fatal(err)
			}
		}
		a, err := Attestations(t.Context(), h.log)
		if err != nil || len(a.Keys) != 1 {
			t.Fatalf("%d attestations, %v", len(a.Keys), err)
		}
		doc, err := verify.Delegation(peer.Delegation{Document: a.Keys[0].Document, Signature: a.Keys[0].Signature})
		if err != nil || doc.Role != delegation.Log || doc.Subject != k.Key().Name || doc.Identity != keys.id || doc.PublicKey != ledger.KeyOf(k.Key().Public) {
			t.Errorf("%+v %v", doc, err)
		}
		if _, ok := a.Of(k.Key().Name, k.Key().Public, time.Now().Add(ledger.AttestedFor)); ok {
			t.Error("it holds for ever")
		}
		h.store.Close()
	})
}
