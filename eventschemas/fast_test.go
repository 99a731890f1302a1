package eventschemas

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

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
	v := reflect.New(t).Elem()
	c := cursor{b: data}
	ok := planOf(t)(&c, v) && c.i == len(data)
	return v.Interface(), ok
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
			if !ok && !nullable(data) {
				t.Errorf("%s: the plan gives up on %s", name, data)
			}
			if ok && !reflect.DeepEqual(got, want) {
				t.Errorf("%s (%s):\nthe plan reads %+v\nit is          %+v", name, form, got, want)
			}
		}
	}
}

// nullable says that a text has a null, as empty lists that are always written have.
func nullable(data []byte) bool {
	var m map[string]any
	_ = json.Unmarshal(data, &m)
	var look func(v any) bool
	look = func(v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case map[string]any:
			for _, x := range v {
				if look(x) {
					return true
				}
			}
		case []any:
			return slices.ContainsFunc(v, look)
		}
		return false
	}
	return look(m)
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
