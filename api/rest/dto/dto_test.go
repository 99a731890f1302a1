package dto

import (
	"encoding/json"
	"testing"
	"time"
)

func TestFractionsAreTheShortestThatIsExact(t *testing.T) {
	t.Parallel()
	base := time.Date(2020, 12, 21, 15, 51, 21, 0, time.UTC)
	for ns, want := range map[int]string{
		0:           "2020-12-21T15:51:21Z",
		126_000_000: "2020-12-21T15:51:21.126Z",
		126_645_000: "2020-12-21T15:51:21.126645Z",
		126_645_001: "2020-12-21T15:51:21.126645001Z",
		120_000_000: "2020-12-21T15:51:21.120Z",
	} {
		at := base.Add(time.Duration(ns))
		if got := FormatTime(at.In(time.FixedZone("", 3600))); got != want {
			t.Errorf("%d ns: %s, want %s", ns, got, want)
		}
		naive, _ := json.Marshal(NaiveTime{at})
		if got := string(naive); got != `"`+want[:len(want)-1]+`"` {
			t.Errorf("naive: %s", got)
		}
		back, err := ParseTime(want)
		if err != nil || !back.Equal(at) {
			t.Errorf("%s read as %v, %v", want, back, err)
		}
	}
}

func TestTimesAreReadLeniently(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 5, 1, 10, 0, 0, 123456000, time.UTC)
	for _, s := range []string{
		"2024-05-01T10:00:00.123456Z", "2024-05-01 10:00:00.123456Z", "2024-05-01T10:00:00.123456+00:00",
		"2024-05-01T12:00:00.123456+02:00", "2024-05-01T12:00:00.123456 02:00", "2024-05-01 12:00:00.123456 02:00",
	} {
		if got, err := ParseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%s read as %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "now", "2024-05-01", "2024-05-01T10:00:00", "1714557600"} {
		if got, err := ParseTime(s); err == nil {
			t.Errorf("%q read as %v", s, got)
		}
	}
}

func TestAmountsKeepTheirText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Money{`"13.14000"`: "13.14000", `1.10`: "1.10", `"5e-7"`: "5e-7", `3`: "3", `1e-3`: "1e-3"} {
		var m Money
		if err := json.Unmarshal([]byte(in), &m); err != nil || m != want {
			t.Errorf("%s read as %q, %v", in, m, err)
		}
	}
	var m Money
	if err := json.Unmarshal([]byte(`{}`), &m); err == nil {
		t.Error("an object was taken for an amount")
	}
}

func TestBytesAreNumbers(t *testing.T) {
	t.Parallel()
	b, _ := json.Marshal(Bytes{0, 1, 255})
	if string(b) != "[0,1,255]" {
		t.Errorf("wrote %s", b)
	}
	var back Bytes
	if err := json.Unmarshal(b, &back); err != nil || string(back) != "\x00\x01\xff" {
		t.Errorf("read %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte("[256]"), &back); err == nil {
		t.Error("256 was taken for a byte")
	}
}
