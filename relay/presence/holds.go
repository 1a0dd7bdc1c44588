package presence

import (
	"bytes"
	"time"
)

// A hold makes a user a member of a channel as long as this relay has a
// subscription of the user. The mu of its Presence guards it.
type hold struct {
	channel *holders
	user    string
	info    []byte
	index   int           // in holders.list
	uses    int           // subscriptions
	end     time.Duration // if there are none: when the grace is over
	queued  bool          // in Presence.joins
	claim   bool          // the user was a member when Redis lost its data
	state   holdState
}

type holdState uint8

const (
	holdNew     holdState = iota // Redis does not know it
	holdTried                    // Redis may know it
	holdWritten                  // Redis knows it
)

// Enter counts a subscription of a user that is now a member of a channel. info
// is JSON text, or empty; it must not be changed. Enter does not wait.
func (p *Presence) Enter(channel, user string, info []byte) {
	info = compact(info)
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.channels[channel]
	if ch == nil {
		ch = &holders{name: channel, holds: make(map[string]*hold)}
		p.channels[channel] = ch
	}
	h := ch.holds[user]
	if h == nil {
		h = &hold{channel: ch, user: user, index: len(ch.list)}
		ch.holds[user] = h
		ch.list = append(ch.list, h)
		p.stats.PresenceMembers.Add(1)
	}
	h.uses++
	if news := len(info) > 0 && !bytes.Equal(info, h.info); news || h.state != holdWritten {
		if news {
			h.info = info
		}
		p.queueLocked(h)
	}
}

// Exit ends a subscription that Enter has counted. It does not wait.
func (p *Presence) Exit(channel, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := p.channels[channel]
	if ch == nil || ch.holds[user] == nil {
		return
	}
	h := ch.holds[user]
	if h.uses--; h.uses == 0 {
		h.end = p.cfg.Now() + p.cfg.grace
		p.leaves.add(h)
		if len(p.leaves.list) == 1 {
			p.awake() // Run may sleep for longer than the grace
		}
	}
}

// queueLocked makes the next pass write a hold.
func (p *Presence) queueLocked(h *hold) {
	p.requeueLocked(h)
	p.awake()
}

// requeueLocked makes a later pass write a hold again.
func (p *Presence) requeueLocked(h *hold) {
	if !h.queued {
		h.queued = true
		p.joins = append(p.joins, h)
	}
}

// forgetLocked forgets a hold that Redis does not know any more.
func (p *Presence) forgetLocked(h *hold) {
	ch := h.channel
	if ch.holds[h.user] != h {
		return
	}
	delete(ch.holds, h.user)
	last := len(ch.list) - 1
	ch.list[h.index] = ch.list[last]
	ch.list[h.index].index = h.index
	ch.list[last] = nil
	ch.list = ch.list[:last]
	p.stats.PresenceMembers.Add(-1)
	if len(ch.list) == 0 {
		delete(p.channels, ch.name)
	}
}

// leaves are holds that ended, in order: all have the same grace. A hold that is
// used and left again is in it more than once.
type leaves struct{ list []leave }

type leave struct {
	hold *hold
	end  time.Duration
}

func (l *leaves) add(h *hold) { l.list = append(l.list, leave{h, h.end}) }

// due removes and returns the holds whose grace is over and that were not used
// again.
func (l *leaves) due(now time.Duration) (list []*hold) {
	n := 0
	for ; n < len(l.list) && l.list[n].end <= now; n++ {
		if h := l.list[n].hold; h.unused(now) && h.end == l.list[n].end {
			list = append(list, h)
		}
	}
	clear(l.list[:n])
	l.list = l.list[n:]
	return list
}

// unused reports whether the grace of a hold is over.
func (h *hold) unused(now time.Duration) bool { return h.uses == 0 && h.end <= now }
