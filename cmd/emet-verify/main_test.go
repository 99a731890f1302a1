package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emet-node/emet/verifier"
)

const deal = "../../verifier/testdata/forked-R.dossier"

// parties are the flags that name the identities of a dossier, as whoever reads
// the file finds them.
func parties(t *testing.T) (trust []string) {
	t.Helper()
	z, err := zip.OpenReader(deal)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close() //nolint:errcheck // only read
	f, err := z.Open("dossier.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Attestations []struct{ Document string } }
	if err := json.NewDecoder(f).Decode(&d); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range d.Attestations {
		id := regexp.MustCompile(`"identity":"(0x[0-9a-f]{40})"`).FindStringSubmatch(a.Document)[1]
		if !seen[id] {
			seen[id] = true
			trust = append(trust, "--identity", id)
		}
	}
	return trust
}

func told(t *testing.T, in []byte, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(args, bytes.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

func TestWhatIsAnsweredAndHowItEnds(t *testing.T) {
	t.Parallel()
	trust := parties(t)
	whole, err := os.ReadFile(deal)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(whole)
	broken[len(broken)/2] ^= 1
	strange := filepath.Join(t.TempDir(), "strange")
	if err := os.WriteFile(strange, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		in   []byte
		code int
		out  string // in what is printed
		errs string
	}{
		"flags first":    {append(append([]string{}, trust...), deal), nil, 0, "proved    container", ""},
		"flags last":     {append([]string{deal}, trust...), nil, 0, "proved    payment.chain", ""},
		"standard input": {append([]string{"-"}, trust...), whole, 0, "proved    container", ""},
		"changed":        {append([]string{strange}, trust...), nil, disproved, "disproved container", ""},
		"a stranger":     {[]string{deal, "--identity", "0x" + strings.Repeat("1", 40)}, nil, missing, "missing   log.key", ""},
		"nobody":         {[]string{deal}, nil, usage, "", "whom you trust"},
		"two files":      {append([]string{deal, deal}, trust...), nil, usage, "", "want one file"},
		"no file":        {append([]string{"nothing"}, trust...), nil, failed, "", "nothing"},
		"no id":          {[]string{deal, "--identity", "0x12"}, nil, usage, "", "40 hexadecimal digits"},
		"no hash":        {append([]string{deal, "--block", "12"}, trust...), nil, usage, "", "64 hexadecimal digits"},
		"no key":         {[]string{deal, "--key", "x"}, nil, usage, "", "--key"},
		"help":           {[]string{"--help"}, nil, 0, "", "must come to the same answers"},
	} {
		code, out, errs := told(t, c.in, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: %d\n%s\n%s", name, code, out, errs)
		}
	}
}

func TestABlockThatIsNotTheOneIsSaid(t *testing.T) {
	t.Parallel()
	_, out, _ := told(t, nil, append([]string{deal, "--json", "--block", "0x" + strings.Repeat("00", 32)}, parties(t)...)...)
	var claims []verifier.Claim
	if err := json.Unmarshal([]byte(out), &claims); err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if c.Claim == "payment.chain" && c.Verdict == verifier.Proved {
			t.Error("a transfer in a block that nobody named is taken for proved")
		}
	}
}
