package eventschemas

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// schema describes the JSON of a Go type (JSON Schema 2020-12). Fields that
// may be absent are not required; what is not named is not allowed, since a
// version never grows once it is released.
func schema(t testing.TB, name string, typ reflect.Type) []byte {
	t.Helper()
	s := describe(t, typ)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = name
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func describe(t testing.TB, typ reflect.Type) map[string]any {
	t.Helper()
	switch {
	case typ == timeType:
		return map[string]any{"type": "string", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$`}
	case typ.Kind() == reflect.Struct && (typ.Implements(reflect.TypeFor[json.Marshaler]()) || typ.Implements(reflect.TypeFor[encoding.TextMarshaler]())):
		return map[string]any{"type": "string", "pattern": `^-?\d+(\.\d+)?$`}
	}
	switch typ.Kind() {
	case reflect.String:
		if typ.Name() == "NodeID" {
			return map[string]any{"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
		}
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Pointer:
		return describe(t, typ.Elem())
	case reflect.Slice, reflect.Array:
		if typ.Elem().Kind() == reflect.Uint8 && typ.Kind() == reflect.Slice {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": describe(t, typ.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": describe(t, typ.Elem())}
	case reflect.Struct:
		return describeStruct(t, typ)
	case reflect.Float32, reflect.Float64:
		t.Fatalf("%s: a fact holds no floats", typ)
	}
	return map[string]any{"type": "integer", "minimum": -(1 << 53), "maximum": 1 << 53}
}

func describeStruct(t testing.TB, typ reflect.Type) map[string]any {
	props, required := make(map[string]any), []string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if !f.IsExported() {
			continue
		}
		name := jsonName(t, f)
		p := describe(t, f.Type)
		if !optional(f) && (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map) {
			p["type"] = []any{p["type"], "null"} // an empty list that nobody made
		}
		props[name] = p
		if !optional(f) {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": props, "required": required, "additionalProperties": false}
}

// What lies beside the log is found by the facts that name it: a fact with an
// address of something says so.
func TestFactsWithBlobsNameThem(t *testing.T) {
	t.Parallel()
	r := New()
	names := r.NamesOf(func(fact any) bool { _, ok := fact.(es.BlobNamer); return ok })
	if len(names) == 0 {
		t.Error("no fact names a blob")
	}
	for _, name := range r.Names() {
		golden, schemaFile := files(name)
		has := bytes.Contains(read(t, schemaFile), []byte(`"blob":`))
		if has != slices.Contains(names, name) {
			t.Errorf("%s has a blob: %v; it implements es.BlobNamer: %v", name, has, !has)
		}
		if !has {
			continue
		}
		fact, err := r.Decode(name, read(t, golden))
		if err != nil {
			t.Fatal(err)
		}
		for _, sum := range fact.(es.BlobNamer).Blobs() {
			if sum == "" || !bytes.Contains(read(t, golden), []byte(sum)) {
				t.Errorf("%s names %q", name, sum)
			}
		}
		if len(fact.(es.BlobNamer).Blobs()) == 0 {
			t.Errorf("%s names nothing", name)
		}
	}
}
