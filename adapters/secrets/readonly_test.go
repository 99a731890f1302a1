package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/domain/es"
)

func TestReadingBesideTheOwnerChangesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	owner, err := secrets.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close() //nolint:errcheck // a test
	e := es.Event{NewEvent: es.NewEvent{ID: es.ID{1}, Type: "x.y.v1", Data: []byte(`{"a":1}`), Subject: "activity/a"}, Stream: "x-1"}
	if err := owner.Vault.Seal(t.Context(), e.Stream, &e.NewEvent); err != nil {
		t.Fatal(err)
	}
	if err := owner.AppKeys.Put("k", "sesame"); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, "vault.db"))
	if err := os.WriteFile(filepath.Join(dir, "vault.db"), append(before, 0, 0, 0), 0o600); err != nil { // a frame under way
		t.Fatal(err)
	}
	reader, err := secrets.OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close() //nolint:errcheck // a test
	if s, ok := reader.AppKeys.Get("k"); !ok || s != "sesame" {
		t.Fatalf("app-key %q %v", s, ok)
	}
	if err := reader.Vault.Open(t.Context(), &e); err != nil || string(e.Data) != `{"a":1}` {
		t.Fatalf("%s %v", e.Data, err)
	}
	if err := reader.AppKeys.Put("l", "x"); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("stored: %v", err)
	}
	after, _ := os.ReadFile(filepath.Join(dir, "vault.db"))
	if len(after) != len(before)+3 {
		t.Fatal("the reader cut the file")
	}
}

func TestReadingWhereNothingIsMakesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	s, err := secrets.OpenReadOnly(dir)
	if err != nil || len(s.AppKeys.List()) != 0 {
		t.Fatal(s, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a directory was made")
	}
}
