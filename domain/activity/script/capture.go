package script

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Part says which bytes of a stream a capture keeps.
type Part string

// The parts.
const (
	All      Part = "all"
	Head     Part = "head"
	Tail     Part = "tail"
	HeadTail Part = "headTail"
)

// Capture says what is kept of a stream. Limit counts bytes; it is 0 with
// [All], where only the exe-unit's own bound holds.
type Capture struct {
	Live   bool // sent on while the command runs ("stream"), else at its end
	Part   Part // of a live capture Head (with a limit) or All
	Limit  int64
	Binary bool // shown as byte values, else as text
}

func captures(f fields, stdout, stderr **Capture) error {
	in, err := f.inner("capture")
	if in == nil || err != nil {
		return err
	}
	for name, into := range map[string]**Capture{"stdout": stdout, "stderr": stderr} {
		raw, ok := in[name]
		if !ok || string(raw) == "null" {
			continue
		}
		c, err := capture(raw)
		if err != nil {
			return fmt.Errorf("capture: %s: %w", name, err)
		}
		*into = &c
	}
	return nil
}

func capture(raw json.RawMessage) (Capture, error) {
	mode, body, err := single(string(raw))
	if err != nil {
		return Capture{}, err
	}
	f, err := object(body)
	if err != nil {
		return Capture{}, err
	}
	c := Capture{Part: All}
	if c.Binary, err = binary(f); err != nil {
		return c, err
	}
	switch mode {
	case "stream":
		c.Live = true
		_, limited := f["limit"]
		if limited && !f.null("limit") {
			c.Part = Head
		}
		err = f.opt("limit", &c.Limit)
	case "atEnd":
		err = part(f, &c)
	default:
		err = fmt.Errorf("unknown mode %q: want atEnd or stream", mode)
	}
	if c.Limit < 0 {
		err = errors.Join(err, fmt.Errorf("limit %d: want 0 or more", c.Limit))
	}
	return c, err
}

// part reads head, tail or headTail beside the format, and the same inside a
// "part" object, as some clients nest it.
func part(f fields, c *Capture) error {
	in, err := f.inner("part")
	if err != nil {
		return err
	}
	for _, from := range []fields{f, in} {
		for _, p := range []Part{Head, Tail, HeadTail} {
			if _, ok := from[string(p)]; !ok || from.null(string(p)) {
				continue
			}
			if c.Part != All {
				return fmt.Errorf("%s and %s: want one of them", c.Part, p)
			}
			c.Part = p
			if err := from.opt(string(p), &c.Limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func binary(f fields) (bool, error) {
	format := "str"
	if err := f.opt("format", &format); err != nil {
		return false, err
	}
	switch format {
	case "str", "string":
		return false, nil
	case "bin", "binary":
		return true, nil
	}
	return false, fmt.Errorf("format %q: want str or bin", format)
}

// CaptureOf is how a command's stream is captured: a run says so, nil meaning
// that it is discarded; every other command is captured whole and live.
func CaptureOf(c Command, stderr bool) *Capture {
	r, ok := c.(Run)
	switch {
	case !ok:
		return &Capture{Live: true, Part: All}
	case stderr:
		return r.Stderr
	}
	return r.Stdout
}

// Piece is a run of bytes of a stream. Offset counts the bytes before it.
type Piece struct {
	Offset int64
	Bytes  []byte
}

// Keeper keeps of a stream what a capture asks for: a head, a tail or both.
// Whatever is asked, it never holds more than twice its bound.
type Keeper struct {
	live       bool
	head, tail int64 // how many bytes of each are wanted
	seen       int64
	first      []byte
	last       []byte // the newest bytes, trimmed to tail now and then
}

// NewKeeper starts to keep. A nil capture keeps nothing; max bounds the bytes
// that are kept, and beyond it the middle is cut.
func NewKeeper(c *Capture, max int64) *Keeper {
	if c == nil {
		return &Keeper{}
	}
	k := &Keeper{live: c.Live}
	limit := min(c.Limit, max)
	switch c.Part {
	case Head:
		k.head = limit
	case Tail:
		k.tail = limit
	case HeadTail:
		k.head, k.tail = limit-limit/2, limit/2
	case All:
		k.head, k.tail = max-max/2, max/2
	}
	return k
}

// Write takes the next bytes of the stream and returns what a live capture
// sends on now. The piece shares memory with p.
func (k *Keeper) Write(p []byte) (now Piece) {
	at := k.seen
	k.seen += int64(len(p))
	n := min(max(k.head-at, 0), int64(len(p)))
	if k.live {
		now = Piece{Offset: at, Bytes: p[:n]}
	} else {
		k.first = append(k.first, p[:n]...)
	}
	p = p[n:]
	if over := int64(len(p)) - k.tail; over > 0 {
		p = p[over:]
	}
	k.last = append(k.last, p...)
	if int64(len(k.last)) > 2*k.tail {
		k.last = append([]byte(nil), k.last[int64(len(k.last))-k.tail:]...)
	}
	return now
}

// Rest is what is still to be sent at the end of the command: at most two
// pieces, none of them empty.
func (k *Keeper) Rest() []Piece {
	var ps []Piece
	if len(k.first) > 0 {
		ps = append(ps, Piece{Bytes: k.first})
	}
	last := k.last
	if over := int64(len(last)) - k.tail; over > 0 {
		last = last[over:]
	}
	if len(last) > 0 {
		ps = append(ps, Piece{Offset: k.seen - int64(len(last)), Bytes: last})
	}
	return ps
}
