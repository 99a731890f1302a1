package evidence_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// stop ends a node as a process ends.
func (n *node) stop() {
	n.t.Helper()
	n.run()
	if err := errors.Join(n.keeper.Close(), n.store.Close()); err != nil {
		n.t.Fatal(err)
	}
}

// from is the same node on another directory, or on its own again.
func (n *node) from(dir string) *node {
	n.t.Helper()
	again := nodeIn(n.t, "a"+n.t.Name(), dir)
	again.other, n.other.other = n.other, again
	again.begin()
	return again
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func (n *node) held() *ledger.Held {
	var held *ledger.Held
	errors.As(n.watch.Held(n.t.Context()), &held)
	return held
}

// met lets a node hear another's greeting.
func (n *node) met() {
	n.desk.Met(n.other.id, peer.Hello{Features: []string{peer.FeatureCosign, peer.FeatureAsked}})
}

// A node whose directory went back to an old copy learns it when it meets a
// node that cosigned more, also when it grew longer meanwhile.
func TestAnOldCopyActsNoMore(t *testing.T) {
	t.Parallel()
	for name, grown := range map[string]int{"shorter": 0, "longer": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			a.stop()
			old := copied(t, a.dir)
			a = a.from(a.dir)
			a.grow(20)
			a.step()
			a.cosigned()
			seen, _ := b.knows(a).Last(a.keeper.Origin())
			a.stop()

			a = a.from(old)
			a.grow(grown)
			a.met()
			wait(t, func() bool { return a.held() != nil })
			f := a.held().Findings[0]
			if f.Kind != ledger.Cosigned || f.Node != b.id || f.Signed != int64(seen.Size) || f.Note == "" { //nolint:gosec // small
				t.Errorf("%+v", f)
			}
			if _, err := a.keeper.Own([]byte(f.Note)); err != nil {
				t.Errorf("the proof is not our own signature: %v", err)
			}
			before, head := checkpointOf(a), a.head()
			a.grow(1)
			a.step()
			if _, err := a.keeper.Sign(t.Context()); !errors.Is(err, ledger.ErrHeld) || checkpointOf(a) != before {
				t.Errorf("it signs: %v", err)
			}
			word, _, _ := b.keeper.Attestation(t.Context(), time.Now())
			_, err := a.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: b.id, To: a.id, SentAt: time.Now(), MessageID: "z"},
				peer.CosignCheckpoint{Attestation: word, Note: string(checkpoint(t, b).Note)})
			if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.Busy {
				t.Errorf("it cosigns: %v", err)
			}
			a.met()
			time.Sleep(20 * time.Millisecond)
			if a.head() != head+1 {
				t.Error("it is written down again and again")
			}
			a.reconciled()
			a.stop()
			if a = a.from(old); a.held() != nil {
				t.Errorf("it is frozen after the operator's word: %v", a.held())
			}
		})
	}
}

// reconciled is the operator's word, without another name for the log.
func (n *node) reconciled() {
	n.t.Helper()
	s, err := n.watch.Standing(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = n.log.Append(n.t.Context(), es.Meta{Key: "reconciled"}, nil, es.Facts{
		Stream: ledger.LogStream, Expected: s.Revision, Facts: []any{ledger.Reconciled{At: time.Now().UTC(), LogID: s.LogID, Reason: "test"}},
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func checkpointOf(n *node) string {
	c, err := n.keeper.Checkpoint(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(c.Note)
}

// What comes in the ordinary course freezes nobody: restarts, meetings, a
// cosignature whose answer was lost.
func TestHonestNodesGoOn(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for range 3 {
		a.grow(3)
		a.step()
		a.cosigned()
		a.stop()
		a = a.from(a.dir)
		a.met()
		b.met()
	}
	word, _, _ := a.keeper.Attestation(t.Context(), time.Now())
	a.grow(2)
	last, _ := b.knows(a).Last(a.keeper.Origin())
	c := checkpoint(t, a)
	hashes, err := a.keeper.ConsistencyProof(t.Context(), last.Size, c.Size)
	if err != nil {
		t.Fatal(err)
	}
	m := peer.CosignCheckpoint{Attestation: word, From: int64(last.Size), Note: string(c.Note)} //nolint:gosec // small
	for _, h := range hashes {
		m.Consistency = append(m.Consistency, h[:])
	}
	got, err := b.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: a.id, To: b.id, SentAt: time.Now().UTC(), MessageID: "lost"}, m)
	if _, ok := got.(peer.CheckpointCosigned); !ok {
		t.Fatalf("%T %v", got, err)
	}
	a.stop()
	a = a.from(a.dir)
	a.met()
	a.step()
	a.cosigned()
	if a.held() != nil || b.held() != nil || len(b.knows(a).Conflicts) != 0 {
		t.Errorf("%v, %v, %v", a.held(), b.held(), b.knows(a).Conflicts)
	}
}

// Nobody can freeze a node with anything but its own signature.
func TestALyingPeerFreezesNobody(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	mine := checkpoint(t, a)
	theirs := other(t, b, mine.Size+100, 0)(peer.CosignCheckpoint{}).Note // signed by b, under b's name
	swapped := other(t, a, mine.Size+100, 0)(peer.CosignCheckpoint{}).Note
	for what, note := range map[string]string{
		"signed by the liar": theirs, "a signature that is wrong": swapped[:len(swapped)-10] + "AAAAAAAA=\n", "nothing": "", "nonsense": "x\n\n— x y\n",
		"our own, of what there is": string(mine.Note),
	} {
		a.answers = &peer.CheckpointKnown{Note: note}
		a.desk.Forget(b.id)
		a.met()
		wait(t, func() bool { return a.desk.Asked(b.id) })
		if note != string(mine.Note) { // which would be asked about again, later
			a.grow(1)
			a.step()
			time.Sleep(20 * time.Millisecond)
		}
		if a.held() != nil {
			t.Errorf("%s freezes it: %v", what, a.held())
		}
	}
	a.answers = nil
}

// Only the owner of a log is told what was cosigned of it.
func TestOthersAreNotToldWhatWasCosigned(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	ask := func(as, of *node) string {
		got, err := b.desk.Answers().HandleCall(t.Context(), peer.Caller{Node: as.id, To: b.id, SentAt: time.Now(), MessageID: hex.EncodeToString([]byte(as.id))},
			peer.AskCheckpoint{Origin: of.keeper.Origin()})
		if err != nil {
			t.Fatal(err)
		}
		return got.(peer.CheckpointKnown).Note //nolint:forcetypeassert // the answer
	}
	eve := newNode(t, "eve")
	if ask(a, a) == "" || ask(eve, a) != "" || ask(a, b) != "" || ask(eve, eve) != "" {
		t.Error("somebody is told about the log of another")
	}
}
