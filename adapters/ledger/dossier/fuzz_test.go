package dossier

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

	"github.com/emet-node/emet/domain/identity"
)

// seeds are dossiers of small deals, as they were made.
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

// contentIn is dossier.json of a container.
func contentIn(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := z.Open(contentName)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// believed are the parties as a seed names them, so that all claims are looked at.
func believed(b []byte) Trust {
	var t Trust
	d, _, _ := parse(b)
	if parts := strings.Split(d.Checkpoint, "/"); len(parts) > 1 {
		t.Identities = append(t.Identities, identity.NodeID(parts[1]))
	}
	return t
}

// answersAll checks that every claim gets an answer, and how much memory that
// takes: a small multiple of what was given.
func answersAll(t *testing.T, b []byte, size int) {
	t.Helper()
	trust := believed(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := Verify(b, trust)
	runtime.ReadMemStats(&after)
	if len(r.Claims) != len(claims) {
		t.Fatalf("%d answers", len(r.Claims))
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20+400*uint64(size) { //nolint:gosec // not negative
		t.Fatalf("%d bytes of memory for %d bytes", took, size)
	}
}

// Whatever a file says, the verifier answers: it does not panic and stays
// within bounds. Both containers and what is in them are tried.
func FuzzVerify(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, false)
		f.Add(contentIn(f, b), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, content bool) {
		size := len(b)
		if content {
			var err error
			if b, err = seal(b, []byte("page")); err != nil {
				t.Fatal(err)
			}
		}
		if !content && len(b) > sealDigits { // the archive behind the sum is read too
			sum := sha256.Sum256(b[:len(b)-sealDigits])
			b = hex.AppendEncode(bytes.Clone(b[:len(b)-sealDigits]), sum[:])
		}
		answersAll(t, b, size)
	})
}

// Content that is short and asks for much is refused before it is read.
func TestBombsAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"events":  `{"agreement":"","checkpoint":"","events":[` + strings.Repeat(`{},`, 5<<20) + `{}],"format":"emet/dossier/1","side":"R"}`,
		"indexes": `{"agreement":"","checkpoint":"","events":[{"header":"","inclusion":[` + strings.Repeat(`0,`, 8<<20) + `0]}],"format":"emet/dossier/1","side":"R"}`,
		"lists":   strings.Repeat("[", 20<<20),
		"zeros":   strings.Repeat("\x00", maxUnpacked+2),
	} {
		b, err := seal([]byte(content), []byte("page"))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := Verify(b, Trust{})
		runtime.ReadMemStats(&after)
		if r.Of(ClaimContainer) != Disproved {
			t.Errorf("%s: %s", name, r.Of(ClaimContainer))
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 512 {
			t.Errorf("%s: %d MiB for a file of %d bytes", name, took, len(b))
		}
	}
}

// An archive with many files is refused by the list of them.
func TestALongListOfFilesIsRefused(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for range 70000 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := directory(b.Bytes()); err == nil {
		t.Error("it is read")
	}
	for _, seed := range seeds(t) {
		if err := directory(seed[:len(seed)-sealDigits]); err != nil {
			t.Error(err)
		}
	}
}
