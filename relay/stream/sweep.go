package stream

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// sweepEvery is the longest time for which a lost nudge can delay a
	// message, as long as there are at most sweepRate channels for each second
	// of it.
	sweepEvery = 5 * time.Second
	// sweepRate bounds how many channels are checked in a second.
	sweepRate = 2000
	// sweepBatch bounds how many channels are checked in one request.
	sweepBatch = 200
)

// sweepLoop finds entries whose nudges were lost, until ctx ends.
func (rs *Readers) sweepLoop(ctx context.Context) {
	for {
		wait := sweepEvery - sweepEvery/10 + rand.N(sweepEvery/5)
		list := rs.activeReaders()
		for len(list) > 0 {
			n := min(len(list), sweepBatch)
			rs.checkBehind(ctx, list[:n])
			list = list[n:]
			pause := time.Duration(n) * time.Second / sweepRate
			wait -= pause
			if !sleep(ctx, pause) {
				return
			}
		}
		if !sleep(ctx, max(wait, sweepEvery/10)) {
			return
		}
	}
}

// activeReaders returns all readers, or nothing while Redis is unavailable.
func (rs *Readers) activeReaders() (list []*Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.epoch%2 == 0 {
		return nil
	}
	for r := range rs.active {
		list = append(list, r)
	}
	return list
}

// checkBehind schedules a read for each reader whose stream has new entries, or
// whose last read failed.
func (rs *Readers) checkBehind(ctx context.Context, list []*Reader) {
	var places []Place
	list = slices.DeleteFunc(slices.Clone(list), func(r *Reader) bool {
		at, ok := r.currentPlace()
		if !ok {
			rs.schedule(r)
			return true
		}
		places = append(places, Place{r.name, at.ID})
		return false
	})
	if len(places) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	behind, err := rs.cfg.Store().Behind(ctx, places)
	if err != nil {
		return // the next sweep asks again
	}
	for i, r := range list {
		if behind[i] {
			rs.schedule(r)
		}
	}
}

// sleep waits for d. It returns false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
