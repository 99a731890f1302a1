package supervisor

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/unit"
)

// host serves a core on a socket, to one daemon at a time.
type host struct {
	core     *core
	listener net.Listener
	lock     *os.File // held until the process ends
	spawned  unit.Spawned
	lonely   *time.Timer // fires when no daemon was there for too long
	acked    atomic.Int64
	ackBell  chan struct{}

	mu      sync.Mutex
	session *session
	arrived chan struct{} // closed when a session begins
}

func newHost(spec unit.Spec, j *journal, l net.Listener) *host {
	h := &host{listener: l, ackBell: make(chan struct{}, 1), arrived: make(chan struct{})}
	h.acked.Store(-1)
	h.core = newCore(spec, j, h.push, remoteFiles{h})
	h.lonely = time.NewTimer(h.orphanAfter())
	return h
}

func (h *host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		go h.greet(conn)
	}
}

// greet checks who comes and serves them; the session before is shown out.
func (h *host) greet(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var m message
	if err := exeunit.ReadFrame(conn, &m); err != nil || m.Hello == nil {
		return
	}
	s := &session{host: h, conn: conn, out: exeunit.NewFrameWriter(conn), gone: make(chan struct{}), files: m.Hello.Files, calls: map[int64]chan fileReply{}}
	if subtle.ConstantTimeCompare([]byte(m.Hello.Token), []byte(h.core.spec.Token)) != 1 || m.Hello.ActivityID != h.core.spec.ActivityID {
		_ = s.out.Write(message{ID: m.ID, Reply: refuse(unit.ErrToken)})
		return
	}
	if m.Hello.After > h.core.journal.last() {
		_ = s.out.Write(message{ID: m.ID, Reply: refuse(fmt.Errorf("event %d is not in the journal, which ends with %d", m.Hello.After, h.core.journal.last()))})
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if s.out.Write(message{ID: m.ID, Reply: &reply{}}) != nil {
		return
	}
	h.enter(s)
	defer h.leave(s)
	go s.tell(m.Hello.After + 1)
	s.listen()
}

func (h *host) enter(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		h.session.conn.Close()
	}
	h.session = s
	h.lonely.Stop()
	close(h.arrived)
	h.arrived = make(chan struct{})
}

func (h *host) leave(s *session) {
	close(s.gone)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == s {
		h.session = nil
		h.lonely.Reset(h.orphanAfter())
	}
}

func (h *host) present() (s *session, next <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.session, h.arrived
}

// push sends what is not journaled to whoever is there.
func (h *host) push(e unit.Event) {
	s, _ := h.present()
	if s == nil {
		return
	}
	if text, err := json.Marshal(e); err == nil {
		_ = s.out.Write(message{Event: text})
	}
}

// session is one attached daemon.
type session struct {
	host  *host
	conn  net.Conn
	out   *exeunit.FrameWriter
	gone  chan struct{}
	files bool

	mu    sync.Mutex
	next  int64
	calls map[int64]chan fileReply
}

// tell sends the journal from a number on, as it becomes durable.
func (s *session) tell(from int64) {
	j := s.host.core.journal
	for seq := from; j.durably(seq, s.gone); seq++ {
		text, err := j.line(seq)
		if err != nil || s.out.Write(message{Event: text}) != nil {
			s.conn.Close()
			return
		}
	}
}

func (s *session) listen() {
	for {
		var m message
		if exeunit.ReadFrame(s.conn, &m) != nil {
			return
		}
		switch {
		case m.Exec != nil, m.Sample, m.Terminate != nil:
			go func() { _ = s.out.Write(message{ID: m.ID, Reply: s.answer(m)}) }()
		case m.Ack != nil:
			s.host.ack(*m.Ack)
		case m.FileReply != nil:
			s.mu.Lock()
			if c := s.calls[m.ID]; c != nil {
				c <- *m.FileReply
				delete(s.calls, m.ID)
			}
			s.mu.Unlock()
		}
	}
}

func (h *host) ack(seq int64) {
	for {
		old := h.acked.Load()
		if seq <= old || h.acked.CompareAndSwap(old, seq) {
			break
		}
	}
	select {
	case h.ackBell <- struct{}{}:
	default:
	}
}

func (s *session) answer(m message) *reply {
	c := s.host.core
	switch {
	case m.Exec != nil:
		seq, err := c.exec(m.Exec.Batch, m.Exec.Script)
		if err != nil {
			return refuse(err)
		}
		c.journal.durably(seq, nil)
		return &reply{}
	case m.Sample:
		select {
		case <-c.ended:
			return refuse(unit.ErrGone)
		default:
		}
		e := c.journal.append(c.meter.sample(c.spec.UsageVector, false))
		c.journal.durably(e.Seq, nil)
		text, err := json.Marshal(e)
		if err != nil {
			return refuse(err)
		}
		return &reply{Event: text}
	}
	c.terminate(*m.Terminate, exitOK)
	return &reply{}
}

// remoteFiles moves gftp bytes through the attached daemon. While none is
// attached it waits for one.
type remoteFiles struct{ h *host }

// errHandedOver says that a daemon left with a call unanswered.
var errHandedOver = errors.New("the daemon went away before it answered")

// call asks the daemon. What may be said twice is said again to the next
// daemon when one leaves without an answer.
func (f remoteFiles) call(ctx context.Context, c fileCall, twice bool) (fileReply, error) {
	for {
		s, next := f.h.present()
		if s != nil {
			if !s.files {
				return fileReply{}, errors.New("gftp: the daemon serves no files to this exe-unit")
			}
			r, err := s.call(ctx, c)
			if err == nil && r.Error != "" {
				return r, errors.New(r.Error)
			}
			if !errors.Is(err, errHandedOver) || !twice {
				return r, err
			}
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fileReply{}, context.Cause(ctx)
		}
	}
}

func (s *session) call(ctx context.Context, c fileCall) (fileReply, error) {
	answer := make(chan fileReply, 1)
	s.mu.Lock()
	s.next++
	id := s.next
	s.calls[id] = answer
	s.mu.Unlock()
	if s.out.Write(message{ID: id, File: &c}) != nil {
		return fileReply{}, errHandedOver
	}
	select {
	case r := <-answer:
		return r, nil
	case <-s.gone:
		return fileReply{}, errHandedOver
	case <-ctx.Done():
		return fileReply{}, context.Cause(ctx)
	}
}

func (f remoteFiles) Metadata(ctx context.Context, node, file string) (int64, error) {
	r, err := f.call(ctx, fileCall{Op: opMetadata, Node: node, File: file}, true)
	return r.Size, err
}

func (f remoteFiles) Chunk(ctx context.Context, node, file string, offset, size int64) ([]byte, error) {
	r, err := f.call(ctx, fileCall{Op: opChunk, Node: node, File: file, Offset: offset, Size: size}, true)
	return r.Content, err
}

func (f remoteFiles) Upload(ctx context.Context, node, file string, offset int64, content []byte) error {
	_, err := f.call(ctx, fileCall{Op: opUpload, Node: node, File: file, Offset: offset, Content: content}, false)
	return err
}

func (f remoteFiles) UploadFinished(ctx context.Context, node, file, hash string) error {
	_, err := f.call(ctx, fileCall{Op: opFinished, Node: node, File: file, Hash: hash}, false)
	return err
}
