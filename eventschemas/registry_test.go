package eventschemas

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
)

const module = "github.com/emet-node/emet/"

// Every type that belongs to a sealed interface called Event is registered.
func TestNoFactIsForgotten(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for typ := range New().byType {
		known[typ.PkgPath()+"."+typ.Name()] = true
	}
	found := 0
	err := filepath.WalkDir("../domain", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		for _, fact := range factsIn(t, dir) {
			found++
			if !known[fact] {
				t.Errorf("%s has no name: add it to the table", fact)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(known) {
		t.Errorf("the sealed interfaces have %d facts, the tables %d", found, len(known))
	}
}

// factsIn lists the types of a package that have the unexported method of its
// interface Event.
func factsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	seal := sealOf(files)
	if seal == "" {
		return nil
	}
	var out []string
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == seal {
				if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
					out = append(out, module+path.Clean(strings.TrimPrefix(filepath.ToSlash(dir), "../"))+"."+id.Name)
				}
			}
		}
	}
	sort.Strings(out)
	return out
}

// sealOf is the unexported method of "type Event interface", "" if there is no
// such interface.
func sealOf(files []*ast.File) (seal string) {
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Event" {
				return true
			}
			if i, ok := spec.Type.(*ast.InterfaceType); ok && len(i.Methods.List) == 1 && len(i.Methods.List[0].Names) == 1 {
				if name := i.Methods.List[0].Names[0]; !name.IsExported() {
					seal = name.Name
				}
			}
			return true
		})
	}
	return seal
}

func TestWhatIsNotInTheTable(t *testing.T) {
	t.Parallel()
	r := New()
	if _, _, _, err := r.Encode(struct{}{}); !errors.Is(err, ErrUnregistered) {
		t.Fatalf("got %v", err)
	}
	if _, err := r.Decode("market.invented.v9", []byte(`{}`)); !errors.Is(err, es.ErrUnknownType) {
		t.Fatalf("got %v: a reader must be able to pass by what a newer build wrote", err)
	}
	if _, err := r.Decode("batch.closed.v1", []byte(`{"outcome":7}`)); err == nil {
		t.Fatal("a fact with a number for a text was read")
	}
}

func TestWhatIsSealed(t *testing.T) {
	t.Parallel()
	r := New()
	for _, c := range []struct {
		fact any
		want string
	}{
		{batch.ExecRequested{ActivityID: "a", Script: "[]"}, "activity/a"},
		{batch.Accepted{ActivityID: "a", Script: "[]"}, "activity/a"},
		{batch.Accepted{ActivityID: "a"}, ""},
		{batch.CommandOutput{ActivityID: "a"}, "activity/a"},
		{batch.CommandFinished{ActivityID: "a"}, ""},
		{batch.Closed{ActivityID: "a"}, ""},
	} {
		if _, _, got, err := r.Encode(c.fact); err != nil || got != c.want {
			t.Errorf("%T: subject %q, %v; want %q", c.fact, got, err, c.want)
		}
	}
}

type greeted struct {
	Name string `json:"name"`
	N    int64  `json:"times"`
}

func TestOldVersionsAreReadAsNewOnes(t *testing.T) {
	t.Parallel()
	r, err := build([]entry{reg[greeted]("test.greeted.v3")}, []upcast{
		{from: "test.greeted.v1", to: "test.greeted.v2", change: func(m map[string]any) map[string]any {
			m["name"] = m["who"]
			delete(m, "who")
			return m
		}},
		{from: "test.greeted.v2", to: "test.greeted.v3", change: func(m map[string]any) map[string]any {
			if _, ok := m["times"]; !ok {
				m["times"] = json.Number("1")
			}
			return m
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for typ, data := range map[string]string{
		"test.greeted.v1": `{"who":"Alice"}`,
		"test.greeted.v2": `{"name":"Alice"}`,
		"test.greeted.v3": `{"name":"Alice","times":1}`,
	} {
		got, err := r.Decode(typ, []byte(data))
		if err != nil || !reflect.DeepEqual(got, greeted{Name: "Alice", N: 1}) {
			t.Errorf("%s: %+v, %v", typ, got, err)
		}
	}
	// numbers pass an upcaster unrounded
	got, err := r.Decode("test.greeted.v2", []byte(`{"name":"B","times":9007199254740991}`))
	if err != nil || got != (greeted{Name: "B", N: 9007199254740991}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Scripts of before had eight seconds to be delivered in, whatever their
// clients said: that is what an old log is read with.
func TestAScriptOfBeforeHadEightSeconds(t *testing.T) {
	t.Parallel()
	old := read(t, "testdata/batch.exec_requested/v1.golden.json")
	got, err := New().Decode("batch.exec_requested.v1", old)
	if err != nil {
		t.Fatal(err)
	}
	typ, data, subject, err := New().Encode(got)
	want := strings.TrimSuffix(string(old), "}") + `,"timeoutMs":8000}`
	if f := got.(batch.ExecRequested); err != nil || typ != "batch.exec_requested.v2" || string(data) != want || subject != "activity/"+f.ActivityID {
		t.Errorf("%s, %s, %s, %v", typ, data, subject, err)
	}
	if !got.(batch.ExecRequested).IsIntent() {
		t.Error("it asks for nothing any more")
	}
}

func TestTablesThatContradictThemselves(t *testing.T) {
	t.Parallel()
	same := func(m map[string]any) map[string]any { return m }
	for name, c := range map[string]struct {
		table []entry
		ups   []upcast
	}{
		"one name, two facts": {table: []entry{reg[greeted]("test.a.v1"), reg[batch.Closed]("test.a.v1")}},
		"one fact, two names": {table: []entry{reg[greeted]("test.a.v1"), reg[greeted]("test.b.v1")}},
		"read in two ways":    {table: []entry{reg[greeted]("test.a.v1")}, ups: []upcast{{from: "test.a.v1", to: "test.a.v2", change: same}}},
	} {
		if _, err := build(c.table, c.ups); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r, err := build(nil, []upcast{{from: "a", to: "b", change: same}, {from: "b", to: "a", change: same}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Decode("a", []byte(`{}`)); err == nil || errors.Is(err, es.ErrUnknownType) {
		t.Errorf("a circle of upcasters: %v", err)
	}
}
