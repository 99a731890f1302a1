package exeunit

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Whatever a process of an exe-unit sends, reading ends, and what was read can
// be sent.
func FuzzReadFrame(f *testing.F) {
	var good bytes.Buffer
	if err := NewFrameWriter(&good).Write(map[string]any{"id": 1}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add([]byte{0, 0, 0, 9, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		for r := bytes.NewReader(b); ; {
			before := r.Len()
			var m json.RawMessage
			if err := ReadFrame(r, &m); err != nil {
				return
			}
			if r.Len() > before-4 {
				t.Fatal("a frame took nothing")
			}
			var out bytes.Buffer
			if err := NewFrameWriter(&out).Write(m); err != nil {
				t.Fatalf("%q was read and cannot be sent: %v", m, err)
			}
		}
	})
}
