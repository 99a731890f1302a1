package transfer

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/activity/unit"
)

// Mover copies one thing from one place to another. Places are container paths
// ("container:/in/x" or a bare path), http and https URLs, and gftp URLs.
type Mover struct {
	Volumes []Volume
	Client  *http.Client // see NewClient
	Files   unit.Files   // nil refuses gftp
	// Room is how many bytes may still be written to volumes, nil = any number.
	Room func() int64
	// Retry is the pause before each new attempt after a failure of the network.
	Retry []time.Duration
}

// Progress hears how many bytes were moved; total is -1 when unknown.
type Progress func(done, total int64, message string)

// Moved says what a transfer moved. Its URLs are free of credentials.
type Moved struct {
	From, To string
	Bytes    int64
	SHA3     string // SHA3-256, hex
}

// Copy moves from one place to another. A source may begin with
// hash:sha3:<hex>:, which is then checked before the copy counts as done.
func (m *Mover) Copy(ctx context.Context, from, to string, report Progress) (Moved, error) {
	ref, hashed, err := sourceRef(from)
	if err != nil {
		return Moved{}, err
	}
	if report == nil {
		report = func(int64, int64, string) {}
	}
	moved := Moved{From: public(ref.URL), To: public(to)}
	for attempt := 0; ; attempt++ {
		err := m.once(ctx, ref, hashed, to, &moved, report)
		if err == nil || attempt >= len(m.Retry) || ctx.Err() != nil || !again(err) || scheme(to) == "gftp" {
			return moved, err
		}
		report(0, -1, fmt.Sprintf("Retry in %gs because of error: %v", m.Retry[attempt].Seconds(), err))
		select {
		case <-ctx.Done():
			return moved, context.Cause(ctx)
		case <-time.After(m.Retry[attempt]):
		}
	}
}

func sourceRef(from string) (Ref, bool, error) {
	if len(from) >= 5 && strings.EqualFold(from[:5], "hash:") {
		ref, err := ParseRef(from)
		return ref, true, err
	}
	return Ref{URL: from}, false, nil
}

func (m *Mover) once(ctx context.Context, ref Ref, hashed bool, to string, moved *Moved, report Progress) error {
	ctx, pat, stop := watchdog(ctx, stallAfter)
	defer stop()
	src, size, err := m.open(ctx, ref.URL)
	if err != nil {
		return cause(ctx, err)
	}
	defer src.Close()
	meter := &tally{r: src, sum: sha3.New256(), total: size, pat: pat, report: report}
	r := io.Reader(meter)
	if hashed {
		r = ref.verify(r)
	}
	if err := m.put(ctx, to, r, size); err != nil {
		return cause(ctx, err)
	}
	moved.Bytes, moved.SHA3 = meter.n, hex.EncodeToString(meter.sum.Sum(nil))
	return nil
}

func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// tally counts, hashes and reports what passes.
type tally struct {
	r        io.Reader
	sum      hash.Hash
	n, total int64
	pat      func()
	report   Progress
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.pat()
		t.sum.Write(p[:n])
		t.n += int64(n)
		t.report(t.n, t.total, "")
	}
	return n, err
}

func scheme(place string) string {
	s, _, ok := strings.Cut(place, ":")
	if !ok || strings.Contains(s, "/") {
		return "container"
	}
	return strings.ToLower(s)
}

func (m *Mover) open(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	switch s := scheme(from); s {
	case "container":
		v, rest, err := Resolve(m.Volumes, containerPath(from))
		if err != nil {
			return nil, 0, err
		}
		return openFile(v, rest)
	case "http", "https":
		return m.get(ctx, from)
	case "gftp":
		return m.download(ctx, from)
	default:
		return nil, 0, fmt.Errorf("transfer from %s: is not done here; known are container, http, https and gftp", s)
	}
}

func (m *Mover) put(ctx context.Context, to string, r io.Reader, size int64) error {
	switch s := scheme(to); s {
	case "container":
		v, rest, err := Resolve(m.Volumes, containerPath(to))
		if err != nil {
			return err
		}
		if m.Room != nil {
			room := m.Room()
			if size > room {
				return ErrNoRoom
			}
			r = &bounded{r, room}
		}
		return writeFile(v, rest, r)
	case "http", "https":
		return m.send(ctx, to, r, size)
	case "gftp":
		return m.upload(ctx, to, r)
	default:
		return fmt.Errorf("transfer to %s: is not done here; known are container, http, https and gftp", s)
	}
}

func containerPath(place string) string {
	if len(place) >= 10 && strings.EqualFold(place[:10], "container:") {
		place = place[10:]
		if strings.HasPrefix(place, "///") { // an empty authority
			place = place[2:]
		}
	}
	return place
}

// ErrNoRoom says that a transfer would break the storage limit.
var ErrNoRoom = errors.New("the storage limit of the activity leaves no room for it")

type bounded struct {
	r    io.Reader
	room int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.room -= int64(n); b.room < 0 {
		return 0, ErrNoRoom
	}
	return n, err
}

// statusError is an answer of a web server that is not a success.
type statusError struct {
	Code int
	URL  string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: HTTP status %d %s", e.URL, e.Code, http.StatusText(e.Code))
}

// again says whether another attempt may help.
func again(err error) bool {
	var status *statusError
	var op net.Error
	switch {
	case errors.Is(err, ErrEgress):
		return false
	case errors.As(err, &status):
		return status.Code >= 500
	}
	return errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF)
}

func request(ctx context.Context, method, place string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, place, body)
	if err != nil {
		return nil, fmt.Errorf("%s is no URL", public(place))
	}
	if u := r.URL.User; u != nil {
		pass, _ := u.Password()
		r.SetBasicAuth(u.Username(), pass)
		r.URL.User = nil
	}
	r.Header.Set("User-Agent", "emet")
	return r, nil
}

func (m *Mover) get(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	r, err := request(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := m.Client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, 0, &statusError{resp.StatusCode, public(from)}
	}
	return resp.Body, resp.ContentLength, nil
}

func (m *Mover) send(ctx context.Context, to string, body io.Reader, size int64) error {
	r, err := request(ctx, http.MethodPut, to, io.NopCloser(body))
	if err != nil {
		return err
	}
	r.ContentLength = size
	resp, err := m.Client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 {
		return &statusError{resp.StatusCode, public(to)}
	}
	return nil
}

// public is a place as it may be shown: without user, password and query.
func public(place string) string {
	switch scheme(place) {
	case "http", "https":
	default:
		return place
	}
	u, err := url.Parse(place)
	if err != nil {
		return scheme(place) + ":"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
