package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/activity/unit"
)

const journalName = "journal.jsonl"

// journal is the events of one exe-unit on disk, a line each. Events become
// visible to readers when they are durable; those written while a sync goes
// on share the next one.
//
// The file is filled with zeros ahead of what is written, and cut when it is
// closed: making a write durable that a file has room for costs a small part
// of what it costs to make a file longer.
type journal struct {
	file *os.File

	mu      sync.Mutex
	starts  []int64       // of each line
	size    int64         // of the events
	room    int64         // of the file
	durable int           // how many lines are on disk
	changed chan struct{} // closed when durable grows
	dirty   chan struct{}
	done    chan struct{}
}

func newJournal(dir string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, changed: make(chan struct{}), dirty: make(chan struct{}, 1), done: make(chan struct{})}
	go j.syncer()
	return j, nil
}

// append adds events in one piece and returns the last. A journal that cannot
// be written ends the process: an exe-unit without memory must not go on.
func (j *journal) append(bodies ...unit.Body) unit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var last unit.Event
	for _, b := range bodies {
		last = unit.Event{Seq: int64(len(j.starts)), At: time.Now().UTC().Truncate(time.Microsecond), Body: b}
		text, err := json.Marshal(last)
		if err == nil {
			err = j.write(append(text, '\n'))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "exe-unit: the journal cannot be written:", err)
			os.Exit(exitJournal)
		}
		j.starts = append(j.starts, j.size)
		j.size += int64(len(text)) + 1
	}
	select {
	case j.dirty <- struct{}{}:
	default:
	}
	return last
}

// How much room is made at a time: little for an exe-unit that says little.
const (
	leastRoom = 32 << 10
	mostRoom  = 1 << 20
)

// write puts a line behind the others and makes room for more in time.
func (j *journal) write(line []byte) error {
	if end := j.size + int64(len(line)); end > j.room {
		room := end + min(max(end, leastRoom), mostRoom)
		if _, err := j.file.WriteAt(make([]byte, room-end), end); err != nil {
			return err
		}
		j.room = room
	}
	_, err := j.file.WriteAt(line, j.size)
	return err
}

func (j *journal) syncer() {
	defer close(j.done)
	for range j.dirty {
		j.mu.Lock()
		n := len(j.starts)
		j.mu.Unlock()
		if err := syncData(j.file); err != nil {
			fmt.Fprintln(os.Stderr, "exe-unit: the journal cannot be synced:", err)
			os.Exit(exitJournal)
		}
		j.mu.Lock()
		j.durable = n
		close(j.changed)
		j.changed = make(chan struct{})
		j.mu.Unlock()
	}
}

// durably waits until an event is on disk, or the channel gives something.
func (j *journal) durably(seq int64, stop <-chan struct{}) bool {
	for {
		j.mu.Lock()
		ok, changed := int64(j.durable) > seq, j.changed
		j.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-stop:
			return false
		}
	}
}

// line reads one durable event as it was written.
func (j *journal) line(seq int64) (json.RawMessage, error) {
	j.mu.Lock()
	from, to := j.starts[seq], j.size
	if int(seq)+1 < len(j.starts) {
		to = j.starts[seq+1]
	}
	j.mu.Unlock()
	b := make([]byte, to-from-1)
	_, err := j.file.ReadAt(b, from)
	return b, err
}

func (j *journal) last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.starts)) - 1
}

func (j *journal) close() {
	close(j.dirty)
	<-j.done
	_ = j.file.Truncate(j.size) // readers stop at the zeros too
	_ = j.file.Close()
}

// leftover reads what the journal of a dead exe-unit tells after a number. A
// last line that breaks off was never shown to anybody and is left out, as are
// the zeros behind it, which are no line.
func leftover(dir string, after int64) iter.Seq[unit.Event] {
	return func(yield func(unit.Event) bool) {
		f, err := os.Open(filepath.Join(dir, journalName))
		if err != nil {
			return
		}
		defer f.Close()
		for r := bufio.NewReader(f); ; {
			text, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) || err != nil {
				return
			}
			var e unit.Event
			if json.Unmarshal(text, &e) != nil {
				return
			}
			if e.Seq > after && !yield(e) {
				return
			}
		}
	}
}
