package scripts

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver NAME starts somebody who takes deliveries and sets a variable to its
// URL. /take takes all; /refuse takes nothing; /redirect leads elsewhere;
// /later takes nothing until /now was asked for; /seen shows what was taken.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver name")
	}
	var (
		mu   sync.Mutex
		open bool
		told strings.Builder
	)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/now":
			open = true
		case r.URL.Path == "/seen":
			_, _ = io.WriteString(w, told.String())
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/take", http.StatusTemporaryRedirect)
		case r.URL.Path == "/refuse" || r.URL.Path == "/later" && !open:
			w.WriteHeader(http.StatusForbidden)
		default:
			told.WriteString(r.Header.Get("Idempotency-Key") + " " + r.Header.Get("Emet-Signature") + " " + string(body) + "\n")
		}
	}))
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.URL)
}

// fetch URL prints what is there.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fetch url")
	}
	_, err := io.WriteString(ts.Stdout(), page(ts, args[0]))
	ts.Check(err)
}

func page(ts *testscript.TestScript, url string) string {
	res, err := http.Get(url) //nolint:gosec // of a server of this test
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	return string(b)
}

// seen URL TEXT waits until a text is there.
func seen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: seen url text")
	}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(page(ts, args[0]), args[1]) {
			return
		}
	}
	ts.Fatalf("%s never said %s", args[0], args[1])
}

// remember NAME FILE sets a variable to what a file says in one line.
func remember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: remember name file")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
