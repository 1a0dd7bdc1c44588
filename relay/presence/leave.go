package presence

import (
	"cmp"
	"context"
)

// leave ends the holds whose grace is over.
func (w *worker) leave(ctx context.Context) error {
	p := w.p
	p.mu.Lock()
	w.pending = append(w.pending, p.leaves.due(p.cfg.Now())...)
	list := w.takeLeaves()
	p.mu.Unlock()
	var batch []*written
	var calls []*call
	for channel, group := range byChannel(list) {
		for _, holds := range batches(group) {
			c := w.channelCall(leaveScript, channel, 0)
			for _, h := range holds {
				c.args = append(c.args, h.user)
			}
			batch, calls = append(batch, &written{call: c, holds: holds}), append(calls, c)
		}
	}
	err := w.runEach(ctx, calls...)
	for _, b := range batch {
		err = cmp.Or(err, w.left(b))
	}
	return err
}

// takeLeaves returns holds to end. A hold that Redis may know is uncertain
// from now on, so that a user who returns meanwhile is written again. The
// Presence is locked.
func (w *worker) takeLeaves() (list []*hold) {
	p := w.p
	var rest []*hold
	for _, h := range w.pending {
		switch {
		case !h.unused(p.cfg.Now()):
		case h.claim, p.cfg.Now() < w.settleUntil: // it is written first
			rest = append(rest, h)
		case h.state == holdNew:
			p.forgetLocked(h)
		case len(list) == maxHolds:
			w.more = true
			rest = append(rest, h)
		default:
			h.state = holdTried
			list = append(list, h)
		}
	}
	w.pending = rest
	return list
}

// left notes what became of a batch, and returns why nothing did.
func (w *worker) left(b *written) error {
	p := w.p
	waits, err := w.outcome(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range b.holds {
		switch {
		case waits[i]:
			w.pending = append(w.pending, h)
		case h.unused(p.cfg.Now()):
			p.forgetLocked(h)
		default: // the user has returned, and perhaps left again: it is written, or forgotten later
			h.state = holdNew
		}
	}
	return err
}
