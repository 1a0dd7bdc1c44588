package presence

import (
	"cmp"
	"context"
	"errors"
)

// A written is a batch of holds of one channel, and the run of a script for it.
type written struct {
	call  *call
	holds []*hold
	infos [][]byte
}

// join writes the holds that Redis does not know.
func (w *worker) join(ctx context.Context) error {
	list := w.takeJoins()
	var batch []*written
	for _, claims := range []bool{true, false} {
		var some []*hold
		for _, h := range list {
			if h.claim == claims {
				some = append(some, h)
			}
		}
		for channel, group := range byChannel(some) {
			for _, holds := range batches(group) {
				batch = append(batch, w.joinCall(channel, holds, claims))
			}
		}
	}
	calls := make([]*call, len(batch))
	for i, b := range batch {
		calls[i] = b.call
	}
	err := w.runEach(ctx, calls...)
	for _, b := range batch {
		err = cmp.Or(err, w.joined(b))
	}
	return err
}

// takeJoins returns holds to write. They may be under way from now on. A user
// who has left again is a member until the grace is over, like any other.
func (w *worker) takeJoins() (list []*hold) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []*hold
	now := p.cfg.Now()
	for _, h := range p.joins {
		h.queued = false
		switch {
		case len(list) == maxHolds:
			h.queued, w.more = true, true
			rest = append(rest, h)
		case h.claim, !h.unused(now) && now >= w.joinAt:
			list = append(list, h)
		case !h.unused(now):
			h.queued = true
			rest = append(rest, h)
		}
	}
	p.joins = rest
	return list
}

// joinCall returns the run of the script that writes holds of one channel.
func (w *worker) joinCall(channel string, holds []*hold, claims bool) *written {
	how := ""
	switch {
	case claims:
		how = "claim"
	case w.p.cfg.Now() < w.settleUntil:
		how = "wait"
	}
	b := &written{call: w.channelCall(joinScript, channel, how), holds: holds}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	for _, h := range holds {
		if h.state == holdNew && !claims {
			h.state = holdTried
		}
		b.infos = append(b.infos, h.info)
		b.call.args = append(b.call.args, h.user, h.info)
	}
	return b
}

// joined notes what became of a batch, and returns why nothing did.
func (w *worker) joined(b *written) error {
	p := w.p
	waits, err := w.outcome(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range b.holds {
		if waits[i] {
			p.requeueLocked(h)
			continue
		}
		h.state, h.claim = holdWritten, false
		if string(b.infos[i]) != string(h.info) {
			p.queueLocked(h)
		}
	}
	return err
}

// outcome says for each hold of a batch whether it has to be tried again, and
// why nothing became of the batch, unless that concerns its channel only.
func (w *worker) outcome(b *written) (waits []bool, err error) {
	waits = make([]bool, len(b.holds))
	values, err := w.results(b.call)
	for i := range waits {
		waits[i] = err != nil
	}
	if errors.Is(err, errFailed) {
		err = nil
	}
	for _, v := range values {
		if i := number(v); i >= 0 && i < int64(len(waits)) {
			waits[i] = true
			w.joinAt = w.p.cfg.Now() + w.p.cfg.retry
		}
	}
	return waits, err
}
