package gsb

import (
	"crypto/sha3"
	"sync"
)

// service is one bound address. Requests wait in queue until a socket takes
// them, then in sent until the client answers.
type service struct {
	owner      Owner
	on         string
	components []string

	mu     sync.Mutex
	queue  []*call
	bytes  int
	sent   map[string]*call
	socket *socket // nil while no client is connected
	closed bool

	upload upload
	file   fileSize
}

type call struct {
	id     string
	frame  []byte
	answer chan answer // of one
}

type answer struct {
	payload any
	err     error
}

func newService(o Owner, on string, components []string) *service {
	s := &service{owner: o, on: on, components: components, sent: make(map[string]*call)}
	s.upload = upload{turn: make(chan struct{}), hash: sha3.New256()}
	return s
}

func (s *service) enqueue(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrGone
	}
	if len(s.queue) >= MaxQueuedCalls || len(s.queue) > 0 && s.bytes+len(c.frame) > MaxQueuedBytes {
		return ErrBusy
	}
	s.queue = append(s.queue, c)
	s.bytes += len(c.frame)
	if s.socket != nil {
		s.socket.wake()
	}
	return nil
}

// next moves the oldest waiting request to the sent ones, for the socket that
// asks; nil when there is none or the socket was replaced.
func (s *service) next(by *socket) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != by || len(s.queue) == 0 {
		return nil
	}
	c := s.queue[0]
	s.queue = s.queue[1:]
	s.bytes -= len(c.frame)
	s.sent[c.id] = c
	return c
}

// forget drops a request whose caller does not wait any more.
func (s *service) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sent, c.id)
	for i, q := range s.queue {
		if q == c {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.bytes -= len(c.frame)
			return
		}
	}
}

// resolve hands an answer to its caller. Answers nobody waits for are dropped.
func (s *service) resolve(by *socket, id string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.sent[id]; ok && s.socket == by {
		delete(s.sent, id)
		c.answer <- a
	}
}

// attach makes a socket the one that serves; it returns the one before.
func (s *service) attach(k *socket) (old *socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrNoService
	}
	old = s.socket
	if old != nil {
		s.failSent()
	}
	s.socket = k
	return old, nil
}

// detach is called when a socket ended. What it had been sent fails.
func (s *service) detach(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == k {
		s.socket = nil
		s.failSent()
	}
}

func (s *service) failSent() {
	for id, c := range s.sent {
		delete(s.sent, id)
		c.answer <- answer{err: ErrGone}
	}
}

func (s *service) close(code int, why string) {
	s.mu.Lock()
	s.closed = true
	k := s.socket
	s.failSent()
	for _, c := range s.queue {
		c.answer <- answer{err: ErrGone}
	}
	s.queue, s.bytes = nil, 0
	s.mu.Unlock()
	if k != nil {
		k.close(code, why)
	}
}
