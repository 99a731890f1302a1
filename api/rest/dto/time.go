package dto

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Time is a moment as the REST documents show it: RFC 3339 in UTC with suffix
// Z and a fraction of 0, 3, 6 or 9 digits, the shortest that is exact.
type Time struct{ time.Time }

// At makes a Time.
func At(t time.Time) Time { return Time{t} }

// AtOrNull makes a Time, nil for the zero time.
func AtOrNull(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return &Time{t}
}

func (t Time) String() string { return FormatTime(t.Time) }

// MarshalJSON writes the text of the moment.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(FormatTime(t.Time)) }

// UnmarshalJSON reads what [ParseTime] takes.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("date-time: want a text, got %.40s", b)
	}
	p, err := ParseTime(s)
	if err != nil {
		return err
	}
	t.Time = p
	return nil
}

// NaiveTime is a moment in UTC that is written without a zone, as some old
// fields are.
type NaiveTime struct{ time.Time }

// MarshalJSON writes the text of the moment without a zone.
func (t NaiveTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(strings.TrimSuffix(FormatTime(t.Time), "Z"))
}

// UnmarshalJSON reads a date-time; no zone means UTC.
func (t *NaiveTime) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("date-time: want a text, got %.40s", b)
	}
	p, err := ParseTime(s)
	if err != nil {
		p, err = ParseTime(s + "Z")
	}
	if err != nil {
		return err
	}
	t.Time = p
	return nil
}

// FormatTime writes a moment in UTC with a fraction of 0, 3, 6 or 9 digits.
func FormatTime(t time.Time) string {
	t = t.UTC()
	layout := "2006-01-02T15:04:05"
	switch ns := t.Nanosecond(); {
	case ns == 0:
	case ns%1_000_000 == 0:
		layout += ".000"
	case ns%1_000 == 0:
		layout += ".000000"
	default:
		layout += ".000000000"
	}
	return t.Format(layout) + "Z"
}

// ParseTime reads RFC 3339 with Z or an offset. A space is taken for the T, and
// also for the plus sign of the offset, since that is what a query with a bare
// "+" turns into.
func ParseTime(s string) (time.Time, error) {
	text := s
	if len(text) > 10 && (text[10] == ' ' || text[10] == 't') {
		text = text[:10] + "T" + text[11:]
	}
	if i := strings.LastIndexByte(text, ' '); i > 10 && len(text)-i == len(" 00:00") {
		text = text[:i] + "+" + text[i+1:]
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(text, "z", "Z", 1))
	if err != nil {
		return time.Time{}, fmt.Errorf("%.64q is not a date-time of RFC 3339, for instance 2026-01-31T12:00:00Z", s)
	}
	return t.UTC(), nil
}
