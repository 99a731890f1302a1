package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

const maxURL = 2048

// Hook is somebody who wants to be told.
type Hook struct {
	ID      string      `json:"id"`
	URL     string      `json:"url"`
	Filter  news.Filter `json:"filter"`
	From    es.Position `json:"from"` // the first position that is told
	Created time.Time   `json:"created"`
	Secret  string      `json:"secret"` // that deliveries are signed with
}

// NewHook makes a webhook with a secret of its own. It fails when the URL or
// the filter cannot be used.
func NewHook(to string, f news.Filter, from es.Position, at time.Time) (Hook, error) {
	if err := errors.Join(checkURL(to), f.Check()); err != nil {
		return Hook{}, err
	}
	return Hook{ID: "wh_" + random(6), URL: to, Filter: f, From: from, Created: at.UTC(), Secret: "whsec_" + random(32)}, nil
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails
	return hex.EncodeToString(b)
}

func checkURL(to string) error {
	u, err := url.Parse(to)
	switch {
	case err != nil:
		return errors.New("the URL cannot be read; want one such as https://example.org/hook")
	case len(to) > maxURL:
		return fmt.Errorf("the URL has %d bytes, at most %d", len(to), maxURL)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("URL scheme %q: want https, or http for addresses that webhook.allow names", u.Scheme)
	case u.Hostname() == "":
		return errors.New("the URL names no host; want one such as https://example.org/hook")
	case u.User != nil:
		return errors.New("the URL has a user or password in it; put a token into its path, or check the signature of what comes")
	case u.Fragment != "":
		return errors.New("the URL has a #fragment, which is never sent")
	}
	return nil
}

// host is what may be written into logs of an address that may be a secret.
func host(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return ""
	}
	return u.Host
}
