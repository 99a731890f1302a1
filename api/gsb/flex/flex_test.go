package flex

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type object = map[string]any

// vectors were made by the encoder that the bus of other nodes uses.
var vectors = map[string]any{
	"050801":                         uint64(5),
	"ff0401":                         int64(-1),
	"016801":                         true,
	"02686900031401":                 "hi",
	"000001":                         nil,
	"00000100002401":                 object{},
	"0000c03f0e04":                   1.5,
	"9a9999999999b93f0f08":           0.1,
	"0207000800042801":               []any{uint64(7), nil},
	"014100021401":                   "A",
	"4200017a0001060101010714022401": object{"B": "z"},
	"430078000103010101fe04010c0101010724022401": object{"C": object{"x": int64(-2)}},
	"5400010201050101010744022401":               object{"T": []any{uint64(1), uint64(2)}},
	"4f6b0001040101010000022401":                 object{"Ok": nil},
	"4f6b0001780001070101010714022401":           object{"Ok": "x"},
	"4572720001410001080101010714022401":         object{"Err": "A"},
	"00002801":                                   []any{},
	"0101013001":                                 []any{uint64(1)},
	"0102024401":                                 []any{uint64(1), uint64(2)},
	"010203035001":                               []any{uint64(1), uint64(2), uint64(3)},
	"01020304045c01":                             []any{uint64(1), uint64(2), uint64(3), uint64(4)},
	"050102030405053001":                         []any{uint64(1), uint64(2), uint64(3), uint64(4), uint64(5)},
	"03010203036401":                             []byte{1, 2, 3},
	"0161000162000206041414042801":               []any{"a", "b"},
	"2c010100044501":                             []any{uint64(300), uint64(1)},
	"0004024401":                                 []any{uint64(0), uint64(4)},
	"6f66667365740073697a6500020d0700030001000200000000a00909062501": object{"offset": uint64(0), "size": uint64(40960)},
	"4f6b006f666673657400636f6e74656e740003010203020d150201020900640801210101010924022401": object{
		"Ok": object{"offset": uint64(0), "content": []byte{1, 2, 3}},
	},
	"696400746f70696300017400626f6479006f66666572496473000261620001041401110101010728031d2a28030103090027240014062401": object{
		"id": nil, "topic": "t", "body": object{"offerIds": []any{"ab"}},
	},
	"055265616479000207001400042801":                 []any{"Ready", nil},
	"034e65770005526561647900020c081414042801":       []any{"New", "Ready"},
	"61000132006200013100020b070201020d091414042401": object{"a": "2", "b": "1"},
	"6d65737361676500016d006e0000000004000000010000000000204000000000010000000a0e026a02291f020102251b142a042401": object{
		"message": "m", "n": []any{int64(1), 2.5, nil, true},
	},
	"70726f76696465724964002a3078626162653030303030303030303030303030303030303030303030303030303030303030303030300061677265656d656e744964000261670074696d656f757400726571756573746f725075624b657900042961131c0400000001000000040000002c0000006800000000000000000070421414020e142601": object{
		"providerId": "0xbabe000000000000000000000000000000000000", "agreementId": "ag", "timeout": 60.0, "requestorPubKey": nil,
	},
}

func TestWhatTheBusOfOtherNodesWrites(t *testing.T) {
	t.Parallel()
	for text, want := range vectors {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(loose(got), loose(want)) {
			t.Errorf("%s read as %#v, want %#v", text, got, want)
		}
	}
}

// loose makes whole numbers of either sign one type, as readers must.
func loose(v any) any {
	switch v := v.(type) {
	case uint64:
		return int64(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = loose(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = loose(v[k])
		}
		return out
	}
	return v
}

func TestSmallValuesAreWrittenAsOthersWriteThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"050801", "ff0401", "016801", "02686900031401", "000001", "00000100002401", "0000c03f0e04", "9a9999999999b93f0f08",
		"0207000800042801", "4200017a0001060101010714022401", "03010203036401", "61000132006200013100020b070201020d091414042401",
	} {
		got, err := Marshal(vectors[text])
		if err != nil || hex.EncodeToString(got) != text {
			t.Errorf("%#v written as %x, %v; want %s", vectors[text], got, err, text)
		}
	}
}

func anyValue(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.Uint64(), func(v uint64) any { return v }),
		rapid.Map(rapid.Float64(), func(v float64) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 700), func(v []byte) any { return append([]byte{}, v...) }),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	below := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(depth - 1) })
	key := rapid.StringMatching(`[ -~]{0,12}`)
	return rapid.OneOf(append(leaves,
		rapid.Map(rapid.SliceOfN(below, 0, 6), func(v []any) any { return append([]any{}, v...) }),
		rapid.Map(rapid.MapOfN(key, below, 0, 6), func(v map[string]any) any { return v }),
	)...)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(4).Draw(t, "value")
		b, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if !reflect.DeepEqual(got, v) {
			t.Fatalf("wrote %#v, read %#v", v, got)
		}
	})
}

func TestNestingHasAnEnd(t *testing.T) {
	t.Parallel()
	var v any = "x"
	for range MaxDepth + 1 {
		v = []any{v}
	}
	if _, err := Marshal(v); !errors.Is(err, ErrUnsupported) {
		t.Errorf("wrote %d levels: %v", MaxDepth+1, err)
	}
}

func TestValuesThatShareBytesCannotBlowUp(t *testing.T) {
	t.Parallel()
	// One string, and vectors of 200 references to the level below.
	e := &encoder{keys: map[string]int{}}
	r := e.sized(kString, []byte(strings.Repeat("x", 100)), true)
	for range 6 {
		refs := make([]ref, 200)
		for i := range refs {
			refs[i] = r
		}
		r = e.elements(kVector, refs, nil)
	}
	w := r.widthAt(len(e.b), 0)
	e.align(w)
	e.put(r, w)
	e.b = append(e.b, r.packed(w), byte(w))
	var syntax *SyntaxError
	if _, err := Unmarshal(e.b); !errors.As(err, &syntax) {
		t.Errorf("a bomb of %d bytes: %v", len(e.b), err)
	}
}

func TestManyMapsMayShareTheirKeys(t *testing.T) {
	t.Parallel()
	list := make([]any, 500)
	for i := range list {
		list[i] = object{"anUncommonlyLongKeyOfAMap": uint64(i), "anotherUncommonlyLongKey": "v"}
	}
	b, err := Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(b)
	if err != nil || len(got.([]any)) != 500 {
		t.Errorf("500 maps in %d bytes: %v", len(b), err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for text := range vectors {
		b, _ := hex.DecodeString(text)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Unmarshal(b)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		again, err := Marshal(v)
		if err != nil {
			t.Fatalf("read %#v, cannot write it: %v", v, err)
		}
		if _, err := Unmarshal(again); err != nil && len(again) < 1<<20 {
			t.Fatalf("wrote %x, cannot read it: %v", again, err)
		}
	})
}
