package rest

import (
	"fmt"
	"time"
)

// momentsPer is the time in which an app-key may have so many moments opened.
const momentsPer = time.Minute

// tooManyMoments says that a key has to wait before another moment is opened.
type tooManyMoments struct {
	limit int
	wait  time.Duration
}

func (e *tooManyMoments) Error() string {
	return fmt.Sprintf("one application key may have %d moments of the past opened in a minute, since each folds the log; those that are open can be asked on", e.limit)
}

// turn lets a key have a moment opened at now, or says how long it has to wait.
// Of those that it had opened longer ago nothing is kept.
func (p *pasts) turn(key string, now time.Time) error {
	if p.perKey == 0 {
		return nil
	}
	for k, times := range p.opened {
		for len(times) > 0 && now.Sub(times[0]) >= momentsPer {
			times = times[1:]
		}
		if p.opened[k] = times; len(times) == 0 {
			delete(p.opened, k)
		}
	}
	times := p.opened[key]
	if len(times) >= p.perKey {
		return &tooManyMoments{p.perKey, momentsPer - now.Sub(times[0])}
	}
	if p.opened == nil {
		p.opened = make(map[string][]time.Time)
	}
	p.opened[key] = append(times, now)
	return nil
}
