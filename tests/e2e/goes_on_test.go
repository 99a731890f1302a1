package e2e

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/tests/built"
)

// settledInAllBooks checks that every invoice counts as paid, at the one who
// pays and at the one who is paid.
func (s *show) settledInAllBooks(r shown) {
	s.t.Helper()
	in := map[string]map[string]bool{}
	for _, name := range []string{"requestor", "provider-1", "provider-2"} {
		in[name] = map[string]bool{}
		for _, f := range facts[bill.Settled](s.t, filepath.Join(s.dir, name)) {
			in[name][f.DocumentID] = true
		}
	}
	for _, d := range r.Deals {
		if !in["requestor"][d.Invoice] || !in[d.Name][d.Invoice] {
			s.t.Errorf("settled at the requestor: %v, at %s: %v: %+v", in["requestor"][d.Invoice], d.Name, in[d.Name][d.Invoice], d)
		}
	}
}

// tiles counts those that are kept.
func (s *show) tiles() int {
	kept, _ := filepath.Glob(filepath.Join(s.dir, ".emet", "tiles", "*", "[0-9]*.png"))
	return len(kept)
}

// finished says whether the demo has come to its end, though the process may
// still be there. What is started then is a new demo.
func (s *show) finished() bool {
	_, err := os.Stat(filepath.Join(s.dir, ".emet", "finished"))
	return err == nil
}

// TestTheDemoGoesOn kills the one who keeps all the others, again and again, at
// random moments. What was done is not done again, what was owed is paid, once,
// and the picture is the same as that of an undisturbed demo.
func TestTheDemoGoesOn(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	calm := perform(t, filepath.Join(t.TempDir(), "calm"), "--json")
	undisturbed := calm.result(10 * time.Minute)
	want, err := os.ReadFile(undisturbed.Picture)
	if err != nil {
		t.Fatal(err)
	}

	s := perform(t, filepath.Join(keptDir(t), "d"), "--json")
	eventually(t, 90*time.Second, "some tiles are there:\n"+s.out.String(), func() bool { return s.tiles() > 3 })
	kills, there := 2+r.IntN(2), 0
	for i := range kills {
		if r.IntN(2) == 0 { // not while it starts
			eventually(t, time.Minute, "the providers live:\n"+s.out.String(), func() bool { return s.hasEnded() || len(s.processes("d/provider-2\x00")) > 0 })
		}
		select {
		case <-s.over:
		case <-time.After(time.Duration(r.IntN(min(1000*(i+1), 4000))) * time.Millisecond): // at first while it renders, then any moment is a good one
			s.die()
			too := s.processes("d/provider-1\x00")
			if len(too) > 0 && r.IntN(2) == 0 { // nobody tells its exe-unit to end
				_ = syscall.Kill(too[0], syscall.SIGKILL)
			}
			if there = s.tiles(); s.finished() {
				there = 0
			}
			t.Logf("the demo is killed, %d tiles are there, it was finished: %t", there, s.finished())
			s.again()
		}
	}
	result := s.result(10 * time.Minute)
	if result.Tiles != undisturbed.Tiles || result.TilesThere < there {
		t.Errorf("%d tiles of %d, %d were there and %d of them known", result.Tiles, undisturbed.Tiles, there, result.TilesThere)
	}
	got, err := os.ReadFile(result.Picture)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the picture is another than that of an undisturbed demo")
	}
	s.paidOnce(result)
	s.settledInAllBooks(result)
	s.whole()
}

// TestADemoThatWasCutOffIsNotMixedWithAnother starts other demos in the
// directory of one that was killed.
func TestADemoThatWasCutOffIsNotMixedWithAnother(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	first := perform(t, dir)
	first.works()
	other := []string{"demo", "--program", built.Render.Path(), "--dir", dir, "--width", "64", "--height", "64", "--tiles", "2", "--spp", "1", "--providers", "1"}
	emet(t, nil, other...).says(t, 1, "in use by process", "--dir")
	first.die()
	emet(t, nil, other...).says(t, 2, "was cut off", "it was for --width 240 --height 160 --spp 20 --tiles 24 --providers 2", "--fresh")
	first.again()
	eventually(t, time.Minute, "it goes on:\n"+first.out.String(), func() bool {
		return strings.Contains(first.out.String(), "was cut off: going on:") && strings.Contains(first.out.String(), "processes are up")
	})
	first.die()
	for _, args := range [][]string{append(other, "--fresh"), other} { // the second finds one that is finished
		r := emet(t, nil, args...)
		r.says(t, 0)
		if strings.Contains(r.stdout, "cut off") || strings.Count(r.stdout, "SETTLED") != 1 {
			t.Errorf("it is not a new one:\n%s", r.stdout)
		}
	}
	if left := first.processes(""); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	var owed, paid big.Int
	for _, i := range facts[bill.InvoiceReceived](t, filepath.Join(dir, "requestor")) {
		owed.Add(&owed, i.Amount.Wei())
	}
	for _, wei := range first.transfers() {
		paid.Add(&paid, wei)
	}
	if owed.Sign() <= 0 || owed.Cmp(&paid) != 0 {
		t.Errorf("%s wei were billed, %s paid", &owed, &paid)
	}
}

// TestTheDemoSaysWhereToLookFurther runs what a demo proposes at its end, as it
// stands there.
func TestTheDemoSaysWhereToLookFurther(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's a demo")
	r := emet(t, nil, "demo", "--program", built.Render.Path(), "--dir", dir, "--width", "64", "--height", "64", "--tiles", "2", "--spp", "1", "--providers", "1")
	r.says(t, 0)
	_, text, _ := strings.Cut(r.stdout, "Look further:\n")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	want := []string{"bill.settled.v1", "Nothing of this story is open", "erc20-hoodi-tglm", "are as they were written", "deal.dossier: "}
	if len(lines) != len(want) {
		t.Fatalf("it proposes:\n%s", text)
	}
	for i, line := range lines {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Env = built.Env()
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want[i]) {
			t.Errorf("%s: %v, it does not say %q:\n%s", line, err, want[i], out)
		}
	}
	made, file := written(t, filepath.Join(dir, "requestor"), "agreement.created.v1"), filepath.Join(dir, "deal.dossier")
	if len(made) == 0 {
		t.Fatal("there is no agreement")
	}
	terms, _ := made[0]["data"].(map[string]any)["terms"].(map[string]any)
	emet(t, nil, "evidence", "verify", file, "--identity", fmt.Sprint(terms["requestor"]), "--identity", fmt.Sprint(terms["provider"])).
		shows(t, 0, "✓ payment.chain")
}

// TestAKilledDemoLeavesNothing looks without another demo that would clean up.
// When a provider is killed together with who keeps it, nobody is left who
// knows its exe-unit.
func TestAKilledDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, too := range map[string]string{"the demo": "", "the demo and a provider": "d/provider-1\x00", "the demo and a supervisor": "exe-unit\x00"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := perform(t, filepath.Join(t.TempDir(), "d"))
			s.works()
			if too != "" {
				s.signal(syscall.SIGSTOP) // it starts nothing again
				s.kill(too)
			}
			s.die()
			eventually(t, time.Minute, "all processes end", func() bool { return len(s.processes("")) == 0 })
		})
	}
}
