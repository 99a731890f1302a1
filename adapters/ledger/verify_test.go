package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	sumdb "golang.org/x/mod/sumdb/note"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
)

// refusals are all that a verifier may say to what is not right.
var refusals = []error{verify.ErrMalformed, verify.ErrSignature, verify.ErrProof, verify.ErrContent, verify.ErrAttested}

func refused(err error) bool {
	return slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
}

// proved makes a small log and the file for one event in the middle of it.
func proved(t testing.TB) (*home, *Keeper, verify.File, ownKeys) {
	t.Helper()
	keys := aliceKeys(t)
	h := openHome(t, t.TempDir())
	h.say("a.v1", 5)
	o := h.options()
	o.Identity, o.Attest = keys.id, keys.SignDelegation
	k, err := Open(context.Background(), h.log, o)
	if err != nil {
		t.Fatal(err)
	}
	h.say("b.v1", 5)
	if _, err := k.Sign(context.Background()); err != nil {
		t.Fatal(err)
	}
	f, err := k.Prove(context.Background(), 7)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Attestations(context.Background(), h.log)
	if err != nil || len(a.Keys) != 1 {
		t.Fatal(a, err)
	}
	f.Attestation = &verify.Attestation{Document: a.Keys[0].Document, Signature: a.Keys[0].Signature}
	return h, k, f, keys
}

func encoded(t testing.TB, f verify.File) []byte {
	t.Helper()
	b, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trustIn(id identity.NodeID) verify.Trust {
	return verify.Trust{Identity: id}
}

func TestEveryEventCanBeProved(t *testing.T) {
	t.Parallel()
	h, k, _, keys := proved(t)
	size, _ := h.store.Root()
	var n uint64
	for e, err := range h.store.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		f, err := k.Prove(t.Context(), e.Position)
		if err != nil {
			t.Fatal(err)
		}
		v, err := verify.Check(encoded(t, f), verify.Trust{Key: k.Key()})
		if err != nil {
			t.Fatal(err)
		}
		got := v.Fact
		if got.Position != e.Position || got.Stream != e.Stream || got.Revision != e.Revision || got.ID != e.ID || got.Type != e.Type ||
			!got.Recorded.Equal(e.Recorded) || got.PrevInStream != e.PrevInStream || got.Subject != e.Subject ||
			!bytes.Equal(got.Data, e.Data) || !bytes.Equal(got.Meta, e.Meta) || v.Checkpoint.Size != size || v.Identity != "" {
			t.Errorf("%+v, want %+v", v, e)
		}
		n++
	}
	if n != size || n != 11 {
		t.Errorf("%d of %d events", n, size)
	}
	if _, err := k.Prove(t.Context(), es.Position(size)); !errors.Is(err, ledger.ErrRange) {
		t.Errorf("beyond the end: %v", err)
	}
	h.say("c.v1", 1)
	if _, err := k.Prove(t.Context(), es.Position(size)); !errors.Is(err, ledger.ErrRange) {
		t.Errorf("not signed yet: %v", err)
	}
	signed, err := Signed(realDisk, h.dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), h.store, realDisk, h.dir, h.store.LogID(), signed)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Prove(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Signed(realDisk, t.TempDir()); !errors.Is(err, ledger.ErrUnsigned) {
		t.Errorf("nothing is signed: %v", err)
	}
	if _, err := OpenReader(t.Context(), h.store, realDisk, h.dir, [16]byte{1}, signed); !errors.Is(err, es.ErrCorrupt) {
		t.Errorf("the checkpoint of another log: %v", err)
	}
	if _, err := verify.Check(encoded(t, f), verify.Trust{Key: k.Key()}); err != nil {
		t.Errorf("a reader's proof: %v", err)
	}
	if _, err := verify.Check(encoded(t, f), trustIn(keys.id)); !errors.Is(err, verify.ErrAttested) {
		t.Errorf("without an attestation: %v", err)
	}
}

// Each bit of each part, and each bit of the file, matters.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	t.Parallel()
	_, k, f, keys := proved(t)
	trust := trustIn(keys.id)
	v, err := verify.Check(encoded(t, f), trust)
	if err != nil || v.Identity != keys.id || v.Key.String() != k.Key().String() || v.NotAfter.Before(v.NotBefore) {
		t.Fatalf("%+v %v", v, err)
	}
	var flipped int
	flip := func(what string, part []byte, set func([]byte)) {
		for i := range len(part) * 8 {
			b := bytes.Clone(part)
			b[i/8] ^= 1 << (i % 8)
			set(b)
			if _, err := verify.Check(encoded(t, f), trust); !refused(err) {
				t.Fatalf("bit %d of %s: %v", i, what, err)
			}
			flipped++
		}
		set(part)
	}
	e := &f.Event
	flip("header", e.Header, func(b []byte) { e.Header = b })
	flip("data", e.Data, func(b []byte) { e.Data = b })
	flip("salt of data", e.DataSalt, func(b []byte) { e.DataSalt = b })
	flip("meta", e.Meta, func(b []byte) { e.Meta = b })
	flip("salt of meta", e.MetaSalt, func(b []byte) { e.MetaSalt = b })
	for i := range f.Inclusion {
		flip("proof", f.Inclusion[i], func(b []byte) { f.Inclusion[i] = b })
	}
	note := f.Checkpoint
	flip("checkpoint", []byte(note), func(b []byte) { f.Checkpoint = string(b) })
	a := f.Attestation
	flip("attestation", []byte(a.Document), func(b []byte) { a.Document = string(b) })
	flip("its signature", a.Signature, func(b []byte) { a.Signature = b })
	if flipped < 8*1000 {
		t.Errorf("%d bits", flipped)
	}
	whole := encoded(t, f)
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if _, err := verify.Check(b, trust); !refused(err) {
			t.Fatalf("bit %d of the file: %v", i, err)
		}
	}
	for i := range whole {
		if _, err := verify.Check(whole[:i], trust); !refused(err) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
}

// The same with the log's key alone, as a verifier has it who knows the key.
func TestEveryFlippedBitIsRefusedUnderTheKeyAlone(t *testing.T) {
	t.Parallel()
	_, k, f, _ := proved(t)
	f.Attestation = nil
	whole := encoded(t, f)
	trust := verify.Trust{Key: k.Key()}
	if _, err := verify.Check(whole, trust); err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if _, err := verify.Check(b, trust); !refused(err) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	key := k.Key().String()
	for i := range len(key) * 8 {
		b := []byte(key)
		b[i/8] ^= 1 << (i % 8)
		other, err := verify.ParseKey(string(b))
		if err == nil {
			_, err = verify.Check(whole, verify.Trust{Key: other})
		}
		if !refused(err) {
			t.Fatalf("bit %d of the key: %v", i, err)
		}
	}
}

// What is right in itself but does not belong together is refused as well.
func TestPartsOfDifferentEvidenceDoNotFit(t *testing.T) {
	t.Parallel()
	h, k, f, keys := proved(t)
	_, otherKey, g, _ := proved(t)
	trust := trustIn(keys.id)
	h.say("b.v1", 1)
	if _, err := k.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	later, err := k.Prove(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	sibling, err := k.Prove(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	stranger := aliceKeys(t)
	info, err := stranger.Import(strings.Repeat("0", 63)+"2", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(f *verify.File){
		"a later checkpoint":  func(f *verify.File) { f.Checkpoint = later.Checkpoint },
		"a later proof":       func(f *verify.File) { f.Inclusion = later.Inclusion },
		"another event":       func(f *verify.File) { f.Event = sibling.Event },
		"another proof":       func(f *verify.File) { f.Inclusion = sibling.Inclusion },
		"no proof":            func(f *verify.File) { f.Inclusion = nil },
		"a longer proof":      func(f *verify.File) { f.Inclusion = append(slices.Clone(f.Inclusion), f.Inclusion[0]) },
		"a hash too short":    func(f *verify.File) { f.Inclusion = append(slices.Clone(f.Inclusion[1:]), f.Inclusion[0][:31]) },
		"another log":         func(f *verify.File) { f.Checkpoint = g.Checkpoint },
		"another attestation": func(f *verify.File) { f.Attestation = g.Attestation },
		"another log's all":   func(f *verify.File) { f.Checkpoint, f.Attestation = g.Checkpoint, g.Attestation },
		"meta for data":       func(f *verify.File) { f.Event.Data, f.Event.DataSalt = f.Event.Meta, f.Event.MetaSalt },
		"a salt moved": func(f *verify.File) {
			f.Event.DataSalt = append(slices.Clone(f.Event.DataSalt), f.Event.Data[0])
			f.Event.Data = f.Event.Data[1:]
		},
		"a signature twice":     func(f *verify.File) { f.Checkpoint += f.Checkpoint[strings.Index(f.Checkpoint, "\n\n")+2:] },
		"an extension line":     func(f *verify.File) { f.Checkpoint = strings.Replace(f.Checkpoint, "\n\n", "\nmore\n\n", 1) },
		"a size written longer": func(f *verify.File) { f.Checkpoint = strings.Replace(f.Checkpoint, "\n11\n", "\n011\n", 1) },
		"no signature":          func(f *verify.File) { f.Checkpoint = f.Checkpoint[:strings.Index(f.Checkpoint, "\n\n")+2] },
	} {
		c := f
		a := *f.Attestation
		c.Attestation = &a
		change(&c)
		if _, err := verify.Check(encoded(t, c), trust); !refused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := encoded(t, f)
	if _, err := verify.Check(good, trustIn(info.ID)); !errors.Is(err, verify.ErrAttested) {
		t.Errorf("another identity: %v", err)
	}
	if _, err := verify.Check(good, verify.Trust{Key: otherKey.Key()}); !refused(err) {
		t.Errorf("another key: %v", err)
	}
	if _, err := verify.Check(good, verify.Trust{Key: k.Key(), Identity: keys.id}); err != nil {
		t.Errorf("both: %v", err)
	}
	if _, err := verify.Check(good, verify.Trust{}); !errors.Is(err, verify.ErrNoTrust) {
		t.Errorf("nobody is trusted: %v", err)
	}
}

// A key that somebody vouched for under another's name, or for another role,
// is not the log's.
func TestOnlyTheOwnerVouchesForALog(t *testing.T) {
	t.Parallel()
	_, k, f, keys := proved(t)
	mine := ledger.Attestation(keys.id, k.Key().Name, k.Key().Public, time.Now())
	foreign, otherRole, otherKey := mine, mine, mine
	foreign.Subject = strings.Replace(mine.Subject, string(keys.id), string(alice), 1)
	otherRole.Role = delegation.Activity
	otherKey.PublicKey = ledger.KeyOf(bytes.Repeat([]byte{1}, ed25519.PublicKeySize))
	for name, doc := range map[string]delegation.Document{"somebody else's log": foreign, "another role": otherRole, "another key": otherKey} {
		d, err := keys.SignDelegation(t.Context(), doc)
		if err != nil {
			t.Fatal(err)
		}
		c := f
		c.Attestation = &verify.Attestation{Document: d.Document, Signature: d.Signature}
		if _, err := verify.Check(encoded(t, c), trustIn(keys.id)); !errors.Is(err, verify.ErrAttested) && !errors.Is(err, verify.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysHaveOneSpelling(t *testing.T) {
	t.Parallel()
	k := verify.Key{Name: ledger.Origin(alice, [16]byte{1}), Public: logKey.Public().(ed25519.PublicKey)}
	back, err := verify.ParseKey(k.String())
	if err != nil || back.Name != k.Name || !back.Public.Equal(k.Public) {
		t.Fatalf("%+v %v", back, err)
	}
	for _, bad := range []string{"", "a", "a+b", "a+00000000+", k.String() + "=", " " + k.String(), strings.ToUpper(k.String()), k.String()[1:]} {
		if _, err := verify.ParseKey(bad); !errors.Is(err, verify.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

var update = flag.Bool("update", false, "write the golden file anew")

// golden is a file as it was once handed out, by the identity of secret key 1.
func golden(t testing.TB) []byte {
	t.Helper()
	name := filepath.Join("testdata", "event-proof.json")
	if *update {
		_, _, f, _ := proved(t)
		if err := os.WriteFile(name, encoded(t, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goldenOwner identity.NodeID = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"

// What was handed out stays good for ever.
func TestAnOldFileStillProves(t *testing.T) {
	t.Parallel()
	v, err := verify.Check(golden(t), trustIn(goldenOwner))
	if err != nil || v.Fact.Position != 7 || v.Fact.Type != "b.v1" || string(v.Fact.Data) != `{"a":1}` || v.Checkpoint.Size != 11 {
		t.Errorf("%+v %v", v, err)
	}
}

func FuzzCheck(f *testing.F) {
	good := golden(f)
	f.Add(good)
	f.Add([]byte(`{"checkpoint":"","event":{"data":"","dataSalt":"","header":"","meta":"","metaSalt":""},"format":"emet/event-proof/1","inclusion":[]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := verify.Check(b, trustIn(goldenOwner))
		if err == nil && !bytes.Equal(b, good) {
			t.Errorf("another file is taken: %s", b)
		}
		if err != nil && !refused(err) {
			t.Errorf("%v", err)
		}
	})
}

// Whatever a note is, the two programs that read notes here agree about it.
func FuzzCheckpoint(f *testing.F) {
	key := verify.Key{Name: ledger.Origin(alice, [16]byte{1}), Public: logKey.Public().(ed25519.PublicKey)}
	s, err := newSigner(key.Name, logKey)
	if err != nil {
		f.Fatal(err)
	}
	c, err := s.checkpoint(7, es.Hash{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Note)
	f.Add([]byte("a\n1\nAA==\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := verify.Checkpoint(b, key)
		if err != nil {
			if !refused(err) {
				t.Error(err)
			}
			return
		}
		if known, err := signedBy(b, s); !known || err != nil || got.Size != 7 || got.Root != c.Root {
			t.Errorf("%q is taken: %v", b, err)
		}
	})
}

// The form of a file, for those who write their own verifier.
func TestTheFileIsJSON(t *testing.T) {
	t.Parallel()
	_, _, f, _ := proved(t)
	var m map[string]any
	if err := json.Unmarshal(encoded(t, f), &m); err != nil {
		t.Fatal(err)
	}
	event, _ := m["event"].(map[string]any)
	text, _ := event["data"].(string)
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || string(data) != `{"a":1}` || m["format"] != verify.Format || len(m) != 5 || len(event) != 5 {
		t.Errorf("%v %v", m, err)
	}
}

// A cosignature is read and checked by the tools of transparency logs.
func TestOthersReadOurCosignatures(t *testing.T) {
	t.Parallel()
	key := verify.Key{Name: ledger.Origin(alice, [16]byte{1}), Public: logKey.Public().(ed25519.PublicKey)}
	note, at, line := cosignedNote(t, key)
	vkey, err := sumdb.NewEd25519VerifierKey(key.Name, key.Public)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := formats.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sumdb.Open(append(slices.Clone(note), line...), sumdb.VerifierList(theirs))
	if err != nil || len(opened.Sigs) != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	if when, err := formats.CoSigV1Timestamp(opened.Sigs[0]); err != nil || !when.Equal(at) {
		t.Errorf("they say %v, %v; want %v", when, err, at)
	}
	body, _, _, err := log.ParseCheckpoint(append(slices.Clone(note), line...), key.Name, ourSigner(t, key.Name))
	if err != nil || body.Size != 7 {
		t.Errorf("%+v, %v", body, err)
	}
}

func ourSigner(t testing.TB, name string) *signer {
	t.Helper()
	s, err := newSigner(name, logKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cosignedNote is a checkpoint over 7 events that its own key cosigned.
func cosignedNote(t testing.TB, key verify.Key) (note []byte, at time.Time, line string) {
	t.Helper()
	c, err := ourSigner(t, key.Name).checkpoint(7, es.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	text, err := verify.NoteText(c.Note)
	if err != nil {
		t.Fatal(err)
	}
	at = time.Unix(1_795_000_000, 0).UTC()
	return c.Note, at, verify.CosignatureLine(key, at, ed25519.Sign(logKey, verify.CosignedText(at, text)))
}

// Whatever another node sends as a cosignature, it is one over the same
// checkpoint, at the moment that it names, or it is refused.
func FuzzCosigned(f *testing.F) {
	key := verify.Key{Name: ledger.Origin(alice, [16]byte{1}), Public: logKey.Public().(ed25519.PublicKey)}
	note, at, line := cosignedNote(f, key)
	f.Add(line)
	f.Add(line + line)
	f.Add("— " + key.Name + " AAAAAAAAAAA=\n")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, line string) {
		got, err := verify.Cosigned(append(slices.Clone(note), line...), key)
		switch {
		case err != nil && !refused(err):
			t.Error(err)
		case err == nil && !got.Equal(at):
			t.Errorf("%q is taken, for %v", line, got)
		}
	})
}
