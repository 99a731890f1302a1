package evidence

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/es"
)

// mutation is a changed copy of a dossier. Left says that something was only
// left out: whoever owns the log may show less.
type mutation struct {
	name string
	d    dossier.Dossier
	left bool
}

func clone(d dossier.Dossier) (out dossier.Dossier) {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// mutations changes every field of a dossier in every way that its kind has.
func mutations(r *rand.Rand, d dossier.Dossier) (out []mutation) {
	var walk func(path string, at func(*dossier.Dossier) reflect.Value)
	add := func(name string, left bool, at func(*dossier.Dossier) reflect.Value, change func(v reflect.Value)) {
		c := clone(d)
		change(at(&c))
		out = append(out, mutation{name, c, left})
	}
	walk = func(path string, at func(*dossier.Dossier) reflect.Value) {
		v := at(&d)
		switch {
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(d *dossier.Dossier) reflect.Value { return at(d).Field(i) })
			}
		case v.Type() == reflect.TypeFor[[]byte]():
			if v.Len() == 0 {
				return
			}
			i, bit := r.IntN(v.Len()), byte(1)<<r.IntN(8)
			add("flip "+path, false, at, func(v reflect.Value) { b := slices.Clone(v.Bytes()); b[i] ^= bit; v.SetBytes(b) })
			add("cut "+path, false, at, func(v reflect.Value) { v.SetBytes(v.Bytes()[:v.Len()-1]) })
			add("drop "+path, true, at, func(v reflect.Value) { v.SetZero() })
		case v.Kind() == reflect.String:
			if v.Len() == 0 {
				return
			}
			i := r.IntN(v.Len())
			add("flip "+path, false, at, func(v reflect.Value) { b := []byte(v.String()); b[i] ^= 1; v.SetString(string(b)) })
			add("drop "+path, false, at, func(v reflect.Value) { v.SetZero() })
		case v.Kind() == reflect.Uint64:
			add("raise "+path, false, at, func(v reflect.Value) { v.SetUint(v.Uint() + 1) })
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Int:
			if v.Len() > 0 {
				add("drop "+path, false, at, func(v reflect.Value) { v.Set(v.Slice(1, v.Len())) })
				add("double "+path, false, at, func(v reflect.Value) { v.Set(reflect.Append(v, v.Index(0))) })
			}
		case v.Kind() == reflect.Slice:
			n := v.Len()
			for i := range n {
				walk(fmt.Sprintf("%s[%d]", path, i), func(d *dossier.Dossier) reflect.Value { return at(d).Index(i) })
				add(fmt.Sprintf("drop %s[%d]", path, i), true, at, func(v reflect.Value) {
					v.Set(reflect.AppendSlice(v.Slice(0, i), v.Slice(i+1, v.Len())))
				})
				add(fmt.Sprintf("double %s[%d]", path, i), false, at, func(v reflect.Value) { v.Set(reflect.Append(v, v.Index(i))) })
				if i > 0 {
					add(fmt.Sprintf("swap %s[%d]", path, i), false, at, func(v reflect.Value) { reflect.Swapper(v.Interface())(i-1, i) })
				}
			}
		}
	}
	walk("", func(d *dossier.Dossier) reflect.Value { return reflect.ValueOf(d).Elem() })
	return slices.DeleteFunc(out, func(m mutation) bool { return strings.HasSuffix(m.name, " .Format") }) // Encode writes it
}

// resign lets the owner stand by a changed dossier.
func (w *world) resign(d dossier.Dossier, by *party) dossier.Dossier {
	d.Signature = nil
	text, err := es.CanonicalJSON(d)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(append([]byte(dossier.Format+"\x00"), text...))
	d.Signature = ed25519.Sign(by.log, sum[:])
	return d
}

// Whatever somebody else changes is seen, by both verifiers. What the owner of
// the log changes and signs anew is seen too; it may only show less.
func TestEveryMutationIsCaught(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed, smallest, cheats{})
			honest := w.build().Dossier
			if r := w.opinion(t, "honest", encode(t, honest)); r.Verdict() != dossier.Proved {
				t.Fatalf("%+v", r)
			}
			all := mutations(rand.New(rand.NewPCG(seed, 3)), honest)
			caught := 0
			for _, m := range all {
				b, err := m.d.Encode()
				if err != nil {
					t.Fatal(err)
				}
				r := w.opinion(t, m.name, b)
				if r.Verdict() == dossier.Proved {
					t.Errorf("%s is not seen: %s", m.name, r.Verdict())
					continue
				}
				caught++
				if m.left || reflect.DeepEqual(m.d, honest) {
					continue
				}
				if r := w.opinion(t, m.name, encode(t, w.resign(m.d, w.own))); r.Verdict() == dossier.Proved && !harmless(m, honest) {
					t.Errorf("%s, signed by the owner, is not seen", m.name)
				}
			}
			t.Logf("%d of %d mutations are caught", caught, len(all))
		})
	}
}

// harmless are changes that say nothing else: something said twice, another
// signature than the one that is made anew, and a header whose block is no
// block of the chain, which its reader looks up.
func harmless(m mutation, honest dossier.Dossier) bool {
	block := len(m.d.Payments) > 0 && string(m.d.Payments[0].Header) != string(honest.Payments[0].Header)
	return strings.HasPrefix(m.name, "double .Hashes") || strings.HasPrefix(m.name, "double .Payments") || strings.HasSuffix(m.name, " .Signature") || block
}

func smallest(r *rand.Rand) progress { return smallestOf(2)(r) }

// smallestOf is a whole deal with one activity.
func smallestOf(noise int) func(*rand.Rand) progress {
	return func(*rand.Rand) progress {
		return progress{activities: 1, notes: 2, signed: true, envelopes: true, invoiced: true, accepted: true, paid: true, chain: true, cosigned: true, noise: noise, blocks: true, conflict: "later"}
	}
}

// A file that is changed anywhere, cut or continued is not whole.
func TestAChangedFileIsNotWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(1, smallest, cheats{})
	whole := encode(t, w.build().Dossier)
	r := rand.New(rand.NewPCG(1, 2))
	check := func(what string, b []byte) {
		if got := w.opinion(t, what, b); got.Of(dossier.ClaimContainer) != dossier.Disproved {
			t.Errorf("%s is not seen", what)
		}
	}
	for range 400 {
		at := r.IntN(len(whole))
		b := slices.Clone(whole)
		b[at] ^= 1 << r.IntN(8)
		check(fmt.Sprintf("a bit of byte %d", at), b)
		check(fmt.Sprintf("cut at %d", at), whole[:at])
	}
	check("a byte more", append(slices.Clone(whole), 0))
	check("nothing", nil)
}

// Others' keys prove nothing: not under the owner's name, and not for events
// of another log.
func TestOthersKeysProveNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		w, stranger := newWorld(seed, whole, cheats{}), newParty("mallory")
		honest := w.build().Dossier
		signed := w.resign(clone(honest), stranger)
		if r := w.opinion(t, "signed by a stranger", encode(t, signed)); r.Of(dossier.ClaimLogComplete) != dossier.Disproved {
			t.Error("a stranger may stand by the dossier")
		}
		stolen := clone(honest)
		c := w.log.checkpoint(w.log.size())
		stolen.Checkpoint = stranger.note(c.Size, c.Root)
		stolen.Attestations = stranger.words[:1]
		if r := w.opinion(t, "a stranger's log", encode(t, w.resign(stolen, stranger))); r.Of(dossier.ClaimLogKey) == dossier.Proved {
			t.Error("a stranger may own the log")
		}
		if r := opinion(t, "trusted", encode(t, w.resign(stolen, stranger)), stranger.id); r.Of(dossier.ClaimParties) != dossier.Disproved {
			t.Errorf("a stranger may be a party: %+v", r)
		}
		forged := clone(honest)
		forged.Attestations[0].Signature = stranger.sign(sha256.Sum256([]byte("x")))
		if r := w.opinion(t, "forged", encode(t, w.resign(forged, w.own))); r.Of(dossier.ClaimKeys) != dossier.Disproved {
			t.Error("a forged attestation counts")
		}
		other := newWorld(seed+2, whole, cheats{})
		mixed := clone(honest)
		mixed.Events[len(mixed.Events)/2] = other.build().Events[5]
		if r := w.opinion(t, "mixed", encode(t, w.resign(mixed, w.own))); r.Verdict() != dossier.Disproved {
			t.Error("an event of another log counts")
		}
		if r := opinion(t, "nobody", encode(t, honest), w.other.id); r.Of(dossier.ClaimLogKey) != dossier.Missing {
			t.Error("a log counts whose owner nobody trusts")
		}
	}
}

// Events that are left out between others are missed, also when the owner
// leaves them out and signs.
func TestAGapIsMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(3, smallest, cheats{})
	honest := w.build().Dossier
	n := 0
	for i := range honest.Events {
		d := clone(honest)
		d.Events = slices.Delete(d.Events, i, i+1)
		r := w.opinion(t, fmt.Sprintf("without event %d", i), encode(t, w.resign(d, w.own)))
		if r.Verdict() == dossier.Disproved {
			t.Errorf("less is not false: event %d, %+v", i, r)
		}
		if r.Of(dossier.ClaimLogStreams) == dossier.Missing {
			n++
		}
	}
	if n < len(honest.Events)/2 {
		t.Errorf("only %d of %d gaps are missed", n, len(honest.Events))
	}
}
