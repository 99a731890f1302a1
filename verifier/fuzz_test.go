package verifier

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func seeds(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.dossier")
	if err != nil || len(files) == 0 {
		t.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func contentIn(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// packed puts content into a container.
func packed(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, part := range []struct {
		name string
		text []byte
	}{{"dossier.json", content}, {"index.html", []byte("page")}} {
		p, err := w.CreateHeader(&zip.FileHeader{Name: part.name, Method: zip.Deflate})
		if err == nil {
			_, err = p.Write(part.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetComment(strings.Repeat("0", 64)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	body := b.Bytes()[:b.Len()-64]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), hex.EncodeToString(sum[:])...)
}

// verified checks one file within bounds, on the word of its owner.
func verified(t *testing.T, b []byte, most uint64) []Claim {
	t.Helper()
	trust := Trust{}
	if f, err := open(b); err == nil {
		if parts := strings.Split(f.Checkpoint, "/"); len(parts) > 1 {
			trust.Identities = append(trust.Identities, parts[1])
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answers, err := Verify(b, trust)
	runtime.ReadMemStats(&after)
	if err != nil || len(answers) != len(claims) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Fatalf("%d bytes of memory for %d bytes", took, len(b))
	}
	return answers
}

// Whatever a file says, the verifier answers within bounds.
func FuzzVerify(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, false)
		f.Add(contentIn(f, b), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, content bool) {
		size := uint64(len(b))
		if content {
			b = packed(t, b)
		}
		if cut := len(b) - 64; !content && cut > 0 { // the archive behind the sum is read too
			sum := sha256.Sum256(b[:cut])
			b = append(bytes.Clone(b[:cut]), hex.EncodeToString(sum[:])...)
		}
		verified(t, b, 64<<20+400*size)
	})
}

// The seeds are whole: what the owner's word is enough for is proved.
func TestTheSeedsAreDossiers(t *testing.T) {
	for _, b := range seeds(t) {
		for _, c := range verified(t, b, 256<<20)[:first] {
			if c.Verdict != Proved {
				t.Errorf("%+v", c)
			}
		}
	}
}

func TestBombsAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"events":  `{"agreement":"","checkpoint":"","events":[` + strings.Repeat(`{},`, 5<<20) + `{}],"format":"emet/dossier/1","side":"R"}`,
		"indexes": `{"agreement":"","checkpoint":"","events":[{"header":"","inclusion":[` + strings.Repeat(`0,`, 8<<20) + `0]}],"format":"emet/dossier/1","side":"R"}`,
		"lists":   strings.Repeat("[", 20<<20),
		"zeros":   strings.Repeat("\x00", maxPart+2),
	} {
		if got := verified(t, packed(t, []byte(content)), 512<<20)[0]; got.Verdict != Disproved {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
