package flex

import "fmt"

// kind is the type of a value as FlexBuffers numbers it.
type kind byte

const (
	kNull          kind = 0
	kInt           kind = 1
	kUInt          kind = 2
	kFloat         kind = 3
	kKey           kind = 4
	kString        kind = 5
	kIndirectInt   kind = 6
	kIndirectUInt  kind = 7
	kIndirectFloat kind = 8
	kMap           kind = 9
	kVector        kind = 10
	kVectorInt     kind = 11
	kVectorUInt    kind = 12
	kVectorFloat   kind = 13
	kVectorKey     kind = 14
	kVectorString  kind = 15 // deprecated by the format; read only
	kVectorInt2    kind = 16 // up to 24: pairs, triples, quadruples of int, uint, float
	kVectorFloat4  kind = 24
	kBlob          kind = 25
	kBool          kind = 26
	kVectorBool    kind = 36
)

// inline says whether a value of the kind lies where it is used, rather than
// behind an offset.
func (k kind) inline() bool { return k <= kFloat || k == kBool }

// element is the kind of the elements of a typed vector.
func (k kind) element() (kind, bool) {
	switch {
	case k >= kVectorInt && k <= kVectorString:
		return k - kVectorInt + kInt, true
	case k == kVectorBool:
		return kBool, true
	}
	return 0, false
}

// fixed is the element kind and length of a typed vector without length field.
func (k kind) fixed() (kind, int, bool) {
	if k < kVectorInt2 || k > kVectorFloat4 {
		return 0, 0, false
	}
	i := int(k - kVectorInt2)
	return kind(i%3) + kInt, i/3 + 2, true
}

// A SyntaxError says that bytes are not a FlexBuffer, or one beyond the limits.
type SyntaxError struct {
	Offset int
	What   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("flexbuffer, byte %d: %s", e.Offset, e.What)
}
