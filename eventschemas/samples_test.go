package eventschemas

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A sample is a fact with every field set, so that its golden file shows them
// all. Values follow from the fields' names: the same sample every time.
func sample(t testing.TB, typ reflect.Type) any {
	t.Helper()
	v := reflect.New(typ).Elem()
	fill(t, v, "")
	return v.Interface()
}

var (
	timeType = reflect.TypeFor[time.Time]()
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
)

// texts are what fields of some names hold in life.
var texts = map[string]string{
	"properties":    `{"golem.inf.cpu.cores":4,"golem.usage":0.0,"x":1e3}`,
	"constraints":   "(&(golem.runtime.name=wasmtime)\n\t(golem.inf.mem.gib>=0.5))",
	"reason":        `{"message":"<no> & \"yes\"\u2028 – ż"}`,
	"script":        `[{"deploy":{}},{"start":{}}]`,
	"command":       `{"run":{"entry_point":"/bin/sh","args":["-c","echo hi"]}}`,
	"vector":        "[1.0,0.0,1e3]",
	"usageVector":   "[1.0,0.0,1e3]",
	"activityId":    "0123456789abcdef0123456789abcdef",
	"batchId":       "fedcba9876543210fedcba9876543210",
	"agreementId":   strings.Repeat("a1", 32),
	"side":          "R",
	"kind":          "invoice",
	"platform":      "erc20-hoodi-tglm",
	"negotiationId": "00112233445566778899aabbccddeeff",
}

func fill(t testing.TB, v reflect.Value, name string) {
	t.Helper()
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(noon))
		return
	case v.CanAddr() && v.Kind() == reflect.Struct && is[json.Unmarshaler](v.Addr()):
		fillText(t, v)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(textFor(v.Type(), name))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name)
	case reflect.Slice:
		fillSlice(t, v, name)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, k, "key")
		fill(t, e, name)
		v.SetMapIndex(k, e)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fill(t, v.Field(i), jsonName(t, f))
			}
		}
	default:
		t.Fatalf("field %s of kind %s has no place in a fact", name, v.Kind())
	}
}

func fillSlice(t testing.TB, v reflect.Value, name string) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		v.SetBytes([]byte("exact bytes of " + name))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	fill(t, v.Index(0), strings.TrimSuffix(name, "s"))
}

// fillText gives a value that reads itself from JSON: an amount, mostly.
func fillText(t testing.TB, v reflect.Value) {
	for _, text := range []string{`"1.500000000000000001"`, `"7"`, `"0x11bb000000000000000000000000000000000000"`} {
		if v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON([]byte(text)) == nil {
			return
		}
	}
	t.Fatalf("%s reads no text that the samples know", v.Type())
}

func textFor(typ reflect.Type, name string) string {
	if typ.Name() == "NodeID" {
		return fmt.Sprintf("0x%040x", len(name)+0xa0)
	}
	if s, ok := texts[name]; ok {
		return s
	}
	return "text of " + name
}

func jsonName(t testing.TB, f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if tag == "" || tag == "-" {
		t.Fatalf("field %s has no JSON name", f.Name)
	}
	return tag
}

func optional(f reflect.StructField) bool {
	_, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.Contains(rest, "omit")
}

func is[I any](v reflect.Value) bool {
	_, ok := v.Interface().(I)
	return ok
}
