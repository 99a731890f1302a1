package batch

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Result is what one finished command left behind.
type Result struct {
	Index          int64
	OK             bool
	Stdout, Stderr Output
	Message        string
	BatchFinished  bool
	At             time.Time
}

// Results are the finished commands, always from index 0. Exactly the last of
// a batch that is over says BatchFinished.
func (s State) Results() []Result { return s.results.all() }

// Events are what the runtime did, with ids from 0, for replay from any id.
func (s State) Events() []RuntimeEvent { return s.events.all() }

// Kind of a [RuntimeEvent], as the event stream of REST names it.
type Kind string

// The kinds.
const (
	Started    Kind = "started"
	KindStdout Kind = "stdout"
	KindStderr Kind = "stderr"
	Finished   Kind = "finished"
)

// RuntimeEvent is one thing that happened in a batch.
type RuntimeEvent struct {
	ID      int64
	Index   int64
	At      time.Time
	Kind    Kind
	Command string // Started: the command's JSON
	Output  Output // KindStdout, KindStderr: one piece
	Code    int64  // Finished
	Message string // Finished
}

// Output is what was captured of one stream. The zero Output is nothing.
type Output struct {
	Format Format
	Pieces []Piece
}

// Piece is some bytes, here or in a blob.
type Piece struct {
	Bytes []byte
	Blob  *Blob
}

// Len is the number of bytes.
func (p Piece) Len() int64 {
	if p.Blob != nil {
		return p.Blob.Bytes
	}
	return int64(len(p.Bytes))
}

// Bytes joins the pieces; open fetches those that are blobs.
func (o Output) Bytes(open func(Blob) ([]byte, error)) ([]byte, error) {
	var out []byte
	for _, p := range o.Pieces {
		if p.Blob == nil {
			out = append(out, p.Bytes...)
			continue
		}
		b, err := open(*p.Blob)
		if err != nil {
			return nil, fmt.Errorf("output of %d bytes: %w", p.Blob.Bytes, err)
		}
		out = append(out, b...)
	}
	return out, nil
}

// Value is the output as REST shows it: nil when there is none, a list of
// numbers for [Bin], else text. Bytes that are not UTF-8 become the characters
// with the same numbers, so that none is lost.
func (o Output) Value(open func(Blob) ([]byte, error)) (any, error) {
	b, err := o.Bytes(open)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	if o.Format == Bin {
		numbers := make([]int, len(b))
		for i, c := range b {
			numbers[i] = int(c)
		}
		return numbers, nil
	}
	return text(b), nil
}

func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
