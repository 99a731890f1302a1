package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/tests/built"
)

// finish ends a deal, pays for it, and waits until both sides have the proof.
func (d *deal) finish(m *market) {
	d.t.Helper()
	if err := d.c.DestroyActivity(d.t.Context(), d.activity, time.Minute); err != nil {
		d.t.Fatal(err)
	}
	d.settle(m.providers[0].client())
}

// shows checks the exit code and that every piece of text was printed.
func (r result) shows(t *testing.T, code int, pieces ...string) {
	t.Helper()
	r.says(t, code)
	for _, p := range pieces {
		if !strings.Contains(r.stdout, p) {
			t.Errorf("it does not show %q:\n%s", p, r.stdout)
		}
	}
}

// written are the facts of a type in a log.
func written(t *testing.T, dir, typ string) []map[string]any {
	t.Helper()
	r := emet(t, nil, "log", "list", "-d", dir, "--type", typ, "--limit", "0", "--json")
	var out []map[string]any
	for line := range strings.Lines(r.stdout) {
		var fact map[string]any
		if json.Unmarshal([]byte(line), &fact) == nil {
			out = append(out, fact)
		}
	}
	return out
}

// A deal over the network and the chain is proved to somebody who has two
// files and two node ids, and knows nothing else.
func TestADealIsProvedToOthers(t *testing.T) {
	t.Parallel()
	m := newMarket(t, 1)
	d := strike(t, m.requestor.client(), wish{image: built.Serve(t, built.Guest), budget: "1"})
	d.start()
	if r := d.do(guest("args", "a secret of the guest")); r[len(r)-1].Result != "Ok" {
		t.Fatalf("%+v", r)
	}
	d.finish(m)
	me, err := m.requestor.client().Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trust := []string{"--identity", me.Identity, "--identity", d.provider}
	files := map[string]string{"requestor": "", "provider-0": ""}
	for name := range files {
		file := filepath.Join(m.dir, name+".dossier")
		files[name] = file
		eventually(t, 30*time.Second, name+" can prove everything", func() bool {
			made := emet(t, m.requestor.env, "evidence", "create", d.agreement[:16], "-d", filepath.Join(m.dir, name), "-o", file)
			return made.code == 0 && emet(t, nil, append([]string{"evidence", "verify", file}, trust...)...).code == 0
		})
		emet(t, nil, append([]string{"evidence", "verify", file}, trust...)...).shows(t, 0, "27 proved, 0 disproved, 0 missing", "block")
		if info, err := os.Stat(file); err != nil || info.Size() > 150<<10 {
			t.Errorf("%s: %v %v", file, info.Size(), err)
		}
	}
	emet(t, nil, "evidence", "compare", files["requestor"], files["provider-0"]).shows(t, 0, "never part")

	redacted := filepath.Join(m.dir, "redacted.dossier")
	emet(t, m.requestor.env, "evidence", "create", d.agreement, "-d", filepath.Join(m.dir, "requestor"), "-o", redacted, "--redact", "stdout,commands").says(t, 0)
	emet(t, nil, append([]string{"evidence", "verify", redacted}, trust...)...).shows(t, 0, "0 missing", "withheld", "batch.command_output.v1")

	whole, err := os.ReadFile(files["requestor"])
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	broken := filepath.Join(m.dir, "broken.dossier")
	if err := os.WriteFile(broken, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	emet(t, nil, append([]string{"evidence", "verify", broken}, trust...)...).shows(t, 6, "✗ container")
	emet(t, nil, "evidence", "verify", files["requestor"], "--identity", d.provider).shows(t, 7, "nobody who was named")
	emet(t, nil, "evidence", "verify", files["requestor"]).says(t, 2, "--identity")
	m.provesWithoutTheChain(t, d, trust)
}

// provesWithoutTheChain ends the chain: each side kept the proof of the payment
// when it was final, and needs nobody to make a dossier of it.
func (m *market) provesWithoutTheChain(t *testing.T, d *deal, trust []string) {
	t.Helper()
	blobs := map[string]string{}
	for name, typ := range map[string]string{"requestor": "tx.proof_kept.v1", "provider-0": "payment.proof_kept.v1"} {
		eventually(t, 30*time.Second, name+" keeps the proof", func() bool { return len(written(t, filepath.Join(m.dir, name), typ)) == 1 })
		kept, _ := written(t, filepath.Join(m.dir, name), typ)[0]["data"].(map[string]any)
		blobs[name], _ = kept["blob"].(string)
	}
	if len(blobs["requestor"]) != 64 || blobs["requestor"] != blobs["provider-0"] {
		t.Fatalf("the proofs of one transfer lie at %v", blobs)
	}
	m.chain.kill()
	for name, blob := range blobs {
		dir, file := filepath.Join(m.dir, name), filepath.Join(m.dir, name+".alone.dossier")
		prove := func() result {
			return emet(t, m.requestor.env, "evidence", "create", d.agreement, "-d", dir, "-o", file)
		}
		eventually(t, 30*time.Second, name+" can prove everything alone", func() bool {
			return prove().code == 0 && emet(t, nil, append([]string{"evidence", "verify", file}, trust...)...).code == 0
		})
		emet(t, nil, append([]string{"evidence", "verify", file}, trust...)...).shows(t, 0, "27 proved, 0 disproved, 0 missing")

		path := filepath.Join(dir, "store", "blobs", blob[:2], blob[2:4], blob)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := prove(); r.code != 0 || !strings.Contains(r.stderr, "blob is damaged") {
			t.Errorf("%s, of a damaged proof: %d %s", name, r.code, r.stderr)
		}
		emet(t, nil, append([]string{"evidence", "verify", file}, trust...)...).shows(t, 7, "– payment.chain", "0 disproved, 1 missing")
	}
}

// publish lets the requestor's log grow.
func publish(t *testing.T, m *market, n int) {
	t.Helper()
	for i := range n {
		ask(t, m.requestor.client(), "POST", "/market-api/v1/demands", fmt.Sprintf(`{"properties":{"golem.x":%d},"constraints":"(golem.none=1)"}`, i)).says(t, 201)
	}
}

// copyDir copies files with the modes that a data directory has.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		rest, relErr := filepath.Rel(from, name)
		switch target := filepath.Join(to, rest); {
		case err != nil || relErr != nil:
			return errors.Join(err, relErr)
		case e.IsDir():
			return os.MkdirAll(target, 0o700)
		case e.Type().IsRegular():
			b, err := os.ReadFile(name)
			return errors.Join(err, os.WriteFile(target, b, 0o600))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
