package evidence

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/money"
)

// unpacked is everything that a dossier holds, as text.
func unpacked(t *testing.T, b []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// What is withheld is not in the file, also not in the page, and the proofs
// hold without it.
func TestWhatIsWithheldIsNotThere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		w := newWorld(seed, whole, cheats{})
		if !strings.Contains(unpacked(t, encode(t, w.build().Dossier)), `\"actor\":`) {
			t.Error("the metadata never was there")
		}
		for kind, typ := range map[string]string{
			"env": "batch.accepted.v1", "meta": "agreement.approved.v1", "commands": "batch.command_started.v1", "stdout": "batch.command_output.v1",
		} {
			built := w.build(kind)
			b := encode(t, built.Dossier)
			r := w.opinion(t, kind, b)
			if r.Verdict() != dossier.Proved || !slices.ContainsFunc(r.Withheld, func(h dossier.Withholds) bool { return h.Type == typ }) {
				t.Errorf("%s: %+v", kind, r)
			}
			if kind == "meta" && strings.Contains(unpacked(t, b), `\"actor\":`) {
				t.Error("the metadata is there")
			}
			for _, e := range built.Events {
				if e.DataSalt == nil && (e.Key != nil || e.Bytes != nil || e.Data != "") {
					t.Errorf("%s: content or a key without a salt", kind)
				}
			}
		}
	}
}

func TestOnlyWhatHasANameCanBeWithheld(t *testing.T) {
	t.Parallel()
	w := newWorld(1, whole, cheats{})
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(error).Error(), "choose of stdout") { //nolint:forcetypeassert // it is one
			t.Errorf("%v", p)
		}
	}()
	w.build("price")
}

// Both parties of one deal tell the same story; where one of them changes
// something is where the stories part.
func TestStoriesPartWhereTheyDiffer(t *testing.T) {
	t.Parallel()
	mine, theirs := twins(t, 12, cheats{}, cheats{})
	c, err := dossier.Compare(mine, theirs)
	if err != nil || len(c.Parts) != 0 || c.Same < 8 {
		t.Fatalf("%+v %v", c, err)
	}
	mine, theirs = twins(t, 12, cheats{}, cheats{invoice: true})
	if c, err = dossier.Compare(mine, theirs); err != nil || !c.Differs() || !strings.HasPrefix(c.Parts[0].About, "invoice ") {
		t.Fatalf("%+v %v", c.Parts, err)
	}
	if !strings.Contains(c.Parts[0].Second, money.MustParse("1").String()) {
		t.Errorf("%+v", c.Parts[0])
	}
	other := encode(t, newWorld(77, whole, cheats{}).build().Dossier)
	if _, err := dossier.Compare(mine, other); err == nil || !strings.Contains(err.Error(), "the other about") {
		t.Errorf("two deals: %v", err)
	}
}

// twins are the two sides of one deal: the same dice, another owner.
func twins(t *testing.T, seed uint64, first, second cheats) (a, b []byte) {
	t.Helper()
	calm := func(lies cheats, swap bool) []byte {
		w := newWorldOf(seed, smallestOf(0), lies, swap)
		return encode(t, w.build().Dossier)
	}
	return calm(first, false), calm(second, true)
}
