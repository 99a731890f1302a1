package supervisor_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
	"github.com/emet-node/emet/domain/activity/unit"
)

func pack(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAPackageWithAManifest(t *testing.T) {
	t.Parallel()
	image := pack(t, map[string][]byte{
		"manifest.json": []byte(`{"id":"x","name":"x","entry-points":[{"id":"main","wasm-path":"bin/app.wasm"}],
			"mount-points":[{"ro":"in"},{"rw":"work"},{"private":"tmp"}]}`),
		"bin/app.wasm": exeunittest.Guest(t),
	})
	u := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "app.zip", image) }, nil)
	r := u.Run("d", `[{"deploy":{"volumes":["/extra"]}}]`)
	if r.Outcome != unit.Done || !strings.Contains(r.Out, `"valid":{"Ok":"success"}`) || !strings.Contains(r.Out, `"path":"/extra"`) || strings.Contains(r.Out, "/tmp") {
		t.Fatalf("%+v", r)
	}
	u.Run("s", `[{"start":{}}]`)
	if r := u.Run("a", exeunittest.Script("main", "args", "x")); r.Out != "bin/app.wasm|args|x\n" {
		t.Errorf("%+v", r)
	}
	if r := u.Run("u", exeunittest.Script("other")); r.Code() != -1 || !strings.Contains(r.Message(), "it has main") {
		t.Errorf("%+v", r)
	}
	if r := u.Run("ro", exeunittest.Script("main", "write", "/in/f", "x")); r.Code() == 0 {
		t.Errorf("%+v", r)
	}
	if r := u.Run("private", exeunittest.Script("main", "write", "/tmp/f", "x")); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
	if r := u.Run("get", `[{"transfer":{"from":"container:/tmp/f","to":"container:/work/f"}}]`); !strings.Contains(r.Message(), "path not found in container") {
		t.Errorf("%+v", r)
	}
	for field, value := range map[string]string{"format": `"zip.0"`, "fileset": `["*.o"]`} {
		if r := u.Run(field, `[{"transfer":{"from":"container:/in/a","to":"container:/work/a","`+field+`":`+value+`}}]`); r.Outcome != unit.Failed || !strings.Contains(r.Message(), "leave "+field+" out") {
			t.Errorf("%+v", r)
		}
	}
}

func TestImagesThatCannotRunSayWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"component": {[]byte{0, 'a', 's', 'm', 13, 0, 1, 0}, "component"},
		"elf":       {[]byte("\x7fELF2345678"), "7f 45 4c 46"},
		"empty":     {nil, "WebAssembly"},
		"zip":       {pack(t, map[string][]byte{"x": nil}), "manifest.json"},
		"escape":    {pack(t, map[string][]byte{"manifest.json": []byte(`{"entry-points":[{"id":"m","wasm-path":"../x"}]}`)}), ".."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, func(s *unit.Spec) { s.ImageRef = exeunittest.Serve(t, "i", c.image) }, nil)
			r := u.Run("d", `[{"deploy":{}},{"start":{}}]`)
			if r.Outcome != unit.Failed || !strings.Contains(r.Message(), c.want) || len(r.Finished) != 1 {
				t.Errorf("%+v", r)
			}
			if u.State() != "Initialized" {
				t.Errorf("state %s", u.State())
			}
		})
	}
}

// peer is the requestor's end of gftp transfers.
type peer struct {
	mu       sync.Mutex
	content  []byte
	up       bytes.Buffer
	finished string
	block    chan struct{} // when set, the first chunk waits for it for ever
}

func (p *peer) Metadata(context.Context, string, string) (int64, error) {
	return int64(len(p.content)), nil
}

func (p *peer) Chunk(ctx context.Context, node, file string, off, size int64) ([]byte, error) {
	if node != "0xabc" || file != "f" {
		return nil, errors.New("who?")
	}
	if p.block != nil && off > 0 {
		close(p.block)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.content[off:min(off+size, int64(len(p.content)))], nil
}

func (p *peer) Upload(_ context.Context, _, _ string, off int64, c []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if off != int64(p.up.Len()) {
		return fmt.Errorf("chunk at %d after %d", off, p.up.Len())
	}
	p.up.Write(c)
	return nil
}

func (p *peer) UploadFinished(_ context.Context, _, _, hash string) error {
	p.finished = hash
	return nil
}

func TestFilesGoThroughTheDaemon(t *testing.T) {
	t.Parallel()
	p := &peer{content: bytes.Repeat([]byte("golem "), 100_000)}
	u := start(t, nil, p)
	u.Ready()
	r := u.Run("t", `[{"transfer":{"from":"gftp://0xabc/f","to":"container:/golem/input/f","progress":{"updateStep":1}}},
		{"run":{"entry_point":"copy","args":["/golem/input/f","/golem/output/f"]}},
		{"transfer":{"from":"container:/golem/output/f","to":"gftp://0xabc/up","args":{}}}]`)
	if r.Outcome != unit.Done || !bytes.Equal(p.up.Bytes(), p.content) || len(p.finished) != 64 {
		t.Errorf("%+v, %d bytes up, hash %q", r, p.up.Len(), p.finished)
	}
	n := 0
	for _, e := range u.Log {
		if f, ok := e.Body.(unit.TransferFinished); ok && f.Bytes == int64(len(p.content)) && f.SHA3 == p.finished {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d transfers told", n)
	}
	for _, bad := range []string{"/etc/passwd", "/golem/input/..%2f..%2f..%2fjournal.jsonl", "/golem/input/../../journal.jsonl"} {
		if r := u.Run(bad, `[{"transfer":{"from":"container:`+bad+`","to":"gftp://0xabc/up"}}]`); r.Outcome != unit.Failed {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

func TestADownloadOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	p := &peer{content: bytes.Repeat([]byte("golem "), 100_000), block: make(chan struct{})}
	u := start(t, nil, p)
	u.Ready()
	if err := u.Exec(context.Background(), "t", `[{"transfer":{"from":"gftp://0xabc/f","to":"/golem/work/f"}}]`); err != nil {
		t.Fatal(err)
	}
	<-p.block
	u.Close()
	p.block = nil
	u.Attach(p)
	if r := u.Await("t"); r.Outcome != unit.Done {
		t.Errorf("%+v", r)
	}
}
