package bus_test

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

var errForbidden = errors.New("that address may not be reached")

func TestADeliveryConnectsOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	for _, to := range []string{r.URL, strings.Replace(r.URL, "127.0.0.1", "localhost", 1), strings.Replace(r.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		var asked []string
		o := newOffice(t, func(scheme string, a netip.AddrPort) error {
			asked = append(asked, scheme)
			if a.Addr().Unmap().IsLoopback() {
				return errForbidden
			}
			return nil
		})
		h := o.add(to, news.Filter{}, 0)
		if err := o.sender.Send(t.Context(), h, "id", []byte("{}")); !errors.Is(err, errForbidden) || strings.Contains(err.Error(), to) {
			t.Errorf("%s: %v", to, err)
		}
		if err := o.sender.Reachable(t.Context(), to); !errors.Is(err, errForbidden) || asked[0] != "http" {
			t.Errorf("%s: %v, asked as %v", to, err, asked)
		}
	}
	if n := len(r.deliveries()); n != 0 {
		t.Errorf("%d deliveries came", n)
	}
	if err := bus.NewSender(anywhere, "").Reachable(t.Context(), "https://no-such-host.invalid/"); err != nil {
		t.Errorf("a name that cannot be resolved yet: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	target := newReceiver(t, nil)
	o, r := newOffice(t, anywhere), newReceiver(t, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, target.URL, status) })
		err := o.sender.Send(t.Context(), o.add(r.URL, news.Filter{}, 0), "id", []byte("{}"))
		var no *bus.RefusedError
		if !errors.As(err, &no) || !no.Final() || !strings.Contains(err.Error(), "redirects are not followed") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := len(target.deliveries()); n != 0 {
		t.Errorf("%d deliveries went where a redirect led", n)
	}
}

func TestAddressesAndSecretsStayOutOfWordsAboutThem(t *testing.T) {
	t.Parallel()
	o, r := newOffice(t, anywhere), newReceiver(t, func(n int, _ got) int { return 200 + 200*(n%2) })
	h := o.add(r.URL+"/token-4711?key=token-0815", news.Filter{}, 0)
	gone := newReceiver(t, nil)
	gone.Close()
	o.courier.GiveUp = 10 * time.Millisecond
	dead := o.add(gone.URL+"/token-4711", news.Filter{}, 0)
	o.write("a-1", "x.one.v1", alice, 4)
	o.run(o.courier)
	o.eventually("all is told", func() bool { return o.status(h).Next == 4 && o.status(dead).Next == 4 })
	asides, err := o.state.Aside(t.Context(), "")
	if err != nil || len(asides) == 0 {
		t.Fatal(asides, err)
	}
	words := o.said.String() + o.status(h).Error + o.status(dead).Error
	for _, a := range asides {
		words += a.Reason
	}
	for _, secret := range []string{"token", h.Secret, dead.Secret} {
		if strings.Contains(words, secret) {
			t.Errorf("%s is in %s", secret, words)
		}
	}
}

func TestWhatIsNoWebhook(t *testing.T) {
	t.Parallel()
	for to, why := range map[string]string{
		"ftp://example.org/": "want https", "example.org": "want https", "https:///x": "names no host", "https://u:p@example.org/": "user or password",
		"https://example.org/#x": "#fragment", "https://example.org/%zz": "cannot be read", "https://example.org/" + strings.Repeat("x", 3000): "at most 2048",
	} {
		if _, err := bus.NewHook(to, news.Filter{}, 0, time.Now()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v", to, err)
		}
	}
	if _, err := bus.NewHook("https://example.org/", news.Filter{Types: []string{""}}, 0, time.Now()); err == nil {
		t.Error("a filter that says nothing passes")
	}
}

func TestTheStateSurvives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "news", "news.db")
	at := time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC)
	h, ctx := bus.Hook{ID: "wh_1", From: 7}, t.Context()
	for life := range 3 {
		s, err := bus.OpenState(path)
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Status(ctx, h)
		if want := (bus.Status{Next: 7}); life == 0 && st != want || err != nil {
			t.Fatalf("%+v %v", st, err)
		}
		want := bus.Status{Next: 20, Delivered: 2, Last: at, Failures: 1, Error: "no", Failed: at.Add(time.Second), Aside: 1}
		if life > 0 && st != want {
			t.Errorf("life %d: %+v, want %+v", life, st, want)
		}
		if life == 0 {
			for _, err := range []error{
				s.Took(ctx, h.ID, at), s.Passed(ctx, h.ID, 20), s.Passed(ctx, h.ID, 9), s.Refused(ctx, h.ID, "no", at),
				s.Took(ctx, h.ID, at), s.Refused(ctx, h.ID, "no", at.Add(time.Second)),
				s.SetAside(ctx, bus.Aside{Hook: h.ID, Position: 9, Event: "e", Type: "t", Stream: "s", Reason: strings.Repeat("ü", 400), At: at}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		asides, err := s.Aside(ctx, h.ID)
		if err != nil || len(asides) != 1 || asides[0].Position != es.Position(9) || !asides[0].At.Equal(at) || asides[0].Reason != strings.Repeat("ü", 250) {
			t.Errorf("%+v %v", asides, err)
		}
		if life == 2 {
			if err := s.Forget(ctx, h.ID); err != nil {
				t.Fatal(err)
			}
			if st, err := s.Status(ctx, h); err != nil || st != (bus.Status{Next: 7}) {
				t.Errorf("%+v %v", st, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}
