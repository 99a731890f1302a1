package es

import (
	"encoding/json"
	"reflect"
	"testing"
)

// The short way of reading metadata says what the long one says, whatever is
// written.
func FuzzMeta(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"key":"a","cause":7,"seq":0}`, `{"$causationId":"14300d7a-74dc-52ea-ae57-0e90d6adef3f","actor":"saga"}`, `{"key":"\u0041"}`,
		`{"effect":{"attempt":1},"key":"k"}`, `{"x":1}`, `{"cause":01}`, `{"cause":"1"}`, `{"key":1}`, `{"key":"a",}`, `{"key":"a""b"}`, `{"key"}`,
		`{"sentAt":"2026-01-01T00:00:00Z"}`, `{"sentAt":"x"}`, `{"key":"ä"}`, "{\"key\":\"\x01\"}", `{"key":null}`, `{"KEY":"a"}`, `{"key":"a","key":"b"}`,
		`{ "key":"a"}`, `{"cause":99999999999999999999}`, `{"cause":1.5}`, `{"$causationId":""}`, `[]`, `{"":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var short, long Meta
		errShort := short.read(b)
		errLong := json.Unmarshal(b, &long)
		if (errShort == nil) != (errLong == nil) && json.Valid(b) {
			t.Fatalf("%s: %v, the long way %v", b, errShort, errLong)
		}
		if errShort == nil && errLong == nil && !reflect.DeepEqual(short, long) {
			t.Fatalf("%s: %+v, the long way %+v", b, short, long)
		}
		if errShort == nil && errLong != nil {
			t.Fatalf("%s is read as %+v and cannot be: %v", b, short, errLong)
		}
	})
}
