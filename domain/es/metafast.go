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
		var text []byte
		if text, b, ok = flatValue(rest[1:]); !ok || !m.set(string(key), text, rest[1] == '"') {
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
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	for _, c := range b[1 : 1+end] {
		if c < 0x20 || c >= 0x80 {
			return nil, nil, false
		}
	}
	return b[1 : 1+end], b[end+2:], true
}

// flatValue cuts a text or a whole number.
func flatValue(b []byte) (text, rest []byte, ok bool) {
	if b[0] == '"' {
		return quoted(b)
	}
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return b[:n], b[n:], n > 0 && (n == 1 || b[0] != '0')
}

// words are texts of which nearly all events have some.
var words = func() map[string]string {
	all := make(map[string]string)
	for _, a := range []Actor{ActorREST, ActorOperator, ActorPeer, ActorSaga, ActorEffect, ActorExeUnit, ActorChain, ActorImport} {
		all[string(a)] = string(a)
	}
	for _, g := range []Grade{GradeSelf, GradeSigned, GradeSession, GradeClaimed, GradeChainIncluded, GradeChainFinal} {
		all[string(g)] = string(g)
	}
	return all
}()

// word is string(b).
func word(b []byte) string {
	if s, ok := words[string(b)]; ok {
		return s
	}
	return string(b)
}

// set sets the member of a key and says whether that was possible.
func (m *Meta) set(key string, text []byte, isText bool) bool {
	if key == "cause" || key == "seq" {
		n, err := strconv.ParseUint(string(text), 10, 64)
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
		m.Correlation = string(text)
	case "$causationId":
		if len(text) > 0 {
			m.CausationID, err = ParseID(string(text))
		}
	case "key":
		m.Key = string(text)
	case "actor":
		m.Actor = Actor(word(text))
	case "identity":
		m.Identity = string(text)
	case "appKey":
		m.AppKey = string(text)
	case "session":
		m.Session = string(text)
	case "peer":
		m.Peer = string(text)
	case "via":
		m.Via = string(text)
	case "sentAt":
		m.SentAt, err = time.Parse(time.RFC3339Nano, string(text))
	case "grade":
		m.Grade = Grade(word(text))
	case "node":
		m.Node = string(text)
	case "trace":
		m.Trace = string(text)
	default:
		return false
	}
	return err == nil
}
