package supervisor

import (
	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

// output takes what a command writes and journals what its captures keep.
type output struct {
	core    *core
	batch   string
	index   int
	streams [2]stream // stdout, stderr
}

type stream struct {
	name    string
	capture *script.Capture
	keeper  *script.Keeper
	kept    int64 // bytes journaled
	next    int64 // offset in the stream behind the last journaled byte
}

func (c *core) newOutput(b *batch, index int, cmd script.Command) *output {
	limit := c.spec.Limits.OutputBytes
	if limit <= 0 {
		limit = unit.OutputBytes
	}
	o := &output{core: c, batch: b.id, index: index}
	for i, name := range []string{unit.Stdout, unit.Stderr} {
		capture := script.CaptureOf(cmd, i == 1)
		o.streams[i] = stream{name: name, capture: capture, keeper: script.NewKeeper(capture, limit)}
	}
	return o
}

func (o *output) write(p exeunit.Output) {
	s := &o.streams[0]
	if p.Stderr {
		s = &o.streams[1]
	}
	if now := s.keeper.Write(p.Bytes); len(now.Bytes) > 0 {
		o.tell(s, now)
	}
}

// print writes what the exe-unit itself says as a command's stdout.
func (o *output) print(text string) { o.write(exeunit.Output{Bytes: []byte(text)}) }

// close journals what is kept for the end.
func (o *output) close() {
	for i := range o.streams {
		for _, p := range o.streams[i].keeper.Rest() {
			o.tell(&o.streams[i], p)
		}
	}
}

func (o *output) tell(s *stream, p script.Piece) {
	for len(p.Bytes) > 0 {
		n := min(len(p.Bytes), unit.MaxOutputChunk)
		if o.core.spill.Add(-int64(n)) < 0 {
			return // the activity has kept all it may; the cut shows if more comes
		}
		o.core.journal.append(unit.CommandOutput{
			Batch: o.batch, Index: o.index, Stream: s.name, Bytes: p.Bytes[:n], Binary: s.capture.Binary,
			Offset: s.kept, Cut: p.Offset - s.next, Streamed: s.capture.Live,
		})
		s.kept += int64(n)
		s.next = p.Offset + int64(n)
		p = script.Piece{Offset: s.next, Bytes: p.Bytes[n:]}
	}
}
