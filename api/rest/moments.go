package rest

import (
	"fmt"
	"sync"
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

// momentTurns bounds how many moments a key has opened in a minute.
type momentTurns struct {
	perKey int // 0 = any number

	mu      sync.Mutex
	opened  map[string][]time.Time // by key
	refused int64
}

// turn lets a key have a moment opened at now, or says how long it has to wait.
func (t *momentTurns) turn(key string, now time.Time) error {
	if t.perKey == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	times := t.opened[key]
	if len(times) >= t.perKey {
		t.refused++
		return &tooManyMoments{t.perKey, momentsPer - now.Sub(times[0])}
	}
	if t.opened == nil {
		t.opened = make(map[string][]time.Time)
	}
	t.opened[key] = append(times, now)
	return nil
}

// forget keeps nothing of those that were opened more than a minute ago.
func (t *momentTurns) forget(now time.Time) {
	for k, times := range t.opened {
		for len(times) > 0 && now.Sub(times[0]) >= momentsPer {
			times = times[1:]
		}
		if t.opened[k] = times; len(times) == 0 {
			delete(t.opened, k)
		}
	}
}

// limits are what the busiest key had opened in the last minute; none where
// there is no limit.
func (t *momentTurns) limits(now time.Time) []Limit {
	if t.perKey == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	most := 0
	for _, times := range t.opened {
		most = max(most, len(times))
	}
	return []Limit{{Name: "rest_moments_of_a_key", Used: int64(most), Max: int64(t.perKey), Refused: t.refused}}
}
