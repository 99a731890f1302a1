package golemjs

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
	"github.com/emet-node/emet/tests/built"
)

// guest is a program for the WASM runtime that does what its first argument
// says.
const guest = `package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	switch os.Args[1] {
	case "say":
		fmt.Println(strings.Join(os.Args[2:], " "))
	case "fail":
		fmt.Fprintln(os.Stderr, "on purpose")
		os.Exit(3)
	case "count":
		fmt.Print("0123456789")
	case "hang":
		fmt.Println("begun")
		time.Sleep(time.Hour)
	case "tick":
		for i := range 3 {
			fmt.Println("tick", i)
			time.Sleep(time.Second)
		}
	case "upper":
		b, err := os.ReadFile(os.Args[2])
		if err == nil {
			err = os.WriteFile(os.Args[3], []byte(strings.ToUpper(string(b))), 0o644)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}
`

const manifest = `{"id":"emet/test","name":"test","runtime":"wasi",` +
	`"entry-points":[{"id":"main","wasm-path":"app.wasm"}],"mount-points":[{"rw":"work"}]}`

// image builds a WASM image, serves it and returns its URL and digest.
func image(t *testing.T) (url, hash string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), guest)
	write(t, filepath.Join(dir, "go.mod"), "module guest\n\ngo 1.26\n")
	program, err := exeunittest.Compile(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"manifest.json", []byte(manifest)}, {"app.wasm", program}} {
		w, err := z.Create(f.name)
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha3.Sum224(b.Bytes())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "image.zip", time.Time{}, bytes.NewReader(b.Bytes()))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/image.zip", hex.EncodeToString(sum[:])
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) { built.Main(m, built.Emet) }

// network starts `emet dev` and returns what clients need to know of it.
func network(t *testing.T) Node {
	t.Helper()
	said := start(t, "emet dev", nil, "dev", "--port", "0", "-d", t.TempDir(), "--log-level", "info")
	return Node{URL: said["YAGNA_API_URL"], AppKey: said["YAGNA_APPKEY"]}
}

// start runs emet and returns what it said until READY: lines "export K=V" and
// "name value". It ends with the test.
func start(t *testing.T, name string, env []string, args ...string) map[string]string {
	t.Helper()
	cmd := exec.Command(built.Emet.Path(), args...)
	cmd.Env = built.Env(env...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { <-drained; ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not end within 2 min", name)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log.String())
		}
	})
	said := map[string]string{}
	for s := bufio.NewScanner(out); s.Scan(); {
		line, exported := strings.CutPrefix(s.Text(), "export ")
		separator := " "
		if exported {
			separator = "="
		}
		if k, v, ok := strings.Cut(line, separator); ok {
			said[k] = v
		}
		if line == "READY" {
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, out) }()
			return said
		}
	}
	close(drained)
	t.Fatalf("%s never got ready", name)
	return nil
}

// get asks the node for JSON.
func (n Node) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+n.AppKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if resp.StatusCode != http.StatusOK {
		return errors.New(path + ": " + resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// One network serves all rentals: several clients of one key at a time are what
// a node has to bear.
func TestRentals(t *testing.T) {
	t.Parallel()
	url, hash := image(t)
	n := network(t)
	order := func(do ...Step) Order {
		return Order{ImageURL: url, ImageHash: hash, Engine: "wasmtime", TimeoutMS: 180_000, Do: do}
	}
	t.Run("everything that a machine is for", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.txt")
		content := strings.Repeat("lower case ", 20_000) // several pieces
		write(t, in, content)
		report, err := Rent(t.Context(), n, order(
			Step{"run": []string{"main", "say", "hello", "golem"}},
			Step{"stream": []string{"main", "tick"}},
			Step{"run": []string{"main", "fail"}},
			Step{"upload": []string{in, "/work/in.txt"}},
			Step{"run": []string{"main", "upper", "/work/in.txt", "/work/out.txt"}},
			Step{"download": []string{"/work/out.txt", out}},
			Step{"downloadText": "/work/out.txt"},
		))
		if err != nil {
			t.Fatalf("%v\n%s", err, report)
		}
		everything(t, n, report, content, out)
	})
	t.Run("on the other network", func(t *testing.T) {
		t.Parallel()
		o := order(Step{"run": []string{"main", "say", "hi"}})
		o.Network = "hoodi"
		report, err := Rent(t.Context(), n, o)
		if err != nil {
			t.Fatalf("%v\n%s", err, report)
		}
		if c := report.Find("allocationCreated"); len(c) != 1 || c[0].Text("platform") != "erc20-hoodi-tglm" {
			t.Errorf("platform:\n%s", report)
		}
	})
	t.Run("an image that is not what was promised", func(t *testing.T) {
		t.Parallel()
		o := order(Step{"run": []string{"main", "say", "never"}})
		o.ImageHash = strings.Repeat("0", 56)
		o.TimeoutMS = 120_000
		report, err := Rent(t.Context(), n, o)
		if err == nil || len(report.Find("failed")) == 0 || len(report.Find("crashed")) != 0 || len(report.Find("disconnected")) != 1 {
			t.Fatalf("%v\n%s", err, report)
		}
		n.awaitEnd(t, report.Find("agreementTerminated")[0].Text("id"))
	})
}

// awaitEnd waits until all activities of an agreement are over. golem-js does
// not end those whose deployment failed.
func (n Node) awaitEnd(t *testing.T, agreementID string) {
	t.Helper()
	var ids []string
	if err := n.get(t.Context(), "/activity-api/v1/activity?agreementId="+agreementID, &ids); err != nil || len(ids) == 0 {
		t.Fatalf("activities %v: %v", ids, err)
	}
	for _, id := range ids {
		var is struct{ State []*string }
		for began := time.Now(); len(is.State) == 0 || *is.State[0] != "Terminated"; time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("activity %s is %v", id, *is.State[0])
			}
			if err := n.get(t.Context(), "/activity-api/v1/activity/"+id+"/state", &is); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func everything(t *testing.T, n Node, report Report, content, out string) {
	t.Helper()
	for _, step := range []string{
		"connected", "allocationCreated", "rented", "agreementApproved", "ready", "agreementTerminated", "invoiceAccepted", "finalized",
		"allocationReleased", "disconnected",
	} {
		if len(report.Find(step)) != 1 {
			t.Errorf("%d times %s", len(report.Find(step)), step)
		}
	}
	runs := report.Find("run")
	if len(runs) != 3 || runs[0].Text("stdout") != "hello golem\n" || runs[1].Text("result") != "Error" ||
		runs[1].Text("message") != "ExeScript command exited with code 3" || runs[2].Text("result") != "Ok" {
		t.Errorf("runs: %v", runs)
	}
	var said string
	chunks := report.Find("chunk")
	for _, c := range chunks {
		said += c.Text("text")
	}
	if said != "tick 0\ntick 1\ntick 2\n" {
		t.Errorf("streamed %q", said)
	}
	if len(chunks) < 2 || chunks[len(chunks)-1].MS-chunks[0].MS < 500 {
		t.Errorf("the stream was not live: %v", chunks)
	}
	got, err := os.ReadFile(out)
	if err != nil || string(got) != strings.ToUpper(content) {
		t.Errorf("downloaded %d of %d bytes: %v", len(got), len(content), err)
	}
	if d := report.Find("download"); len(d) != 2 || d[1].Text("text") != strings.ToUpper(content) {
		t.Errorf("%d downloads", len(d))
	}
	steps := report.Steps()
	if slices.Index(steps, "allocationReleased") < slices.Index(steps, "invoiceAccepted") {
		t.Errorf("order of steps: %v", steps)
	}
	if t.Failed() {
		t.Logf("report:\n%s", report)
	}
	settles(t, n, report.Find("invoiceAccepted")[0].Text("id"))
}

// settles waits until an accepted invoice is paid.
func settles(t *testing.T, n Node, invoice string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var is struct{ Status string }
	for is.Status != "SETTLED" {
		if err := n.get(ctx, "/payment-api/v1/invoices/"+invoice, &is); err != nil {
			t.Fatalf("the invoice is %s: %v", is.Status, err)
		}
		if is.Status != "SETTLED" {
			// Events of payments say when something changed.
			var ignored json.RawMessage
			if err := n.get(ctx, "/payment-api/v1/payments?timeout=1&afterTimestamp="+time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), &ignored); err != nil {
				t.Fatal(err)
			}
		}
	}
}
