package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/crypto/scrypt"

	"github.com/emet-node/emet/domain/identity"
)

// Rounds is the PBKDF2 work factor of key files written here.
const Rounds = 600_000

// Errors of key files.
var (
	ErrPassphrase = errors.New("wrong passphrase")
	ErrKeyFile    = errors.New("not a keystore file of version 3")
)

// keyFile is an Ethereum keystore of version 3. No value has a 0x.
type keyFile struct {
	ID      string     `json:"id"`
	Version int        `json:"version"`
	Crypto  cryptoPart `json:"crypto"`
	Address string     `json:"address"`
}

type cryptoPart struct {
	Cipher       string       `json:"cipher"`
	CipherParams cipherParams `json:"cipherparams"`
	CipherText   string       `json:"ciphertext"`
	KDF          string       `json:"kdf"`
	KDFParams    kdfParams    `json:"kdfparams"`
	MAC          string       `json:"mac"`
}

type cipherParams struct {
	IV string `json:"iv"`
}

type kdfParams struct {
	C     int    `json:"c,omitempty"`
	DKLen int    `json:"dklen"`
	N     int    `json:"n,omitempty"`
	P     int    `json:"p,omitempty"`
	PRF   string `json:"prf,omitempty"`
	R     int    `json:"r,omitempty"`
	Salt  string `json:"salt"`
}

// sealKey writes a secret as a key file.
func sealKey(secret []byte, id identity.NodeID, passphrase string) ([]byte, error) {
	salt, iv, uuid := make([]byte, 32), make([]byte, 16), make([]byte, 16)
	for _, b := range [][]byte{salt, iv, uuid} {
		rand.Read(b) //nolint:errcheck // never fails
	}
	derived, err := pbkdf2.Key(sha256.New, passphrase, salt, Rounds, 32)
	if err != nil {
		return nil, err
	}
	text, err := ctr(derived[:16], iv, secret)
	if err != nil {
		return nil, err
	}
	f := keyFile{ID: uuid4(uuid), Version: 3, Address: strings.TrimPrefix(string(id), "0x"), Crypto: cryptoPart{
		Cipher: "aes-128-ctr", CipherParams: cipherParams{IV: hex.EncodeToString(iv)}, CipherText: hex.EncodeToString(text),
		KDF: "pbkdf2", KDFParams: kdfParams{C: Rounds, DKLen: 32, PRF: "hmac-sha256", Salt: hex.EncodeToString(salt)},
		MAC: hex.EncodeToString(crypto.Keccak256(derived[16:32], text)),
	}}
	return json.MarshalIndent(f, "", "  ")
}

// openKey returns the secret of a key file. The address that the file claims
// is not trusted: the caller compares it with the one of the secret.
func openKey(b []byte, passphrase string) ([]byte, error) {
	f, err := parseKeyFile(b)
	if err != nil {
		return nil, err
	}
	derived, err := f.Crypto.derive(passphrase)
	if err != nil {
		return nil, err
	}
	text, err := hex.DecodeString(f.Crypto.CipherText)
	if err != nil || len(text) != 32 {
		return nil, fmt.Errorf("%w: ciphertext", ErrKeyFile)
	}
	mac, err := hex.DecodeString(f.Crypto.MAC)
	if err != nil || subtle.ConstantTimeCompare(mac, crypto.Keccak256(derived[16:32], text)) != 1 {
		return nil, ErrPassphrase
	}
	iv, err := hex.DecodeString(f.Crypto.CipherParams.IV)
	if err != nil || len(iv) != aes.BlockSize {
		return nil, fmt.Errorf("%w: iv", ErrKeyFile)
	}
	return ctr(derived[:16], iv, text)
}

func parseKeyFile(b []byte) (keyFile, error) {
	var f keyFile
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if f.Version != 3 || f.Crypto.Cipher != "aes-128-ctr" {
		return f, fmt.Errorf("%w: version %d, cipher %q", ErrKeyFile, f.Version, f.Crypto.Cipher)
	}
	return f, nil
}

// derive makes the file's key of a passphrase. The work a file may ask for is
// bounded: it may come from a stranger.
func (c cryptoPart) derive(passphrase string) ([]byte, error) {
	p := c.KDFParams
	salt, err := hex.DecodeString(p.Salt)
	if err != nil || p.DKLen < 32 || p.DKLen > 64 {
		return nil, fmt.Errorf("%w: salt or dklen", ErrKeyFile)
	}
	switch c.KDF {
	case "pbkdf2":
		if p.PRF != "hmac-sha256" || p.C < 1 || p.C > 50_000_000 {
			return nil, fmt.Errorf("%w: pbkdf2 with prf %q, c %d", ErrKeyFile, p.PRF, p.C)
		}
		return pbkdf2.Key(sha256.New, passphrase, salt, p.C, p.DKLen)
	case "scrypt":
		if p.N > 1<<20 || p.R > 32 || p.P > 16 || p.N*p.R > 1<<23 {
			return nil, fmt.Errorf("%w: scrypt with n %d, r %d, p %d", ErrKeyFile, p.N, p.R, p.P)
		}
		b, err := scrypt.Key([]byte(passphrase), salt, p.N, p.R, p.P, p.DKLen)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: kdf %q", ErrKeyFile, c.KDF)
}

func ctr(key, iv, text []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCTR(block, iv).XORKeyStream(out, text)
	return out, nil
}

func uuid4(b []byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
