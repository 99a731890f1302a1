package fake

import (
	"context"
	"sync"

	"github.com/emet-node/emet/domain/activity/unit"
)

// conn is a daemon's connection to a fake exe-unit.
type conn struct {
	u      *exeUnit
	events chan unit.Event
	stop   chan struct{}
	once   sync.Once
	mu     sync.Mutex
	err    error
}

func (c *conn) drop(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(c.stop)
	})
}

// tell sends the journal from a number on and ends when it is over and
// acknowledged.
func (c *conn) tell(from int64) {
	defer close(c.events)
	for {
		c.u.mu.Lock()
		journal, changed, dead := c.u.journal, c.u.changed, c.u.dead()
		c.u.mu.Unlock()
		for ; from < int64(len(journal)); from++ {
			select {
			case c.events <- journal[from]:
			case <-c.stop:
				return
			}
		}
		if dead {
			return
		}
		select {
		case <-changed:
		case <-c.stop:
			return
		}
	}
}

func (c *conn) lost() error {
	select {
	case <-c.stop:
		return unit.ErrLost
	default:
		return nil
	}
}

func (c *conn) Exec(_ context.Context, batchID, script string) error {
	if err := c.lost(); err != nil {
		return err
	}
	return c.u.exec(batchID, script)
}

func (c *conn) Sample(context.Context) (unit.Event, error) {
	if err := c.lost(); err != nil {
		return unit.Event{}, err
	}
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if c.u.over {
		return unit.Event{}, unit.ErrGone
	}
	return c.u.append(c.u.sample()), nil
}

func (c *conn) Terminate(_ context.Context, reason string) error {
	c.u.terminate(reason)
	return nil
}

func (c *conn) Events() <-chan unit.Event { return c.events }

func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) Ack(seq int64) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.u.acked = max(c.u.acked, seq)
	c.u.signal()
}

func (c *conn) Close() error {
	c.drop(nil)
	return nil
}
