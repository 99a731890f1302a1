package news

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Header names what a delivery is signed with.
const Header = "Emet-Signature"

// Tolerance is how old a signature may be for a receiver that has no reason to
// choose otherwise.
const Tolerance = 5 * time.Minute

// Why a signature does not count.
var (
	ErrUnsigned = errors.New("not signed in a form that is known")
	ErrForged   = errors.New("the signature is not that of this body")
	ErrStale    = errors.New("the signature is too old, or of the future")
)

// Sign is the value of [Header] for a body that is sent at a time:
//
//	t=<seconds since 1970>,v1=<HMAC-SHA-256 over "<t>.<body>" in hexadecimal>
//
// The key is the text of the secret.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is what a receiver does with the value of [Header]. Parts of later
// versions are passed over; one v1 that fits is enough.
func Verify(secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	var t string
	var signatures [][]byte
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			t = value
		case "v1":
			if b, err := hex.DecodeString(value); err == nil {
				signatures = append(signatures, b)
			}
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil || len(signatures) == 0 {
		return ErrUnsigned
	}
	want := mac(secret, t, body)
	fits := false
	for _, s := range signatures {
		fits = fits || hmac.Equal(s, want)
	}
	if !fits {
		return ErrForged
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return fmt.Errorf("%w: %s", ErrStale, age.Round(time.Second))
	}
	return nil
}
