package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/emet-node/emet/domain/identity"
)

const (
	secretOne                 = "0000000000000000000000000000000000000000000000000000000000000001"
	idOne     identity.NodeID = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
)

func openKeys(t *testing.T) *Keys {
	t.Helper()
	k, err := OpenKeys(filepath.Join(t.TempDir(), "keystore"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnIdentityLivesThroughARestart(t *testing.T) {
	t.Parallel()
	k := openKeys(t)
	open, err := k.Create("")
	if err != nil || open.Locked || len(open.PublicKey) != 128 {
		t.Fatalf("%+v %v", open, err)
	}
	shut, err := k.Import(secretOne, "sesame")
	if err != nil || shut.ID != idOne {
		t.Fatalf("%+v %v", shut, err)
	}
	again, err := OpenKeys(k.dir)
	if err != nil || len(again.List()) != 2 {
		t.Fatalf("%v %v", again.List(), err)
	}
	if i, err := again.Info(open.ID); err != nil || i != open {
		t.Fatalf("an empty passphrase: %+v %v", i, err)
	}
	if _, err := again.SignPayment(context.Background(), idOne, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("a locked key signs: %v", err)
	}
	if err := again.Unlock(idOne, "simsim"); !errors.Is(err, ErrPassphrase) {
		t.Fatalf("a wrong passphrase: %v", err)
	}
	if err := again.Unlock(idOne, "sesame"); err != nil {
		t.Fatal(err)
	}
	if s, err := again.ExportPlain(idOne); err != nil || s != secretOne {
		t.Fatalf("export: %v", err)
	}
}

func TestALockedIdentityStaysLocked(t *testing.T) {
	t.Parallel()
	k := openKeys(t)
	i, err := k.Import(secretOne, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Lock(i.ID); err != nil {
		t.Fatal(err)
	}
	if i, err := k.Info(i.ID); err != nil || !i.Locked {
		t.Fatalf("locked by hand, but %+v %v", i, err)
	}
	if err := k.ChangePassphrase(i.ID, "x"); !errors.Is(err, ErrLocked) {
		t.Fatalf("change while locked: %v", err)
	}
	if err := k.Unlock(i.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := k.ChangePassphrase(i.ID, "new"); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeys(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := again.Info(i.ID); err != nil || !i.Locked {
		t.Fatalf("after the passphrase changed: %+v %v", i, err)
	}
	if err := errors.Join(again.Unlock(i.ID, "new"), again.Delete(i.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Info(i.ID); !errors.Is(err, ErrNoKey) {
		t.Fatalf("deleted, but %v", err)
	}
	if _, err := os.Stat(k.path(i.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the file is still there: %v", err)
	}
}

func TestKeyFilesAreThoseOfEthereum(t *testing.T) {
	t.Parallel()
	k := openKeys(t)
	if _, err := k.Import(secretOne, "sesame"); err != nil {
		t.Fatal(err)
	}
	file, err := k.Export(idOne)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := keystore.DecryptKey(file, "sesame")
	if err != nil || nodeID(&theirs.PrivateKey.PublicKey) != idOne {
		t.Fatalf("another wallet cannot read it: %v", err)
	}
	var f keyFile
	if err := json.Unmarshal(file, &f); err != nil || f.Crypto.KDFParams.C != 600_000 || strings.Contains(string(file), "0x") {
		t.Fatalf("%s %v", file, err)
	}
	light, err := keystore.EncryptKey(theirs, "other", 1<<12, 6)
	if err != nil {
		t.Fatal(err)
	}
	other := openKeys(t)
	if _, err := other.ImportFile(light, "sesame"); !errors.Is(err, ErrPassphrase) {
		t.Fatalf("wrong passphrase: %v", err)
	}
	if i, err := other.ImportFile(light, "other"); err != nil || i.ID != idOne {
		t.Fatalf("a scrypt file: %+v %v", i, err)
	}
}

func TestBadKeyFilesAreRefused(t *testing.T) {
	t.Parallel()
	file, err := sealKey(append(make([]byte, 31), 1), idOne, "")
	if err != nil {
		t.Fatal(err)
	}
	k := openKeys(t)
	for name, change := range map[string][2]string{
		"address":    {"7e5f4552", "7e5f4553"},
		"version":    {`"version": 3`, `"version": 1`},
		"kdf":        {`"pbkdf2"`, `"argon"`},
		"work":       {"600000", "600000000"},
		"no json":    {"{", "["},
		"cipher":     {"aes-128-ctr", "aes-128-cbc"},
		"prf":        {"hmac-sha256", "hmac-sha1"},
		"scrypt big": {`"pbkdf2",`, `"scrypt","kdfparams":{"n":1073741824,"r":8,"p":1,"dklen":32,"salt":""},"x":`},
	} {
		bad := strings.Replace(string(file), change[0], change[1], 1)
		if bad == string(file) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if name == "scrypt big" {
			bad = `{"version":3,"crypto":{"cipher":"aes-128-ctr","kdf":"scrypt","kdfparams":{"n":1073741824,"r":8,"p":1,"dklen":32,"salt":""}}}`
		}
		if _, err := k.ImportFile([]byte(bad), ""); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []string{"", "0x" + secretOne, secretOne[1:], strings.Repeat("0", 64), strings.Repeat("f", 64), strings.Repeat("g", 64)} {
		if _, err := k.Import(s, ""); !errors.Is(err, ErrSecret) || strings.Contains(err.Error(), s) && s != "" {
			t.Errorf("secret %q: %v", s, err)
		}
	}
}

func TestWiderModesAreRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keys.Create(""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.HostKey(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	keyfile := filepath.Join("keystore", string(s.Keys.List()[0])+".json")
	for name, mode := range map[string]os.FileMode{".": 0o700, "keystore": 0o700, "vault.db": 0o600, "vault.key": 0o600, keyfile: 0o600} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
		if err := os.Chmod(path, mode|0o040); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, ErrTooOpen) || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: opened with %v", name, err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := s.HostKey()
	b, err2 := again.HostKey()
	l, err3 := again.LogKey()
	if err := errors.Join(err1, err2, err3); err != nil || !a.Equal(b) || a.Equal(l) {
		t.Fatalf("host key and log key: %v", err)
	}
}

func TestNodeIDOfTheRelayVector(t *testing.T) {
	t.Parallel()
	key, err := crypto.HexToECDSA(strings.Repeat("01", 32))
	if err != nil || nodeID(&key.PublicKey) != "0x1a642f0e3c3af545e7acbd38b07251b3990914f1" {
		t.Fatalf("%s %v", nodeID(&key.PublicKey), err)
	}
}

func BenchmarkUnlock(b *testing.B) {
	file, err := sealKey(append(make([]byte, 31), 1), idOne, "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := openKey(file, ""); err != nil {
			b.Fatal(err)
		}
	}
}
