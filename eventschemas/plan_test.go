package eventschemas

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/emet-node/emet/domain/es"
)

// slowly reads a fact as encoding/json does.
func slowly(t reflect.Type, data []byte) (any, error) {
	v := reflect.New(t)
	err := json.Unmarshal(data, v.Interface())
	return v.Elem().Interface(), err
}

// quickly reads a fact by its plan alone.
func quickly(t reflect.Type, data []byte) (any, bool) {
	v := reflect.New(t)
	c := cursor{b: data}
	ok := planOf(t)(&c, v.UnsafePointer()) && c.i == len(data)
	return v.Elem().Interface(), ok
}

// Every fact is read by its plan, in its full and its empty form, and is what
// encoding/json reads.
func TestEveryFactIsReadByItsPlan(t *testing.T) {
	t.Parallel()
	r := New()
	for _, name := range r.Names() {
		typ := r.byName[name].typ
		for form, fact := range map[string]any{"full": sample(t, typ), "empty": reflect.Zero(typ).Interface()} {
			data, err := es.CanonicalJSON(fact)
			if err != nil {
				t.Fatal(err)
			}
			want, err := slowly(typ, data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, ok := quickly(typ, data)
			if !ok {
				t.Errorf("%s: the plan gives up on %s", name, data)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s (%s):\nthe plan reads %+v\nit is          %+v", name, form, got, want)
			}
		}
	}
}

// FuzzPlan: whatever the text, a plan that does not give up reads what
// encoding/json reads.
func FuzzPlan(f *testing.F) {
	r := New()
	names := r.Names()
	for i, name := range names {
		data, err := es.CanonicalJSON(sample(f, r.byName[name].typ))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(i), data)
	}
	for _, text := range []string{`{}`, `{"a":1}`, `{"amount":01}`, `{"amount":"1","amount":"2"}`, `{"agreementId":"\ud800"}`, `{"agreementId":"a" }`, `{"AGREEMENTID":"x"}`, `{"nonce":1e2}`, `{"activityIds":[]}`, `{"activityIds":["a",]}`, `{"raw":"AA=="}`, `{"raw":"A\nA=="}`, `[]`, ``, `{"side":null}`} {
		for i := range names {
			f.Add(uint16(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, data []byte) {
		typ := r.byName[names[int(which)%len(names)]].typ
		agree(t, r, names[int(which)%len(names)], data)
		got, ok := quickly(typ, data)
		if !ok {
			return
		}
		want, err := slowly(typ, data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: the plan reads %+v from %q; it is %+v, %v", typ, got, data, want, err)
		}
	})
}

// agree fails unless the registry reads a text as encoding/json does, and
// refuses it where that does.
func agree(t testing.TB, r *Registry, name string, data []byte) {
	t.Helper()
	before := bytes.Clone(data)
	want, refused := slowly(r.byName[name].typ, data)
	got, err := r.Decode(name, data)
	switch {
	case !bytes.Equal(before, data):
		t.Fatalf("%s: reading changed %q into %q", name, before, data)
	case (err == nil) != (refused == nil):
		t.Fatalf("%s: %q is read with %v; encoding/json says %v", name, data, err, refused)
	case err == nil && !reflect.DeepEqual(got, want):
		t.Fatalf("%s: %q is read as\n%+v\nit is\n%+v", name, data, got, want)
	}
}

// Every golden event, and what becomes of it when a byte is changed, lost, put
// in or said twice, is read as encoding/json reads it. One registry reads all,
// so that it remembers texts that are nearly the same.
func TestDamagedFactsAreReadAsEver(t *testing.T) {
	t.Parallel()
	r, chance := New(), rand.New(rand.NewPCG(11, 5))
	odd := []byte("\"\\{}[],:0-19.eEunt \x00\x1f\x7f\x80\xc3\xff/")
	for _, name := range r.Names() {
		golden, _ := files(name)
		data := read(t, golden)
		agree(t, r, name, data)
		for range 120 {
			b, at := bytes.Clone(data), chance.IntN(len(data))
			switch x := odd[chance.IntN(len(odd))]; chance.IntN(6) {
			case 0:
				b[at] = x
			case 1:
				b = slices.Insert(b, at, x)
			case 2:
				b = slices.Delete(b, at, at+1)
			case 3:
				b = b[:at]
			case 4:
				end := min(at+1+chance.IntN(40), len(b))
				b = slices.Insert(b, end, b[at:end]...)
			case 5:
				b[at] ^= 1 << chance.IntN(8)
			}
			agree(t, r, name, b)
		}
		agree(t, r, name, data)
	}
}

// A number that no float holds, an unknown member, members in another order or
// spelled in other letters, and blanks are no reason to read anything else.
func TestUnusualTextsAreReadAsEver(t *testing.T) {
	t.Parallel()
	r := New()
	long := strings.Repeat("the same beginning, ", 10)
	for name, all := range map[string][]string{
		"bill.note_received.v1": {
			`{"amount":"9007199254740993.000000000000000001","nonce":7}`, `{"nonce":9007199254740993}`, `{"nonce":9223372036854775807}`, `{"nonce":9223372036854775808}`,
			`{"nonce":-9223372036854775808}`, `{"nonce":-0}`, `{"nonce":1e3}`, `{"nonce":1.0}`, `{"nonce":"7"}`, `{"amount":1.5}`, `{"amount":null}`, `{"amount":"1\u002e5"}`,
			`{"activityId":"a","unheard-of":{"a":[1,{"b":"}"}]},"side":"R"}`, `{"side":"R","activityId":"a"}`, `{"ACTIVITYID":"a"}`, ` {"activityId" : "a"} `, `{"activityId":"a"}{}`,
			`{"activityId":"a","activityId":"b"}`, `{"activityId":null}`, `{"activityId":7}`, `{"timestamp":"2026-03-01T12:00:00+01:00"}`, `{"timestamp":"yesterday"}`, `{"timestamp":null}`,
			`null`, `[]`, `7`, ``, `{`,
		},
		"agreement.created.v1": {
			`{"terms":{"offerProperties":"` + long + `"}}`, `{"terms":{"offerProperties":"` + long + `\""}}`, `{"terms":{"offerProperties":"` + long + `"}}`, `{"terms":{"offerProperties":"` + long + `"x}}`,
			`{"terms":{"offerProperties":"` + long + `\"}}`, `{"terms":{"offerProperties":"` + long + `\\"}}`, `{"terms":{"offerProperties":"` + long + "\xff" + `"}}`, `{"terms":{"offerProperties":"` + long + "\u017c" + `"}}`,
			`{"terms":{"offerProperties":"` + long + `\ud83d\ude00"}}`, `{"terms":{"offerProperties":"` + long + `\ud83d"}}`, `{"terms":{"offerProperties":"` + long + "\n" + `"}}`, `{"terms":null}`,
		},
		"usage.sampled.v1": {`{"names":null}`, `{"names":[]}`, `{"names":[null]}`, `{"names":["a",null,"b"]}`, `{"names":["a",]}`, `{"names":[,"a"]}`, `{"names":["a""b"]}`, `{"names":{}}`, `{"split":null}`, `{"split":{}}`},
	} {
		for range 2 { // the second time, it is remembered
			for _, text := range all {
				agree(t, r, name, []byte(text))
			}
		}
	}
}

// What belongs to a subject can be erased, so no memory keeps it: whoever
// reads it gets a copy of his own.
func TestSealedFactsAreNotRemembered(t *testing.T) {
	t.Parallel()
	r := New()
	sealedFacts, shared := 0, 0
	for _, name := range r.Names() {
		fact := sample(t, r.byName[name].typ)
		data, err := es.CanonicalJSON(fact)
		if err != nil {
			t.Fatal(err)
		}
		before := textsIn(reflect.ValueOf(decoded(t, r, name, data)), nil)
		after := textsIn(reflect.ValueOf(decoded(t, r, name, data)), nil)
		same := 0
		for i := range before {
			if unsafe.StringData(before[i]) == unsafe.StringData(after[i]) {
				same++
			}
		}
		switch {
		case r.byName[name].subject(fact) == "":
			shared += same
		case same > 0:
			t.Errorf("%d texts of %s are remembered", same, name)
			fallthrough
		default:
			sealedFacts++
		}
	}
	if sealedFacts == 0 || shared == 0 {
		t.Fatalf("%d facts have a subject, and %d texts of others are remembered", sealedFacts, shared)
	}
}

func decoded(t testing.TB, r *Registry, name string, data []byte) any {
	t.Helper()
	fact, err := r.Decode(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return fact
}

// textsIn are the texts of a value that say something, in order.
func textsIn(v reflect.Value, out []string) []string {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 1 { // Go itself shares texts of one byte
			out = append(out, v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out = textsIn(v.Elem(), out)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = textsIn(v.Index(i), out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			out = textsIn(v.Field(i), out)
		}
	}
	return out
}

func BenchmarkDecode(b *testing.B) {
	r := New()
	for _, name := range []string{"agreement.created.v1", "bill.note_received.v1", "usage.sampled.v1"} {
		typ := r.byName[name].typ
		data, err := es.CanonicalJSON(sample(b, typ))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/plan", func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Decode(name, data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/json", func(b *testing.B) {
			for b.Loop() {
				if _, err := slowly(typ, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
