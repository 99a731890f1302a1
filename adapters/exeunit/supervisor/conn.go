package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/domain/activity/unit"
)

// conn is a daemon's end of a connection.
type conn struct {
	dir    string
	nc     net.Conn
	out    *exeunit.FrameWriter
	files  unit.Files
	events chan unit.Event
	ended  chan struct{} // closed when nothing more is heard
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	next   int64
	asked  map[int64]chan *reply
	err    error
	closed bool
	exited bool
}

func newConn(dir string, nc net.Conn, files unit.Files) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{
		dir: dir, nc: nc, out: exeunit.NewFrameWriter(nc), files: files, ctx: ctx, cancel: cancel,
		events: make(chan unit.Event), ended: make(chan struct{}), asked: map[int64]chan *reply{},
	}
}

// listen hears replies and events. Events wait in a queue of their own, so
// that a reader who is slow, or who asks for something first, stops nobody;
// the queue is what the socket's other side has durably written anyway.
func (c *conn) listen() {
	queue := newQueue()
	go queue.drain(c.events, c.ctx.Done())
	err := c.hear(queue)
	c.mu.Lock()
	if !c.closed && !c.exited {
		c.err = fmt.Errorf("%w: %w", unit.ErrLost, err)
	}
	c.mu.Unlock()
	close(c.ended)
	queue.close()
	c.nc.Close()
}

func (c *conn) hear(queue *queue) error {
	for {
		var m message
		if err := exeunit.ReadFrame(c.nc, &m); err != nil {
			return err
		}
		switch {
		case m.Event != nil:
			var e unit.Event
			if err := json.Unmarshal(m.Event, &e); err != nil {
				return err
			}
			if _, last := e.Body.(unit.Exited); last {
				c.mu.Lock()
				c.exited = true
				c.mu.Unlock()
			}
			queue.put(e)
		case m.Reply != nil:
			c.mu.Lock()
			if to := c.asked[m.ID]; to != nil {
				to <- m.Reply
				delete(c.asked, m.ID)
			}
			c.mu.Unlock()
		case m.File != nil:
			go c.serveFile(m.ID, *m.File)
		}
	}
}

// ask sends a request and waits for its reply.
func (c *conn) ask(ctx context.Context, m message) (*reply, error) {
	to := make(chan *reply, 1)
	c.mu.Lock()
	c.next++
	m.ID = c.next
	c.asked[m.ID] = to
	c.mu.Unlock()
	if err := c.out.Write(m); err != nil {
		return nil, fmt.Errorf("%w: %w", unit.ErrLost, err)
	}
	select {
	case r := <-to:
		return r, r.err()
	case <-c.ended:
		select {
		case r := <-to:
			return r, r.err()
		default:
			return nil, unit.ErrLost
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *conn) Exec(ctx context.Context, batchID, script string) error {
	_, err := c.ask(ctx, message{Exec: &execute{Batch: batchID, Script: script}})
	return err
}

func (c *conn) Sample(ctx context.Context) (e unit.Event, err error) {
	r, err := c.ask(ctx, message{Sample: true})
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(r.Event, &e)
}

// Terminate asks the supervisor to end. One that does not answer in time is
// killed, and its runtime with it.
func (c *conn) Terminate(ctx context.Context, reason string) error {
	polite, cancel := context.WithTimeout(ctx, killAfter)
	defer cancel()
	_, err := c.ask(polite, message{Terminate: &reason})
	if err == nil || ctx.Err() != nil {
		return err
	}
	for !alone(c.dir) {
		if s, e := spawnedBefore(c.dir); e == nil && errors.Is(err, context.DeadlineExceeded) {
			_ = syscall.Kill(s.PID, syscall.SIGKILL) // who holds the lock wrote this number
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-polite.Done():
			err = context.DeadlineExceeded
			time.Sleep(10 * time.Millisecond)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// killAfter is how long a supervisor may take to end.
const killAfter = 10 * time.Second

func (c *conn) Events() <-chan unit.Event { return c.events }

func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) Ack(seq int64) { _ = c.out.Write(message{Ack: &seq}) }

func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	// Say goodbye and read on until the other side has heard all that was said
	// before, acknowledgements above all.
	if u, ok := c.nc.(*net.UnixConn); ok && u.CloseWrite() == nil {
		select {
		case <-c.ended:
		case <-time.After(time.Second):
		}
	}
	err := c.nc.Close()
	<-c.ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// serveFile does for the supervisor what it asks of the peer network.
func (c *conn) serveFile(id int64, q fileCall) {
	var r fileReply
	var err error
	switch {
	case c.files == nil:
		err = errors.New("gftp: the daemon serves no files to this exe-unit")
	case q.Op == opMetadata:
		r.Size, err = c.files.Metadata(c.ctx, q.Node, q.File)
	case q.Op == opChunk:
		r.Content, err = c.files.Chunk(c.ctx, q.Node, q.File, q.Offset, q.Size)
	case q.Op == opUpload:
		err = c.files.Upload(c.ctx, q.Node, q.File, q.Offset, q.Content)
	case q.Op == opFinished:
		err = c.files.UploadFinished(c.ctx, q.Node, q.File, q.Hash)
	default:
		err = fmt.Errorf("unknown file request %q", q.Op)
	}
	if err != nil {
		r.Error = err.Error()
	}
	_ = c.out.Write(message{ID: id, FileReply: &r})
}

// queue hands events on in order without ever making the writer wait.
type queue struct {
	mu    sync.Mutex
	items []unit.Event
	bell  chan struct{}
	over  bool
}

func newQueue() *queue { return &queue{bell: make(chan struct{}, 1)} }

func (q *queue) put(e unit.Event) {
	q.mu.Lock()
	q.items = append(q.items, e)
	q.mu.Unlock()
	q.ring()
}

func (q *queue) close() {
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	q.ring()
}

func (q *queue) ring() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// drain gives everything to a channel and closes it at the end.
func (q *queue) drain(to chan<- unit.Event, stop <-chan struct{}) {
	defer close(to)
	for {
		q.mu.Lock()
		items, over := q.items, q.over
		q.items = nil
		q.mu.Unlock()
		for _, e := range items {
			select {
			case to <- e:
			case <-stop:
				return
			}
		}
		if len(items) > 0 {
			continue
		}
		if over {
			return
		}
		select {
		case <-q.bell:
		case <-stop:
			return
		}
	}
}
