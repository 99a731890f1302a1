package eventschemas

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/emet-node/emet/domain/es"
)

var update = flag.Bool("update", false, "write golden files and schemas anew")

// files are where a version of a fact is frozen: "agreement.created.v1" lies
// in testdata/agreement.created/v1.*.json.
func files(name string) (golden, schema string) {
	i := strings.LastIndexByte(name, '.')
	base := filepath.Join("testdata", name[:i], name[i+1:])
	return base + ".golden.json", base + ".schema.json"
}

func TestEveryFactHasItsGoldenFile(t *testing.T) {
	t.Parallel()
	r := New()
	for _, name := range r.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := r.byName[name]
			fact := sample(t, e.typ)
			typ, data, _, err := r.Encode(fact)
			if err != nil || typ != name {
				t.Fatalf("written as %q, %v", typ, err)
			}
			golden, schemaFile := files(name)
			if *update {
				write(t, golden, data)
				write(t, schemaFile, schema(t, name, e.typ))
			}
			if want := read(t, golden); !bytes.Equal(data, want) {
				t.Fatalf("%s is written as\n%s\nand was frozen as\n%s", name, data, want)
			}
			if want := read(t, schemaFile); !bytes.Equal(schema(t, name, e.typ), want) {
				t.Fatalf("the shape of %s is not the frozen one", name)
			}
			canonical(t, data)
			valid(t, schemaFile, data)
			back, err := r.Decode(name, data)
			if err != nil || !reflect.DeepEqual(back, fact) {
				t.Fatalf("read back as\n%+v (%v)\nwant\n%+v", back, err, fact)
			}
		})
	}
}

// A fact with nothing in it is canonical and valid as well: no field that must
// be there is left out, none that is absent is null.
func TestEmptyFactsAreValid(t *testing.T) {
	t.Parallel()
	r := New()
	for _, name := range r.Names() {
		_, data, _, err := r.Encode(reflect.Zero(r.byName[name].typ).Interface())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		canonical(t, data)
		back, err := r.Decode(name, data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, again, _, _ := r.Encode(back); !bytes.Equal(again, data) {
			t.Fatalf("%s: written, read and written again: %s, before %s", name, again, data)
		}
	}
}

// Golden files of every version that was ever released can be read.
func TestEveryGoldenFileCanBeRead(t *testing.T) {
	t.Parallel()
	r := New()
	paths, err := filepath.Glob("testdata/*/v*.golden.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, p := range paths {
		version, _, _ := strings.Cut(filepath.Base(p), ".")
		name := filepath.Base(filepath.Dir(p)) + "." + version
		if _, err := r.Decode(name, read(t, p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var nameForm = regexp.MustCompile(`^\$?[a-z]+\.[a-z]+(_[a-z0-9]+)*\.v[1-9][0-9]*$`)

func TestNamesHaveOneForm(t *testing.T) {
	t.Parallel()
	for _, name := range New().Names() {
		if !nameForm.MatchString(name) {
			t.Errorf("%s is not <package>.<past_tense>.v<N>", name)
		}
	}
}

// The name of a fact says the same as the name of its Go type, so that one can
// be found from the other.
func TestNamesFollowTheirTypes(t *testing.T) {
	t.Parallel()
	r := New()
	for _, name := range r.Names() {
		parts := strings.Split(name, ".")
		if want := snake(r.byName[name].typ.Name()); parts[1] != want {
			t.Errorf("%s is %s in Go, want %s", name, r.byName[name].typ, want)
		}
	}
}

var humps = regexp.MustCompile(`([a-z0-9])([A-Z])`)

func snake(s string) string { return strings.ToLower(humps.ReplaceAllString(s, "${1}_${2}")) }

func canonical(t testing.TB, data []byte) {
	t.Helper()
	want, err := jcs.Transform(data)
	if err != nil || !bytes.Equal(want, data) {
		t.Fatalf("not canonical (%v):\n%s\nwant\n%s", err, data, want)
	}
}

func valid(t testing.TB, schemaFile string, data []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(read(t, schemaFile)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaFile, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	content, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(content); err != nil {
		t.Fatal(err)
	}
	if m, ok := content.(map[string]any); ok {
		m["unheard-of"] = true
		if s.Validate(m) == nil {
			t.Fatal("the schema lets an unknown field pass")
		}
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./eventschemas -update writes it)", err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

var _ es.Codec = (*Registry)(nil)
