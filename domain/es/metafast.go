package es

import (
	"bytes"
	"strconv"
	"time"
)

// read is UnmarshalJSON for what this build wrote itself: one flat object of
// known keys without escapes. Everything else goes the long way.
func (m *Meta) read(b []byte) error {
	*m = Meta{}
	if !m.readFlat(b) {
		*m = Meta{}
		return m.UnmarshalJSON(b)
	}
	return nil
}

func (m *Meta) readFlat(b []byte) bool {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' || bytes.IndexByte(b, '\\') >= 0 {
		return false
	}
	b = b[1 : len(b)-1]
	for len(b) > 0 {
		key, rest, ok := quoted(b)
		if !ok || len(rest) < 2 || rest[0] != ':' {
			return false
		}
		var text string
		if text, b, ok = flatValue(rest[1:]); !ok || !m.set(key, text, rest[1] == '"') {
			return false
		}
		if len(b) > 0 {
			if b[0] != ',' || len(b) == 1 {
				return false
			}
			b = b[1:]
		}
	}
	return true
}

// quoted cuts a text in quotes from the beginning of b.
func quoted(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return "", nil, false
	}
	for _, c := range b[1 : 1+end] {
		if c < 0x20 || c >= 0x80 {
			return "", nil, false
		}
	}
	return string(b[1 : 1+end]), b[end+2:], true
}

// flatValue cuts a text or a whole number.
func flatValue(b []byte) (text string, rest []byte, ok bool) {
	if b[0] == '"' {
		return quoted(b)
	}
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return string(b[:n]), b[n:], n > 0 && (n == 1 || b[0] != '0')
}

// set sets the member of a key and says whether that was possible.
func (m *Meta) set(key, v string, isText bool) bool {
	if key == "cause" || key == "seq" {
		n, err := strconv.ParseUint(v, 10, 64)
		if isText || err != nil {
			return false
		}
		if key == "seq" {
			m.Seq = n
		} else {
			p := Position(n)
			m.Cause = &p
		}
		return true
	}
	if !isText {
		return false
	}
	var err error
	switch key {
	case "$correlationId":
		m.Correlation = v
	case "$causationId":
		if v != "" {
			m.CausationID, err = ParseID(v)
		}
	case "key":
		m.Key = v
	case "actor":
		m.Actor = Actor(v)
	case "identity":
		m.Identity = v
	case "appKey":
		m.AppKey = v
	case "session":
		m.Session = v
	case "peer":
		m.Peer = v
	case "via":
		m.Via = v
	case "sentAt":
		m.SentAt, err = time.Parse(time.RFC3339Nano, v)
	case "grade":
		m.Grade = Grade(v)
	case "node":
		m.Node = v
	case "trace":
		m.Trace = v
	default:
		return false
	}
	return err == nil
}
