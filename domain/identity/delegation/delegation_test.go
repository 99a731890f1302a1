package delegation_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/gowebpki/jcs"

	"github.com/emet-node/emet/domain/identity/delegation"
)

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	valid = delegation.Document{
		Chain: 137, Identity: "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf", NotBefore: noon.Unix(), NotAfter: noon.Add(24 * time.Hour).Unix(),
		PublicKey: "08011220aa", Role: delegation.Host, Subject: "12D3KooWExample",
	}
)

func TestTheDigestIsTheOneThatWalletsSign(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(valid.TypedData())
	if err != nil {
		t.Fatal(err)
	}
	var td apitypes.TypedData
	if err := json.Unmarshal(b, &td); err != nil {
		t.Fatal(err)
	}
	want, _, err := apitypes.TypedDataAndHash(td)
	if err != nil {
		t.Fatal(err)
	}
	if got := valid.Digest(crypto.Keccak256); string(got[:]) != string(want) {
		t.Fatalf("digest %x, a wallet signs %x", got, want)
	}
}

func TestOneDocumentHasOneSpelling(t *testing.T) {
	t.Parallel()
	b, err := valid.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := jcs.Transform(b); err != nil || string(want) != string(b) {
		t.Fatalf("%s is not canonical: %s %v", b, want, err)
	}
	if d, err := delegation.Parse(b); err != nil || d != valid {
		t.Fatalf("parse: %+v %v", d, err)
	}
	for _, bad := range []string{
		" " + string(b), string(b) + "\n", string(b) + "{}", strings.Replace(string(b), "host", "root", 1), `{"extra":1,` + string(b)[1:],
		strings.Replace(string(b), "0x7e", "0x7E", 1), strings.Replace(string(b), "08011220aa", "08011220AA", 1), "null", "{}", "",
		strings.Replace(string(b), `"chain":137`, `"chain":9007199254740993`, 1), strings.Repeat("x", delegation.MaxBytes+1),
	} {
		if _, err := delegation.Parse([]byte(bad)); !errors.Is(err, delegation.ErrMalformed) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

func TestItCountsBetweenItsTimes(t *testing.T) {
	t.Parallel()
	for at, ok := range map[time.Duration]bool{
		-time.Hour: false, -4 * time.Minute: true, 0: true, 24 * time.Hour: true, 24*time.Hour + time.Second: false,
	} {
		if err := valid.ValidAt(noon.Add(at)); (err == nil) != ok || !ok && !errors.Is(err, delegation.ErrNotValid) {
			t.Errorf("at %s: %v", at, err)
		}
	}
	long := valid
	long.NotAfter = noon.Add(31 * 24 * time.Hour).Unix()
	if _, err := long.Canonical(); !errors.Is(err, delegation.ErrMalformed) {
		t.Errorf("a host key for 31 days: %v", err)
	}
	long.Role = delegation.Log
	if _, err := long.Canonical(); err != nil {
		t.Errorf("a log key for 31 days: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	b, err := valid.Canonical()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := delegation.Parse(in)
		if err != nil {
			return
		}
		out, err := d.Canonical()
		if err != nil || string(out) != string(in) {
			t.Fatalf("%q became %q (%v)", in, out, err)
		}
		d.Digest(crypto.Keccak256)
	})
}
