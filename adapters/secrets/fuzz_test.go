package secrets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// Sealed content opens to what was sealed, and no other bytes open at all.
func FuzzOpenWith(f *testing.F) {
	s, err := Open(filepath.Join(f.TempDir(), "s"))
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	fact := event(1, `{"script":"canary"}`)
	if err := s.Vault.Seal(f.Context(), stream, &fact); err != nil {
		f.Fatal(err)
	}
	good := es.Event{NewEvent: fact, Stream: stream}
	key, err := s.Vault.EventKey(&good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Data)
	f.Add([]byte{sealedV1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := good
		e.Data = b
		got, err := OpenWith(key, &e)
		switch {
		case err != nil && !errors.Is(err, ErrForged):
			t.Error(err)
		case err == nil && (string(got) != `{"script":"canary"}` || !bytes.Equal(b[1+keyIDSize:], good.Data[1+keyIDSize:])):
			t.Errorf("%x opens to %s", b, got)
		}
		if _, err := s.Vault.EventKey(&e); err != nil && !errors.Is(err, ErrForged) && !errors.Is(err, es.ErrErased) {
			t.Error(err)
		}
	})
}

// A file of secrets is taken over up to a frame that was never finished, or it
// is refused as damaged.
func FuzzJournal(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "s")
	s, err := Open(dir)
	if err == nil {
		err = errors.Join(s.AppKeys.Put("a", "secret-a"), s.AppKeys.Put("b", "secret-b"), s.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "vault.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(bytes.Clone(whole), make([]byte, 9)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := newJournal("fuzz", make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		at, err := j.take(b)
		if err != nil && !errors.Is(err, ErrDamaged) || at < 0 || at > len(b) {
			t.Errorf("at %d of %d: %v", at, len(b), err)
		}
	})
}
