package secrets

import (
	"bytes"
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

func TestBlobsAreSealedAndErased(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir() + "/secrets")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, text := t.Context(), bytes.Repeat([]byte("a guest said this. "), 1000)
	one, err := s.Vault.SealBlob(ctx, "activity/1", text)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Vault.SealBlob(ctx, "activity/1", text)
	other, _ := s.Vault.SealBlob(ctx, "activity/2", text)
	if !bytes.Equal(one, again) || bytes.Equal(one, other) || bytes.Contains(one, []byte("guest said")) {
		t.Error("sealing is not what it should be")
	}
	if got, err := s.Vault.OpenBlob(ctx, one); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for i := range len(one) {
		if i > 200 && i < len(one)-200 {
			continue
		}
		bad := bytes.Clone(one)
		bad[i] ^= 1
		if _, err := s.Vault.OpenBlob(ctx, bad); err == nil {
			t.Fatalf("byte %d may be changed", i)
		}
	}
	if err := s.Vault.Erase(ctx, "activity/1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Vault.OpenBlob(ctx, one); !errors.Is(err, es.ErrErased) {
		t.Errorf("after erasure: %v", err)
	}
	if _, err := s.Vault.OpenBlob(ctx, other); err != nil {
		t.Errorf("another subject: %v", err)
	}
	if _, err := s.Vault.SealBlob(ctx, "", text); err == nil {
		t.Error("content of nobody is sealed")
	}
}
