package effects

import (
	"sync"
	"time"

	"github.com/emet-node/emet/domain/peer"
)

// Pace bounds how much of something each of many keys may do. A key begins
// with Burst and gets Rate more each second, up to Burst. The zero Pace
// allows nothing; it is safe for concurrent use and not to be copied.
//
// At most Keys are remembered. When there are more, those that have regained
// all are forgotten, and if there are none, any: that costs a stranger many
// names, and gives him nothing that new names would not.
type Pace struct {
	Rate, Burst float64
	Keys        int // 0 = 16 384

	mu sync.Mutex
	by map[string]*level
}

type level struct {
	tokens float64
	at     time.Time
}

// Take takes n, or says after how long they may be there.
func (p *Pace) Take(key string, n float64) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.level(key, time.Now())
	if l.tokens >= n {
		l.tokens -= n
		return 0
	}
	if p.Rate <= 0 {
		return time.Hour
	}
	return max(time.Duration((min(n, p.Burst)-l.tokens)/p.Rate*float64(time.Second)), time.Millisecond)
}

// Forgive gives a key back all that it took.
func (p *Pace) Forgive(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, key)
}

func (p *Pace) level(key string, now time.Time) *level {
	if l, ok := p.by[key]; ok {
		l.tokens = min(p.Burst, l.tokens+now.Sub(l.at).Seconds()*p.Rate)
		l.at = now
		return l
	}
	if p.by == nil {
		p.by = make(map[string]*level)
	}
	most := p.Keys
	if most == 0 {
		most = 16 << 10
	}
	if len(p.by) >= most {
		p.forget(now, most)
	}
	l := &level{tokens: p.Burst, at: now}
	p.by[key] = l
	return l
}

// forget makes room: all that are full again, and if that is not a quarter,
// others too, so that the next strangers do not make it look again.
func (p *Pace) forget(now time.Time, most int) {
	for k, l := range p.by {
		if l.tokens+now.Sub(l.at).Seconds()*p.Rate >= p.Burst {
			delete(p.by, k)
		}
	}
	for k := range p.by {
		if len(p.by) <= most*3/4 {
			return
		}
		delete(p.by, k)
	}
}

// Busy refuses what came too fast and says when to come again.
func Busy(after time.Duration, text string) error {
	return &peer.Refusal{Code: peer.Busy, RetryAfter: after.Round(time.Millisecond), Text: text}
}
