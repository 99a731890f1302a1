package secrets

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func event(n byte, data string) es.NewEvent {
	return es.NewEvent{ID: es.ID{n}, Type: "batch.exec_requested.v1", Data: []byte(data), Subject: "activity/a1"}
}

const stream es.Stream = "batch-R-a1-b1"

func sealed(t *testing.T, v *Vault, e es.NewEvent) es.Event {
	t.Helper()
	if err := v.Seal(context.Background(), stream, &e); err != nil {
		t.Fatal(err)
	}
	return es.Event{NewEvent: e, Stream: stream}
}

func TestWhatIsSealedOpensAfterARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	s := openStore(t, dir)
	e := sealed(t, s.Vault, event(1, `{"script":"canary"}`))
	if bytes.Contains(e.Data, []byte("canary")) {
		t.Fatal("it is not sealed")
	}
	again := sealed(t, s.Vault, event(1, `{"script":"canary"}`))
	if !bytes.Equal(again.Data, e.Data) {
		t.Fatal("the same fact was sealed to other bytes: a repeated append would conflict")
	}
	other := sealed(t, s.Vault, event(1, `{"script":"another"}`))
	if bytes.Equal(other.Data[9:21], e.Data[9:21]) {
		t.Fatal("two contents share a nonce")
	}
	s.Close()
	s = openStore(t, dir)
	if err := s.Vault.Open(context.Background(), &e); err != nil || string(e.Data) != `{"script":"canary"}` {
		t.Fatalf("%s %v", e.Data, err)
	}
}

func TestSealedContentBelongsToItsEvent(t *testing.T) {
	t.Parallel()
	v := openStore(t, filepath.Join(t.TempDir(), "s")).Vault
	good := sealed(t, v, event(1, "{}"))
	for name, change := range map[string]func(*es.Event){
		"stream": func(e *es.Event) { e.Stream += "x" },
		"type":   func(e *es.Event) { e.Type = "batch.accepted.v1" },
		"id":     func(e *es.Event) { e.ID[5] = 1 },
		"bytes":  func(e *es.Event) { e.Data[len(e.Data)-1] ^= 1 },
		"nonce":  func(e *es.Event) { e.Data[12] ^= 1 },
		"short":  func(e *es.Event) { e.Data = e.Data[:4] },
		"plain":  func(e *es.Event) { e.Data = []byte(`{"a":"0123456789012345678901234567890"}`) },
	} {
		e := good
		e.Data = slices.Clone(good.Data)
		change(&e)
		if err := v.Open(context.Background(), &e); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneEventCanBeDisclosed(t *testing.T) {
	t.Parallel()
	v := openStore(t, filepath.Join(t.TempDir(), "s")).Vault
	one, two := sealed(t, v, event(1, "one")), sealed(t, v, event(2, "two"))
	key, err := v.EventKey(&one)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := OpenWith(key, &one); err != nil || string(b) != "one" {
		t.Fatalf("%s %v", b, err)
	}
	if _, err := OpenWith(key, &two); !errors.Is(err, ErrForged) {
		t.Fatalf("the key of one event opens another: %v", err)
	}
}

func TestErasureIsForGood(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	s := openStore(t, dir)
	e := sealed(t, s.Vault, event(1, "one"))
	key, _ := s.kv.get("subject/activity/a1")
	link := filepath.Join(dir, "old")
	if err := os.Link(filepath.Join(dir, "vault.db"), link); err != nil {
		t.Fatal(err)
	}
	if err := s.AppKeys.Put("keep", "me"); err != nil {
		t.Fatal(err)
	}
	if err := s.Vault.Erase(context.Background(), "activity/a1"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(link); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
		t.Fatalf("the old file still holds %d bytes of %x (%v)", len(b), key, err)
	}
	check := func(v *Vault) {
		t.Helper()
		gone := e
		if err := v.Open(context.Background(), &gone); !errors.Is(err, es.ErrErased) {
			t.Fatalf("erased, but %v", err)
		}
	}
	check(s.Vault)
	sealed(t, s.Vault, event(2, "after")) // a new key of the same subject
	check(s.Vault)
	s.Close()
	s = openStore(t, dir)
	check(s.Vault)
	if k, ok := s.AppKeys.Get("keep"); !ok || k != "me" {
		t.Fatal("erasing took something else along")
	}
}

func TestAppKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	s := openStore(t, dir)
	first := NewAppKey()
	if len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Fatalf("%q", first)
	}
	if err := errors.Join(s.AppKeys.Put("requestor", first), s.AppKeys.Put("b", "old-secret"), s.AppKeys.Put("b", "new-secret"), s.AppKeys.Delete("nobody")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, canary := range []string{first, "old-secret", "new-secret"} {
		grep(t, dir, canary)
	}
	s = openStore(t, dir)
	if k, ok := s.AppKeys.Get("b"); !ok || k != "new-secret" || !slices.Equal(s.AppKeys.List(), []string{"b", "requestor"}) {
		t.Fatalf("%v %q", s.AppKeys.List(), k)
	}
	if err := s.AppKeys.Delete("b"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.AppKeys.Get("b"); ok {
		t.Fatal("deleted")
	}
	if AppKeyPrefix("abcdef0123456789") != "abcdef" || AppKeyPrefix("four") != "fo" || len(HashAppKey("x")) != 64 {
		t.Fatal("prefix or hash")
	}
}

// grep fails the test when a secret is in clear anywhere under dir.
func grep(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s holds %q in clear", path, secret)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A crash may cut the file anywhere: what was acknowledged before is there.
func TestATornEndLosesNothingElse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s")
	s := openStore(t, dir)
	for _, name := range []string{"a", "b"} {
		if err := s.AppKeys.Put(name, "secret-"+name); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	path := filepath.Join(dir, "vault.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	half := len(whole) / 2 // both frames have one size
	for n := half; n < len(whole); n++ {
		for _, tail := range [][]byte{nil, make([]byte, 16)} {
			if tail != nil && n > half {
				continue // zeros in the middle of a frame: see damage below
			}
			if err := os.WriteFile(path, append(slices.Clone(whole[:n]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir)
			if err != nil {
				t.Fatalf("cut at %d: %v", n, err)
			}
			a, okA := s.AppKeys.Get("a")
			_, okB := s.AppKeys.Get("b")
			if !okA || a != "secret-a" || okB {
				t.Fatalf("cut at %d: %v %v", n, okA, okB)
			}
			if err := errors.Join(s.AppKeys.Put("c", "d"), s.Close()); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(dir); err != nil || !slices.Equal(s.AppKeys.List(), []string{"a", "c"}) {
				t.Fatalf("cut at %d, then written: %v", n, err)
			}
			s.Close()
		}
	}
	for i := range half {
		b := slices.Clone(whole)
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestTheJournalIsAMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "j")
		os.Remove(path) //nolint:errcheck // the one of the round before
		j, err := openJournal(path, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]string)
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			k, v := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "k"), rapid.String().Draw(t, "v")
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				err, want[k] = j.put(k, []byte(v)), v
			case 1:
				err = j.remove(k)
				delete(want, k)
			case 2:
				got, isNew, e := j.ensure(k, func() []byte { return []byte(v) })
				if old, ok := want[k]; ok == isNew || ok && old != string(got) {
					t.Fatalf("ensure %q: %q %v", k, got, isNew)
				}
				err, want[k] = e, string(got)
			case 3:
				if err = j.close(); err == nil {
					j, err = openJournal(path, make([]byte, 32))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range []string{"a", "b", "c"} {
				got, ok := j.get(k)
				if v, is := want[k]; ok != is || string(got) != v {
					t.Fatalf("%q is %q %v, want %q %v", k, got, ok, v, is)
				}
			}
		}
		j.close() //nolint:errcheck // a test file
	})
}

func TestWebhooksAreKeptAndErased(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Webhooks.Put("b", []byte("canary-1")), s.Webhooks.Put("a", []byte("canary-2")), s.Webhooks.Put("a", []byte("canary-3"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v, ok := s.Webhooks.Get("a"); !ok || string(v) != "canary-3" || len(s.Webhooks.List()) != 2 || len(s.AppKeys.List()) != 0 {
		t.Errorf("%s %v %v", v, ok, s.Webhooks.List())
	}
	if err := errors.Join(s.Webhooks.Delete("a"), s.Webhooks.Delete("a")); err != nil {
		t.Error(err)
	}
	if v, ok := s.Webhooks.Get("a"); ok {
		t.Errorf("still there: %s", v)
	}
	b, err := os.ReadFile(filepath.Join(dir, "vault.db"))
	if err != nil || bytes.Contains(b, []byte("canary")) {
		t.Errorf("readable in the file, %v", err)
	}
}
